"""
Writes a table with a change data feed, by delta-rs: inserts, updates, deletes and a merge over several versions.
    python change_feed.py TABLE   ->  on stdout {"base": …, "target": …, "deletes": [[id, value], …], "inserts": […]}
`deletes` and `inserts` are what the feed says between the two versions, net for each key: its row before the first change and after the last.
"""
import json
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

path = sys.argv[1]


def rows(ids, value):
    return pa.table({"id": pa.array(ids, pa.int64()), "value": pa.array([f"{value} {i}" for i in ids], pa.string())})


def append(ids, value):
    write_deltalake(path, rows(ids, value), mode="append", configuration={"delta.enableChangeDataFeed": "true"})


append(range(0, 1000), "first")
append(range(1000, 2000), "first")
append(range(2000, 3000), "first")
base = DeltaTable(path).version()
table = DeltaTable(path)
table.update(predicate="id >= 10 and id < 30", updates={"value": "'updated'"})
append(range(3000, 3100), "second")
table = DeltaTable(path)
table.delete("id >= 20 and id < 40 or id = 3007")
table = DeltaTable(path)
table.merge(rows([5, 10, 20, 9000], "merged"), "t.id = s.id", source_alias="s", target_alias="t") \
    .when_matched_update_all().when_not_matched_insert_all().execute()
# Back to what it was: no change in the end.
table = DeltaTable(path)
table.update(predicate="id = 15", updates={"value": "'first 15'"})
target = DeltaTable(path).version()

feed = pa.table(DeltaTable(path).load_cdf(starting_version=base + 1, ending_version=target)).to_pylist()
order = {"update_preimage": 0, "delete": 0, "update_postimage": 1, "insert": 1}
feed.sort(key=lambda row: (row["id"], row["_commit_version"], order[row["_change_type"]]))
before, after = {}, {}
for row in feed:
    value = row["value"]
    if row["_change_type"] in ("update_preimage", "delete"):
        before.setdefault(row["id"], value)
        after[row["id"]] = None
    else:
        before.setdefault(row["id"], None)
        after[row["id"]] = value
changed = [key for key in sorted(before) if before[key] != after[key]]
print(json.dumps({
    "base": base,
    "target": target,
    "deletes": [[key, before[key]] for key in changed if before[key] is not None],
    "inserts": [[key, after[key]] for key in changed if after[key] is not None],
}))
