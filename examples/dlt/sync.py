"""A pipeline of dlt, as a team has it: Postgres to Delta tables, in full or by a cursor.

Everything it must know it finds in its environment; see docs/reference/pipelines.md.
"""

import json
import os
from pathlib import Path
from urllib.parse import unquote, urlparse

import dlt
from dlt.sources.sql_database import sql_table

request = json.loads(Path(os.environ["PARITY_REQUEST"]).read_text())
is_full = request["mode"] == "Full"
url = Path(os.environ["PARITY_SOURCE_DIR"], "url").read_text()
landing = request["landing"]

pipeline = dlt.pipeline(
    pipeline_name="warehouse",
    # dlt's own memory (where the cursors stand) lives and goes with the run.
    pipelines_dir=str(Path(unquote(urlparse(landing).path), "state")),
    destination=dlt.destinations.filesystem(bucket_url=landing),
    dataset_name="lake",
)


def resource(table):
    incremental = dlt.sources.incremental(table["cursor"], on_cursor_value_missing="include")
    rows = sql_table(
        credentials=url,
        table=table["name"],
        schema=request["source"]["schema"],
        backend="pyarrow",
        reflection_level="full_with_precision",
        incremental=incremental,
    )
    rows.apply_hints(
        table_format="delta",
        primary_key=table["key"],
        write_disposition="replace" if is_full else {"disposition": "merge", "strategy": "upsert"},
    )
    return rows


print(pipeline.run([resource(table) for table in request["tables"]], refresh="drop_sources" if is_full else None))
