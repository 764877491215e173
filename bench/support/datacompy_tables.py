"""A peer of the comparison: datacompy with polars over two folders of Parquet, joined by id."""
import sys

import polars as pl
from datacompy import PolarsCompare

baseline, candidate = (pl.read_parquet(f"{folder}/*.parquet") for folder in sys.argv[1:3])
comparison = PolarsCompare(baseline, candidate, join_columns=["id"])
print(comparison.matches(), comparison.count_matching_rows())
