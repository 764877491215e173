"""Writes COUNT small Delta tables of ROWS rows, and the manifest of a run over them: many_tables.py FOLDER COUNT ROWS."""
import pathlib
import sys

import pyarrow as pa
from deltalake import write_deltalake

folder, count, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
names = [f"t{index:03}" for index in range(count)]
for index, name in enumerate(names):
    ids = range(index * rows, (index + 1) * rows)
    table = pa.table({
        "id": pa.array(ids, pa.int64()),
        "amount": pa.array([i * 7 % 1000 / 4 for i in ids], pa.float64()),
        "name": pa.array([f"row {i}" if i % 11 else None for i in ids], pa.string()),
        "updated_at": pa.array([1_700_000_000_000_000 + i for i in ids], pa.timestamp("us", "UTC")),
    })
    write_deltalake(str(folder / "lake" / name), table, mode="overwrite")
tables = "\n".join(f"      - {{ name: {name}, path: {name}, key: [id], cursor: updated_at }}" for name in names)
(folder / "run.yaml").write_text(f"""apiVersion: pipelineparity.io/v1alpha1
kind: PipelineParityRun
metadata: {{ name: many-tables }}
spec:
  snapshot:
    location: file:lake
    tables:
{tables}
  sources:
    - {{ name: shop, engine: Postgres, tables: [{', '.join(names)}], embedded: {{}} }}
  pipelines:
    - {{ name: candidate, reference: {{}} }}
""")
