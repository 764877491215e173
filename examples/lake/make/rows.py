"""The rows of the table `types`: every Delta primitive at its extremes. Row by row in Python, so that they are their own oracle."""
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal as D

import numpy as np
import pyarrow as pa

UTC = timezone.utc
POINT = pa.struct([("n", pa.int64()), ("s", pa.string())])

SCHEMA = pa.schema([
    ("id", pa.int64()), ("updated_at", pa.timestamp("us", tz="UTC")),
    ("boolean", pa.bool_()), ("int8", pa.int8()), ("int16", pa.int16()), ("int32", pa.int32()), ("int64", pa.int64()),
    ("decimal_38_10", pa.decimal128(38, 10)), ("decimal_9_2", pa.decimal128(9, 2)), ("decimal_18_4", pa.decimal128(18, 4)),
    ("float_plain", pa.float32()), ("double_plain", pa.float64()), ("float_special", pa.float32()), ("double_special", pa.float64()),
    ("date", pa.date32()), ("timestamp", pa.timestamp("us", tz="UTC")), ("timestamp_ntz", pa.timestamp("us")),
    ("binary", pa.binary()), ("text", pa.string()), ("text_nul", pa.string()),
    ("struct", pa.struct([("a", pa.int32()), ("b", pa.string()), ("c", pa.struct([("d", pa.date32()), ("e", pa.decimal128(9, 2))]))])),
    ("array", pa.list_(pa.int32())), ("array_text", pa.list_(pa.string())), ("map", pa.map_(pa.string(), pa.int64())),
    ("array_struct", pa.list_(POINT)), ("map_struct", pa.map_(pa.string(), POINT)),
])

_NAIVE = [
    datetime(1970, 1, 1), None, datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(1850, 6, 15, 12, 34, 56, 789012),
    datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(1970, 1, 1, 0, 0, 0, 1), datetime(1969, 12, 31, 23, 59, 58, 1),
    datetime(2013, 11, 3, 5, 30), datetime(2013, 11, 3, 6, 30), datetime(2013, 3, 10, 2, 30), datetime(2000, 2, 29, 0, 0, 0, 500000),
    datetime(1899, 12, 31, 23, 59, 59, 999999), datetime(2300, 1, 1), datetime(1582, 10, 10, 1, 2, 3, 4), datetime(2038, 1, 19, 3, 14, 8),
]

VALUES = {
    "boolean": [True, False, None],
    "int8": [-128, 127, 0, None, 1, -1],
    "int16": [-32768, 32767, 0, None, 256, -257],
    "int32": [-2**31, 2**31 - 1, 0, None, 65536, -65537],
    "int64": [-2**63, 2**63 - 1, 0, None, 2**53 + 1, -(2**53) - 1, 2**32],
    "decimal_38_10": [D("9999999999999999999999999999.9999999999"), D("-9999999999999999999999999999.9999999999"), D("0.0000000001"),
                      D("-0.0000000001"), D(0), None, D("1234567890123456789.0123456789"), D("1.5")],
    "decimal_9_2": [D("9999999.99"), D("-9999999.99"), D("0.01"), D("-0.01"), D(0), None, D("19.90")],
    "decimal_18_4": [D("99999999999999.9999"), D("-99999999999999.9999"), D("0.0001"), D("-0.0001"), None, D(0), D("90071992547409.9301")],
    "float_plain": [3.4028234663852886e38, -3.4028234663852886e38, 1.401298464324817e-45, 1.1754943508222875e-38, 0.1, 0.0, None, 16777217.0, 1.5],
    "double_plain": [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 0.1, 0.30000000000000004, 0.0, None,
                     9007199254740993.0, 1e21, 1e-7, -273.15],
    "float_special": [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, None, 1.401298464324817e-45, -1.401298464324817e-45],
    "double_special": [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, None, 5e-324, -5e-324],
    "date": [date(1970, 1, 1), date(1, 1, 1), None, date(9999, 12, 31), date(1850, 6, 15), date(1969, 12, 31), date(1582, 10, 10),
             date(1899, 12, 31), date(2300, 1, 1), date(2000, 2, 29), date(1900, 2, 28)],
    "timestamp": [None if at is None else at.replace(tzinfo=UTC) for at in _NAIVE],
    "timestamp_ntz": _NAIVE[3:] + _NAIVE[:3],
    "binary": [b"", b"\x00", b"\xff", b"\x00\xff\x00", None, bytes(range(256)), b"\\x00", b"plain", b"\n\t\r\\", "é".encode("latin-1")],
    "text": ["", None, "plain", "line one\nline two\r\nline three\rend", "tab\there", "back\\slash \\\\ \\n \\t \\", "'single' \"double\" `back` ''",
             "\\N", "  leading", "trailing  ", " ", "\t", "\n", "👩\u200d👩\u200d👧\u200d👦 🇳🇱 😀", "e\u0301", "\u00e9", "NULL", "null", "NaN", "\\.", "a,b;c|d",
             "{\"a\": [1, null]}", "\ufeffmark", "ÅÄÖ ßẞ İıiI", "日本語 العربية עברית", "\u007f\u0001\u001f", "x" * 3000, "$$ {{x}} %s ? :a", "-- ; drop /*", "\U0010ffff"],
    "text_nul": ["\x00", "a\x00b", None, "\x00\x00", "", "no nul", "end\x00", "\\0"],
    "struct": [{"a": 1, "b": "x", "c": {"d": date(2013, 1, 1), "e": D("1.50")}}, None, {"a": None, "b": None, "c": None},
               {"a": -2**31, "b": "", "c": {"d": None, "e": None}}, {"a": 0, "b": "q\"'\\\n", "c": {"d": date(1, 1, 1), "e": D("-9999999.99")}}],
    "array": [[1, 2, 3], [], None, [None], [None, None], [2**31 - 1, None, -2**31], [0]],
    "array_text": [["a", "b"], None, [], [""], [None, ""], ["\\N", "NULL", "{", "}", ",", "\"", "'"], ["l1\nl2", "tab\t", "back\\slash"]],
    "map": [[("a", 1)], [], None, [("a", None)], [("z", 1), ("a", 2), ("m", 3)], [("", 2**63 - 1), (" ", -2**63)], [("é", 1), ("e\u0301", 2)]],
    "array_struct": [[{"n": 1, "s": "x"}], None, [], [None], [{"n": None, "s": None}], [{"n": 2**63 - 1, "s": ""}, None, {"n": -2**63, "s": "q\"\\"}]],
    "map_struct": [[("k", {"n": 1, "s": "x"})], [], None, [("k", None)], [("k", {"n": None, "s": None})],
                   [("b", {"n": 2**63 - 1, "s": ""}), ("a", {"n": -2**63, "s": "l1\nl2"}), ("", None)]],
}


def row(id_: int, updated_at: datetime, turn: int, empty=False) -> dict:
    """Value `turn` of each column. The lists have different lengths, so that values meet in changing company."""
    made = {"id": id_, "updated_at": updated_at}
    for name, values in VALUES.items():
        made[name] = None if empty else values[turn % len(values)]
        if made[name] is not None and name.startswith("float"):
            made[name] = float(np.float32(made[name]))
    return made


def _at(day: int, n: int = 0) -> datetime:
    return datetime(2014, 1, day, 8, tzinfo=UTC) + timedelta(microseconds=n * 1_000_001)


def step(version: int) -> dict:
    """What a version does: rows to write (replacing those with the same id) and ids to delete."""
    if version == 0:
        return {"write": [row(n, _at(1, n), n - 1) for n in range(1, 33)], "delete": []}
    if version == 1:
        extremes = [row(-2**63, _at(2), 40), row(0, _at(2, 1), 41), row(2**63 - 1, _at(2, 2), 42)]
        return {"write": [row(33, _at(2, 3), 0, empty=True), *extremes], "delete": []}
    if version == 2:
        changed = [row(n, _at(3, n), n + 36) for n in (2, 3, 5, 8, 13, 21)] + [row(33, _at(3, 33), 0), row(1, _at(3, 34), 0, empty=True)]
        return {"write": changed + [row(n, _at(3, n), n + 36) for n in range(34, 44)], "delete": []}
    if version == 3:
        return {"write": [], "delete": [7, 14, 0]}
    raise ValueError(version)


VERSIONS = range(4)


def at_version(version: int) -> list[dict]:
    rows = {}
    for v in range(version + 1):
        for r in step(v)["write"]:
            rows[r["id"]] = r
        for i in step(v)["delete"]:
            del rows[i]
    return [rows[i] for i in sorted(rows)]
