"""What `--profile` costs a training: pairs of trainings with and without it, in turn, and the median of their ratios.

    python bench/profile_cost.py DATA --pugmark target/release/pugmark

Processor time is that of the whole process; other work on the machine changes it far less than the time on the clock.
"""

import argparse
import csv
import resource
import statistics
import tempfile
from pathlib import Path

from measure import processor, text


def train(arguments: argparse.Namespace, more: list[str], out: Path) -> tuple[float, float]:
    """Processor time in seconds, and seconds a photo in the last epoch: the first one decodes the photos."""
    command = [arguments.pugmark, "--quiet", "train", str(arguments.data), "--out", str(out), "--overwrite"]
    command += ["--recipe", "none", "--model", arguments.model, "--image-size", str(arguments.size)]
    command += ["--batch-size", str(arguments.batch), "--epochs", str(arguments.epochs), *more]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = list(csv.DictReader((out / "metrics.csv").open(encoding="utf-8")))
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, 1 / float(rows[-1]["images_per_sec"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pugmark", default="target/release/pugmark")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--flag", default="--profile", help="what is measured, such as --tensorboard")
    arguments = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            # The order changes from round to round, so that what the machine does meanwhile hits both.
            order = [[], [arguments.flag]] if number % 2 == 0 else [[arguments.flag], []]
            found = {bool(more): train(arguments, more, Path(folder) / "run") for more in order}
            ratios.append([with_it / without for with_it, without in zip(found[True], found[False])])
            spent = [f"{found[on][0]:.2f} s and {found[on][1] * 1e3:.2f} ms a photo" for on in (False, True)]
            print(f"round {number + 1}: {spent[0]} without, {spent[1]} with", flush=True)
    print(f"{arguments.flag}, {arguments.model} at {arguments.size} px, batch {arguments.batch}, {processor()}:")
    for what, values in zip(("processor time", "time a photo"), zip(*ratios)):
        cost, low, high = (100 * (value - 1) for value in (statistics.median(values), min(values), max(values)))
        print(f"{what}: {cost:+.2f} % (median of {len(values)} pairs, {low:+.2f} to {high:+.2f} %)")


if __name__ == "__main__":
    main()
