"""Makes the lake anew beside this folder, reads it back, writes expected.json. See README.md."""
import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import expected
import with_delta_rs
import with_spark
from tables import TABLES

HERE = Path(__file__).resolve().parent


def tidy(lake: Path) -> None:
    """Removes what writers leave and no reader needs: checksums of the local file system, empty folders."""
    for name in TABLES:
        for junk in [*(lake / name).rglob("*.crc"), *(lake / name).rglob("_SUCCESS")]:
            junk.unlink()
        for folder in sorted((p for p in (lake / name).rglob("*") if p.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def as_text(oracle: dict) -> str:
    """JSON with one line for each version, and for each exact row."""
    one = lambda value: json.dumps(value, ensure_ascii=True)
    tables = []
    for name, table in oracle["tables"].items():
        head = "\n".join(f"      {one(k)}: {one(v)}," for k, v in table.items() if k != "versions")
        versions = []
        for version, what in table["versions"].items():
            exact = what.pop("exact", None)
            text = one(what)
            if exact is not None:
                text = text[:-1] + ', "exact": [\n' + ",\n".join(f"          {one(r)}" for r in exact) + "\n        ]}"
            versions.append(f"        {one(version)}: {text}")
        tables.append(f"    {one(name)}: {{\n{head}\n      \"versions\": {{\n" + ",\n".join(versions) + "\n      }\n    }")
    return '{\n  "tables": {\n' + ",\n".join(tables) + "\n  }\n}\n"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=HERE.parent, help="the lake's folder (default: the one above this script)")
    arguments.add_argument("--jars", type=Path, default=HERE / "jars", help="the folder of Delta's jars (default: jars/ beside this script)")
    arguments.add_argument("--check", action="store_true", help="make nothing: read the lake that is there and compare with its expected.json")
    options = arguments.parse_args()
    lake = options.out.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        spark = with_spark.session(options.jars, Path(scratch))
        spark.sparkContext.setLogLevel("ERROR")
        if not options.check:
            for name, about in TABLES.items():
                shutil.rmtree(lake / name, ignore_errors=True)
                if about["writer"] == "spark":
                    getattr(with_spark, name)(spark, lake / name)
                else:
                    getattr(with_delta_rs, name)(lake / name)
            tidy(lake)
        text = as_text(expected.expected(spark, lake))
        tidy(lake)
        spark.stop()
    if options.check and text != (lake / "expected.json").read_text():
        print("expected.json says otherwise", file=sys.stderr)
        return 1
    (lake / "expected.json").write_text(text)
    for name in TABLES:
        files = [p for p in (lake / name).rglob("*") if p.is_file()]
        print(f"{name}: {len(files)} files, {sum(p.stat().st_size for p in files):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
