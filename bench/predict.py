"""Predictions for a folder of photos into a CSV: a PyTorch loop with Pillow in two processes and pugmark in turn, and the ratio.

The photos are shown under many names, so that the start weighs little; pugmark's time is the whole command's, PyTorch's is without
its start. Both compute in f32. The largest difference of the two CSVs is told as well.
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import measure, processor, show, text

PEER = Path(__file__).parent / "torch_predict.py"


def main() -> None:
    arguments = parse()
    originals = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not originals:
        sys.exit(f"no JPEGs below {arguments.photos}")
    with tempfile.TemporaryDirectory() as place:
        many, ours, theirs = Path(place) / "photos", Path(place) / "ours.csv", Path(place) / "theirs.csv"
        for name in range(arguments.times):
            (many / f"{name:04}").mkdir(parents=True)
            for number, path in enumerate(originals):
                (many / f"{name:04}" / f"{number:04}.jpg").symlink_to(path.resolve())
        count = arguments.times * len(originals)
        size = sum(path.stat().st_size for path in originals) / len(originals)
        print(f"{len(originals)} JPEGs of {size / 2**10:.0f} KiB, each {arguments.times} times; {processor()}")
        command = [str(arguments.pugmark), "--quiet", "predict", str(arguments.model), str(many), "--out", str(ours)]
        command += ["--overwrite", "--precision", "f32", "--threads", "2", "--loader-threads", "2"]
        peer = [sys.executable, str(PEER), str(arguments.model), str(many), str(theirs), "--workers", "2"]
        ratios = []
        for number in range(1, arguments.rounds + 1):
            other = measure(peer)
            Path(f"{ours}.journal").unlink(missing_ok=True)
            start = time.perf_counter()
            _, memory = text(command)
            own = (count / (time.perf_counter() - start), memory)
            ratios.append(own[0] / other[0])
            print(f"{number}: PyTorch {show(other)}; pugmark {show(own)}; ratio {ratios[-1]:.3f}", flush=True)
        print(f"median ratio: {statistics.median(ratios):.3f}")
        print(f"largest difference of a probability: {difference(ours, theirs):.2g}")


def difference(one: Path, other: Path) -> float:
    with one.open() as ours, other.open() as theirs:
        ours, theirs = list(csv.DictReader(ours)), list(csv.DictReader(theirs))
    names = [name for name in theirs[0] if name != "id"]
    assert [row["id"] for row in ours] == [row["id"] for row in theirs]
    return max(abs(float(a[name]) - float(b[name])) for a, b in zip(ours, theirs) for name in names)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a model file of pugmark's")
    parser.add_argument("photos", type=Path, help="a folder of JPEGs, at any depth")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--times", type=int, default=20, help="names for each photo")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
