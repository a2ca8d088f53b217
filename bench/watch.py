"""What watching a training costs: steps that are looked at in full against those beside them, in one and the same training.

Every second step is looked at; the cost of a look is the median over pairs of neighbouring steps, its share of the time what
is left of that at the default distance between two looks.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from measure import processor


def main() -> None:
    arguments = parse()
    print(processor())
    for model in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            flags = ["--model", model, "--batch-size", str(arguments.batch), "--precision", arguments.precision]
            train = [str(arguments.pugmark), "--quiet", "train", str(arguments.data), "--out", str(run), "--recipe", "none", *flags]
            train += ["--epochs", "1000", "--max-steps", str(arguments.steps), "--watch-every", "2"]
            subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
            show(model, run, arguments)


def show(model: str, run: Path, arguments: argparse.Namespace) -> None:
    times, first = {}, set()
    size = (run / "watch.jsonl").stat().st_size
    for record in map(json.loads, (run / "watch.jsonl").read_text().splitlines()):
        if record["record"] == "steps":
            start = record["step"] - len(record["losses"]) + 1
            times |= {start + at: ms for at, ms in enumerate(record["milliseconds"])}
            if record["begins"]:
                first.add(start)
    # The first step of an epoch waits for its photos, the second has just had it beside it.
    pairs = [(times[step], times[step + 1]) for step in times if step % 2 == 0 and not {step, step + 1} & first and step + 1 in times]
    look = statistics.median(watched - plain for watched, plain in pairs)
    step = statistics.median(plain for _, plain in pairs)
    print(
        f"{model}, batch {arguments.batch}, {arguments.precision}: a step {step:.1f} ms, a look {look:.1f} ms more ({look / step:.1%}),"
        f" {look / step / 50:.2%} of the time at one in 50, {look / step / 10:.2%} at one in 10; {len(pairs)} pairs;"
        f" {size / len(times) * 2 / 1024:.1f} KiB a look",
        flush=True,
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of photos, a folder each class")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--models", default="resnet18,simple_cnn")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="bf16")
    return parser.parse_args()


if __name__ == "__main__":
    main()
