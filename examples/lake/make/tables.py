"""What each table of the lake is. README.md says the same in words."""

TABLES = {
    "flights": {"key": ["id"], "cursor": "updated_at", "writer": "delta-rs", "baseVersion": 9, "version": 15},
    "planes": {"key": ["tailnum"], "cursor": "updated_at", "writer": "spark", "baseVersion": 6, "version": 9},
    "airlines": {"key": ["carrier"], "cursor": "updated_at", "writer": "delta-rs", "baseVersion": 1, "version": 4},
    "airports": {"key": ["faa"], "cursor": "updated_at", "writer": "delta-rs", "baseVersion": 2, "version": 5},
    "weather": {"key": ["origin", "time_hour"], "cursor": "updated_at", "writer": "spark", "baseVersion": 6, "version": 9},
    "types": {"key": ["id"], "cursor": "updated_at", "writer": "delta-rs", "baseVersion": 1, "version": 3},
}
