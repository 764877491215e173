"""Reads every version of every table back with two readers that did not write it alone (Spark and delta-rs, and DuckDB on the bare
Parquet files), stops where they disagree, and returns what tests may use as an oracle."""
import json
import math
from datetime import date, datetime
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, QueryBuilder

import rows
from tables import TABLES


class Disagreement(Exception):
    pass


def _agree(what: str, left, right) -> None:
    if left != right:
        raise Disagreement(f"{what}: {left!r:.2000} and {right!r:.2000}")


# Readers: each returns an Arrow table with the columns of the Delta schema.

def by_spark(spark, path, version: int) -> pa.Table:
    return _plain(spark.read.format("delta").option("versionAsOf", version).load(str(path)).toArrow())


def by_delta_rs(path, version: int) -> pa.Table:
    table = DeltaTable(path, version=version)
    names = ", ".join(f'"{field.name}"' for field in table.schema().fields)
    return _plain(pa.table(QueryBuilder().register("t", table).execute(f"SELECT {names} FROM t").read_all()))


def by_duckdb(path, version: int) -> pa.Table:
    """Only where the files alone say it all: no partitions, no deletion vectors, no column mapping."""
    found = duckdb.connect().execute("SET TimeZone = 'UTC'").execute("SELECT * FROM read_parquet(?, union_by_name = true)", [_files(path, version)])
    return _plain(found.to_arrow_table())


def _files(path, version: int) -> list[str]:
    return [uri.removeprefix("file://") for uri in DeltaTable(path, version=version).file_uris()]


def _plain_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return _plain_type(type_.value_type)
    if pa.types.is_string_view(type_) or pa.types.is_large_string(type_):
        return pa.string()
    if pa.types.is_binary_view(type_) or pa.types.is_large_binary(type_):
        return pa.binary()
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", tz="UTC" if type_.tz else None)
    if pa.types.is_map(type_):
        return pa.map_(_plain_type(type_.key_type), _plain_type(type_.item_type))
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_list_view(type_):
        return pa.list_(_plain_type(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _plain_type(field.type)) for field in type_])
    return type_


def _plain(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([(field.name, _plain_type(field.type)) for field in table.schema])).combine_chunks()


# Values as JSON.

def exact(value, type_: pa.DataType):
    """One value as JSON that loses nothing: only booleans and integers up to 32 bits are JSON's own."""
    if value is None:
        return None
    if pa.types.is_float32(type_) or pa.types.is_float64(type_):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return str(np.float32(value)) if pa.types.is_float32(type_) else repr(value)
    if pa.types.is_int64(type_):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + ("Z" if type_.tz else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if pa.types.is_struct(type_):
        return {field.name: exact(value[field.name], field.type) for field in type_}
    if pa.types.is_map(type_):
        return [[exact(k, type_.key_type), exact(v, type_.item_type)] for k, v in value]
    if pa.types.is_list(type_):
        return [exact(item, type_.value_type) for item in value]
    return value


def exact_rows(table: pa.Table, key: str) -> list[dict]:
    table = table.sort_by(key)
    return [{field.name: exact(r[field.name], field.type) for field in table.schema} for r in table.to_pylist()]


def aggregates(table: pa.Table) -> dict:
    return {"rows": table.num_rows, "columns": {field.name: _aggregate(table[field.name], field.type) for field in table.schema}}


def _aggregate(column: pa.ChunkedArray, type_: pa.DataType) -> dict:
    made = {"values": len(column) - column.null_count}
    if pa.types.is_nested(type_) or made["values"] == 0:
        return made
    if pa.types.is_boolean(type_):
        return made | {"true": pc.sum(column).as_py()}
    if pa.types.is_floating(type_):
        column = column.filter(pc.is_finite(column))
    if pa.types.is_string(type_):
        made["bytes"] = pc.sum(pc.binary_length(column)).as_py()
    ends = pc.min_max(column.cast(pa.binary()) if pa.types.is_string(type_) else column).as_py()
    for name, value in ends.items():
        value = value.decode() if pa.types.is_string(type_) else value
        made[name] = str(value) if isinstance(value, int) else exact(value, type_)
    if pa.types.is_integer(type_):
        made["sum"] = str(sum(column.drop_null().to_pylist()) if pa.types.is_int64(type_) else pc.sum(column.cast(pa.int64())).as_py())
    if pa.types.is_decimal(type_):
        made["sum"] = exact(pc.sum(column.cast(pa.decimal256(76, type_.scale))).as_py(), type_)
    return made


# What lies between the base and the target, and what of it a cursor cannot see.

def changes(base: pa.Table, target: pa.Table, key: list[str], cursor: str) -> dict:
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.register("b", base)
    db.register("t", target)
    on = " AND ".join(f'b."{k}" = t."{k}"' for k in key)
    db.execute(f"""CREATE TABLE d AS SELECT CASE WHEN t."{key[0]}" IS NULL THEN 'deleted' WHEN b."{key[0]}" IS NULL THEN 'inserted' ELSE 'updated' END AS kind,
        t."{cursor}" AS cursor_at FROM b FULL JOIN t ON {on} WHERE b IS DISTINCT FROM t""")
    last = f'(SELECT max("{cursor}") FROM b)'

    def count(where: str) -> int:
        return db.execute(f"SELECT count(*) FROM d WHERE {where}").fetchone()[0]

    made = {kind: count(f"kind = '{kind}'") for kind in ("inserted", "updated", "deleted")}
    made["seenByCursor"] = count(f"kind <> 'deleted' AND cursor_at > {last}")
    made["unseen"] = {
        "deleted": made["deleted"],
        "insertedLate": count(f"kind = 'inserted' AND cursor_at < {last}"),
        "insertedTied": count(f"kind = 'inserted' AND cursor_at = {last}"),
        "insertedNull": count("kind = 'inserted' AND cursor_at IS NULL"),
        "updatedUnmoved": count(f"kind = 'updated' AND (cursor_at <= {last} OR cursor_at IS NULL)"),
    }
    return made


def _check_key(name: str, table: pa.Table, key: list[str]) -> None:
    _agree(f"{name}: rows and distinct keys", table.num_rows, table.group_by(key).aggregate([]).num_rows)
    for column in key:
        _agree(f"{name}: NULLs in {column}", table[column].null_count, 0)


def expected(spark, lake) -> dict:
    made = {}
    for name, about in TABLES.items():
        path, versions, kept = lake / name, {}, {}
        _agree(f"{name}: newest version", DeltaTable(path).version(), about["version"])
        for version in range(about["version"] + 1):
            what = f"{name} at version {version}"
            spark_s, delta_rs_s = by_spark(spark, path, version), by_delta_rs(path, version)
            versions[str(version)] = aggregates(spark_s)
            _agree(f"{what}, Spark and delta-rs", versions[str(version)], aggregates(delta_rs_s))
            if name == "types":
                ours = exact_rows(pa.Table.from_pylist(rows.at_version(version), schema=rows.SCHEMA), "id")
                for reader, table in (("Spark", spark_s), ("delta-rs", delta_rs_s), ("DuckDB", by_duckdb(path, version))):
                    for wanted, got in zip(ours, exact_rows(table, "id"), strict=True):
                        for column in wanted:
                            _agree(f"{what}, row {wanted['id']}, {column}, as written and by {reader}", wanted[column], got[column])
                versions[str(version)]["exact"] = ours
            elif name != "weather":
                counted = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [_files(path, version)]).fetchone()[0] if spark_s.num_rows else 0
                _agree(f"{what}, rows by Spark and DuckDB", spark_s.num_rows, counted)
            if version in (about["baseVersion"], about["version"]):
                _check_key(what, spark_s, about["key"])
                order = [(k, "ascending") for k in about["key"]]
                if name != "types":
                    _agree(f"{what}, all rows by Spark and delta-rs", spark_s.sort_by(order).equals(delta_rs_s.sort_by(order)), True)
                kept[version] = spark_s
        schema = {field["name"]: field["type"] for field in json.loads(DeltaTable(path).schema().to_json())["fields"]}
        made[name] = {
            **about, "schema": schema,
            "changes": changes(kept[about["baseVersion"]], kept[about["version"]], about["key"], about["cursor"]),
            "versions": versions,
        }
        print(f"{name}: {len(versions)} versions read alike; {made[name]['changes']}", flush=True)
    return {"tables": made}
