"""What `--profile` costs a training: pairs of trainings with and without it, in turn, and the median of their ratios.

    python bench/profile_cost.py DATA --pugmark target/release/pugmark
"""

import argparse
import csv
import statistics
import tempfile
from pathlib import Path

from measure import processor, text


def speed(arguments: argparse.Namespace, more: list[str], out: Path) -> float:
    """Images a second of the last epoch: the first one decodes the photos."""
    command = [arguments.pugmark, "--quiet", "train", str(arguments.data), "--out", str(out), "--overwrite"]
    command += ["--recipe", "none", "--model", arguments.model, "--image-size", str(arguments.size), "--epochs", "2"]
    text(command + ["--batch-size", str(arguments.batch), *more])
    rows = list(csv.DictReader((out / "metrics.csv").open(encoding="utf-8")))
    return float(rows[-1]["images_per_sec"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pugmark", default="target/release/pugmark")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--flag", default="--profile", help="what is measured, such as --tensorboard")
    arguments = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            # The order changes from round to round, so that what the machine does meanwhile hits both.
            order = [[], [arguments.flag]] if number % 2 == 0 else [[arguments.flag], []]
            speeds = {bool(more): speed(arguments, more, Path(folder) / "run") for more in order}
            ratios.append(speeds[False] / speeds[True])
            print(f"round {number + 1}: {speeds[False]:.1f} images/s without, {speeds[True]:.1f} with", flush=True)
    cost = 100 * (statistics.median(ratios) - 1)
    spread = [100 * (ratio - 1) for ratio in (min(ratios), max(ratios))]
    print(f"{arguments.flag}, {arguments.model} at {arguments.size} px, {processor()}:")
    print(f"the time of a photo grows by {cost:.2f} % (median of {len(ratios)} pairs, {spread[0]:.2f} to {spread[1]:.2f} %)")


if __name__ == "__main__":
    main()
