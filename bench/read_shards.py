"""Reads a prepared folder with the `webdataset` package and compares every photo with the folder's tables."""

import argparse
import csv
import json
import sys
from pathlib import Path


def main() -> None:
    import webdataset

    arguments = parse()
    index = json.loads((arguments.prepared / "index.json").read_text())
    rows = {}
    for table in index["tables"]:
        with open(arguments.prepared / table["file"], newline="") as file:
            rows |= {row["key"]: row for row in csv.DictReader(file) if not row["reason"]}
    shards = [str(arguments.prepared / shard["file"]) for shard in index["shards"]]
    seen = set()
    for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("rgb8"):
        row = rows[sample["__key__"]]
        picture = sample["jpg"] if "jpg" in sample else sample["npy"]
        check(picture.shape == (int(row["height"]), int(row["width"]), 3), f"{row['id']}: {picture.shape}")
        check(sample["json"]["id"] == row["id"], f"{row['id']}: {sample['json']}")
        label = index["classes"][sample["cls"]] if "cls" in sample else ""
        check(label == row["label"], f"{row['id']}: {label}")
        if "npy" in sample:
            shard = next(shard for shard in index["shards"] if shard["name"] == row["shard"])
            with open(arguments.prepared / shard["file"], "rb") as file:
                file.seek(int(row["offset"]))
                check(file.read(int(row["bytes"])) == picture.tobytes(), f"{row['id']}: pixels")
        check(row["key"] not in seen, f"{row['id']}: twice")
        seen.add(row["key"])
    check(seen == rows.keys(), f"{len(seen)} photos of {len(rows)}")
    print(f"{len(seen)} photos in {len(shards)} shards are as the tables say")


def check(good: bool, what: str) -> None:
    if not good:
        sys.exit(f"differs: {what}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path, help="a folder that `pugmark prepare` has written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
