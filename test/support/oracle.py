"""Reads Delta tables with delta-rs, which shares no code with this project's readers, and writes each version's rows as sorted lines
of text, one file a version: `oracle.py TABLE OUT [VERSION…]`. Columns are separated by tabs, in the schema's order; NULL is `\\N`.

Integers, dates (days) and timestamps (microseconds) are numbers; floats are their bits, decimals have all digits of their scale, binary
is hexadecimal, nested values are canonical JSON as src/lake/nested.ts says."""
import json
import math
import pathlib
import struct
import sys
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, QueryBuilder

ESCAPES = [("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n")]


def main(path: str, out: str, *versions: str) -> None:
    for version in [int(v) for v in versions] or range(DeltaTable(path).version() + 1):
        table = DeltaTable(path, version=version)
        names = [field.name for field in table.schema().fields]
        listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        rows = pa.table(QueryBuilder().register("t", table).execute(f"SELECT {listed} FROM t").read_all()).combine_chunks()
        lines = sorted(bytes(line.as_buffer()) for line in rows_of(rows)) if rows.num_rows else []
        pathlib.Path(out, f"{version}.tsv").write_bytes(b"".join(line + b"\n" for line in lines))


def rows_of(table: pa.Table):
    columns = [text(table[name]) for name in table.column_names]
    return pc.binary_join_element_wise(*columns, pa.scalar("\t", pa.large_string()).cast(columns[0].type)).cast(pa.large_binary())


def text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    made = values(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    return pc.fill_null(made.cast(pa.large_string()), "\\N")


def values(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return values(column.dictionary_decode())
    if isinstance(column, pa.ChunkedArray):
        return values(pa.concat_arrays(column.chunks))
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "true", "false")
    if pa.types.is_integer(kind):
        return column.cast(pa.string())
    if pa.types.is_floating(kind):
        bits = pa.int32() if pa.types.is_float32(kind) else pa.int64()
        return pc.if_else(pc.is_null(column), None, column.view(bits).cast(pa.string()))
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).view(pa.int32()).cast(pa.string())
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", tz=kind.tz)).view(pa.int64()).cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        made = column.cast(pa.large_string())
        for raw, escaped in ESCAPES:
            made = pc.replace_substring(made, raw, escaped)
        return made
    return pa.array([scalar(value, kind) for value in column.to_pylist()], pa.large_string())


def scalar(value, kind: pa.DataType) -> str | None:
    if value is None:
        return None
    if pa.types.is_decimal(kind):
        return f"{value:f}"
    if pa.types.is_nested(kind):
        made = canonical(value, kind)
        for raw, escaped in ESCAPES:
            made = made.replace(raw, escaped)
        return made
    return bytes(value).hex()


def canonical(value, kind: pa.DataType) -> str:
    if value is None:
        return "null"
    if pa.types.is_struct(kind):
        return "{" + ",".join(f"{quoted(f.name)}:{canonical(value[f.name], f.type)}" for f in kind) + "}"
    if pa.types.is_map(kind):
        if pa.types.is_string(kind.key_type) or pa.types.is_large_string(kind.key_type) or pa.types.is_string_view(kind.key_type):
            entries = sorted(value, key=lambda entry: entry[0].encode())
            return "{" + ",".join(f"{quoted(k)}:{canonical(v, kind.item_type)}" for k, v in entries) + "}"
        pairs = sorted((canonical(k, kind.key_type), canonical(v, kind.item_type)) for k, v in value)
        return "[" + ",".join(f"[{k},{v}]" for k, v in pairs) + "]"
    if isinstance(value, list):
        return "[" + ",".join(canonical(item, kind.value_type) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value, pa.types.is_float32(kind))
    if isinstance(value, datetime):
        return f'"{value.replace(tzinfo=None).isoformat(timespec="microseconds")}{"Z" if kind.tz else ""}"'
    if isinstance(value, date):
        return f'"{value.isoformat()}"'
    if isinstance(value, bytes):
        return f'"{value.hex()}"'
    if isinstance(value, str):
        return quoted(value)
    return str(value) if pa.types.is_integer(kind) else f'"{value:f}"'


def quoted(value: str) -> str:
    made = json.dumps(value, ensure_ascii=False)
    for code in range(32):
        made = made.replace(f"\\u{code:04x}", f"\\u{code:04X}")
    return made.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def number(value: float, is_single: bool) -> str:
    if math.isnan(value):
        return '"NaN"'
    if math.isinf(value):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    if value == 0:
        return '"-0.0"' if math.copysign(1, value) < 0 else "0"
    digits = Decimal(shortest_single(value) if is_single else repr(value))
    if 1e-6 <= abs(value) < 1e16:
        made = f"{digits:f}"
        return made.rstrip("0").rstrip(".") if "." in made else made
    mantissa, exponent = f"{digits.normalize():e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def shortest_single(value: float) -> str:
    made = (f"{value:.{precision}e}" for precision in range(9))
    return next(text for text in made if struct.unpack("f", struct.pack("f", float(text)))[0] == value)


if __name__ == "__main__":
    main(*sys.argv[1:])
