"""What delta-rs writes: flights, airlines, airports and types. Each statement that writes is one Delta version."""
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake

import data
import rows

UTC = timezone.utc
SMALL = WriterProperties(compression="ZSTD", compression_level=19)
# Ids and arrival times that grow by a step cost almost nothing as deltas, and a megabyte as a dictionary.
GROWING = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
FLIGHTS = WriterProperties(compression="ZSTD", compression_level=19, column_properties={"id": GROWING})
COMPACTED = (9, 12)

DELAY_CLASS = "CASE WHEN dep_delay IS NULL THEN 'cancelled' WHEN dep_delay > 60 THEN 'very late' WHEN dep_delay > 15 THEN 'late' ELSE 'on time' END"


def _classified(table: pa.Table) -> pa.Table:
    delay = table["dep_delay"]
    late = pc.if_else(pc.greater(delay, 60), "very late", pc.if_else(pc.greater(delay, 15), "late", "on time"))
    return table.append_column(pa.field("delay_class", pa.string()), pc.fill_null(late, "cancelled"))


def flights(path: Path) -> None:
    everything = data.flights()
    month, day = pc.field("month"), pc.field("day")

    def append(rows_: pa.Table, **more) -> None:
        write_deltalake(str(path), rows_, mode="append", writer_properties=FLIGHTS, **more)

    def december(first: int, last: int) -> pa.Table:
        return everything.filter((month == 12) & (day >= first) & (day <= last))

    append(everything.filter(month <= 3), partition_by=["month"], description="Flights that left New York in 2013")        # 0
    append(everything.filter((month >= 4) & (month <= 6)))                                                                 # 1
    append(everything.filter((month >= 7) & (month <= 9)))                                                                 # 2
    append(everything.filter((month >= 10) & (month <= 11)))                                                               # 3
    append(december(1, 15))                                                                                                # 4
    DeltaTable(path).update(                                                                                               # 5
        predicate="month = 12 AND tailnum IS NULL",
        updates={"tailnum": "'UNKNOWN'", "updated_at": "CAST('2013-12-16T12:00:00Z' AS TIMESTAMP)"}, writer_properties=FLIGHTS)
    DeltaTable(path).delete("month = 12 AND day <= 10 AND dep_time IS NULL", writer_properties=FLIGHTS)                    # 6
    append(_classified(december(16, 24)), schema_mode="merge")                                                             # 7
    DeltaTable(path).update(                                                                                               # 8
        predicate="month = 11 AND (dep_delay IS NULL OR dep_delay > 15)",
        updates={"delay_class": DELAY_CLASS, "updated_at": "CAST('2013-12-25T12:00:00.5Z' AS TIMESTAMP)"}, writer_properties=FLIGHTS)
    DeltaTable(path).create_checkpoint()
    append(_classified(december(25, 27)))                                                                                  # 9: the base
    base_cursor = december(25, 27)["updated_at"].to_pylist()[-1]
    append(_classified(december(28, 31)))                                                                                  # 10

    corrected = _classified(everything.filter((month == 12) & (day >= 16) & (day <= 27) & (pc.field("arr_delay") > 60)))   # 11
    DeltaTable(path).merge(
        corrected, "t.month = 12 AND t.month = s.month AND t.id = s.id", source_alias="s", target_alias="t", writer_properties=FLIGHTS,
    ).when_matched_update(
        updates={"t.arr_delay": "t.arr_delay - 1", "t.updated_at": "CAST('2014-01-02T12:00:00.000001Z' AS TIMESTAMP)"}).execute()

    # What no cursor can see: deletes, rows that come late or tie with the last value or have none, updates that leave it as it was.
    DeltaTable(path).delete("month = 2 AND day IN (8, 9) AND dest = 'BOS' AND dep_time IS NULL", writer_properties=FLIGHTS)  # 12
    late = _classified(december(31, 31)).slice(0, 7).to_pylist()
    times = [datetime(2013, 12, 20, 9, 0, n, tzinfo=UTC) for n in range(3)] + [base_cursor] * 2 + [None] * 2
    for n, (r, at) in enumerate(zip(late, times)):
        r.update(id=everything.num_rows + 1 + n, flight=9001 + n, updated_at=at)
    append(pa.Table.from_pylist(late, schema=_classified(december(31, 31)).schema))                                        # 13
    first = december(25, 25)["id"][0].as_py()
    DeltaTable(path).update(                                                                                               # 14
        predicate=f"month = 12 AND id IN ({', '.join(str(first + n) for n in (0, 10, 20, 30, 40))})",
        updates={"tailnum": "'N00000'"}, writer_properties=FLIGHTS)
    DeltaTable(path).optimize.compact(partition_filters=[("month", "=", "12")], writer_properties=FLIGHTS)                 # 15: the target
    DeltaTable(path).compact_logs(*COMPACTED)


def airlines(path: Path) -> None:
    table = data.airlines()
    write_deltalake(str(path), table, mode="append", writer_properties=SMALL)                                              # 0
    DeltaTable(path).update(                                                                                               # 1: the base
        predicate="carrier = 'US'", updates={"name": "'US Airways'", "updated_at": "CAST('2013-06-01T00:00:00Z' AS TIMESTAMP)"}, writer_properties=SMALL)
    DeltaTable(path).update(                                                                                               # 2
        predicate="carrier = 'FL'", updates={"name": "'AirTran'", "updated_at": "CAST('2014-01-01T00:00:00Z' AS TIMESTAMP)"}, writer_properties=SMALL)
    new = {"carrier": "NK", "name": "Spirit Airlines", "updated_at": datetime(2014, 1, 2, tzinfo=UTC)}
    write_deltalake(str(path), pa.Table.from_pylist([new], schema=table.schema), mode="append", writer_properties=SMALL)   # 3
    DeltaTable(path).delete("carrier = 'OO'", writer_properties=SMALL)                                                     # 4: the target


def airports(path: Path) -> None:
    """Partitioned by a time zone: with '/', NULL and, once, every character that needs escaping. Change data feed on."""
    table = data.airports()

    def at(text: str) -> str:
        return f"CAST('{text}' AS TIMESTAMP)"

    write_deltalake(str(path), table, mode="append", partition_by=["tzone"], writer_properties=SMALL,                      # 0
                    configuration={"delta.enableChangeDataFeed": "true"})
    strange = {"faa": "ZZT", "name": "Test Strip (made up)", "lat": 40.5, "lon": 180.0, "alt": -1, "tz": 0, "dst": "U",
               "tzone": "Etc/O'Hare \"x\"=50% é+ü?#", "updated_at": datetime(2013, 1, 2, tzinfo=UTC)}
    write_deltalake(str(path), pa.Table.from_pylist([strange], schema=table.schema), mode="append", writer_properties=SMALL)   # 1
    DeltaTable(path).update(predicate="tzone = 'America/Phoenix' AND dst = 'A'",                                           # 2: the base
                            updates={"dst": "'N'", "updated_at": at("2013-03-10T09:00:00Z")}, writer_properties=SMALL)
    DeltaTable(path).update(predicate="tzone IS NULL", updates={"name": "concat(name, ' (zone unknown)')", "updated_at": at("2014-01-01T00:00:00Z")},   # 3
                            writer_properties=SMALL)
    DeltaTable(path).update(predicate="tzone = 'Asia/Chongqing'", updates={"tzone": "'Asia/Shanghai'", "updated_at": at("2014-01-02T00:00:00Z")},       # 4
                            writer_properties=SMALL)
    new = [dict(strange, faa="ZZU", updated_at=datetime(2014, 1, 3, tzinfo=UTC)), dict(strange, faa="ZZV", tzone=None, updated_at=datetime(2014, 1, 3, 0, 0, 1, tzinfo=UTC))]
    source = pa.Table.from_pylist(new + [dict(strange, name="Test Strip (renamed)", updated_at=datetime(2014, 1, 3, 0, 0, 2, tzinfo=UTC))], schema=table.schema)
    DeltaTable(path).merge(source, "t.faa = s.faa", source_alias="s", target_alias="t", writer_properties=SMALL) \
        .when_matched_update_all().when_not_matched_insert_all().execute()                                                 # 5: the target


def types(path: Path) -> None:
    for version in rows.VERSIONS:
        step = rows.step(version)
        source = pa.Table.from_pylist(step["write"], schema=rows.SCHEMA)
        if version < 2:
            write_deltalake(str(path), source, mode="append", writer_properties=SMALL)
        elif step["write"]:
            DeltaTable(path).merge(source, "t.id = s.id", source_alias="s", target_alias="t", writer_properties=SMALL) \
                .when_matched_update_all().when_not_matched_insert_all().execute()
        else:
            DeltaTable(path).delete(f"id IN ({', '.join(str(i) for i in step['delete'])})", writer_properties=SMALL)
