"""One epoch from photo files: PyTorch and pugmark in turn, the ratio, and how near pugmark comes to its speed in memory.

With `--precision bf16` PyTorch runs under its autocast. Both sides count from the first photo read to the last step, without validation and saving.
"""

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

from measure import measure, processor, show, text

PEER = Path(__file__).parent / "torch_epoch.py"


def main() -> None:
    arguments = parse()
    print(f"{arguments.model}, batch {arguments.batch}, 224 px, {arguments.precision}, {arguments.threads} threads; {processor()}")
    shape = ["--model", arguments.model, "--threads", str(arguments.threads)]
    batch = ["--batch", str(arguments.batch)]
    peer = [sys.executable, str(PEER), str(arguments.data), *shape, *batch, "--workers", str(arguments.workers), "--precision", arguments.precision]
    # The resident batch has as many classes, for the same work.
    classes = sum(entry.is_dir() for entry in (arguments.data / "train").iterdir())
    resident = [str(arguments.pugmark), "bench", "--precision", arguments.precision, "--train", "--json", *shape, *batch, "--classes", str(classes)]

    rounds = []
    for number in range(1, arguments.rounds + 1):
        theirs, ours, memory = measure(peer), epoch(arguments, shape), measure(resident)
        rounds.append((theirs, ours, memory))
        print(
            f"{number}: PyTorch {show(theirs)}; pugmark {show(ours)}; ratio {ours[0] / theirs[0]:.3f}; "
            f"batch in memory {memory[0]:.2f} images/s",
            flush=True,
        )
    print(f"median ratio: {statistics.median(ours[0] / theirs[0] for theirs, ours, _ in rounds):.3f}")
    share = statistics.median(ours[0] / memory[0] for _, ours, memory in rounds)
    print(f"median share of pugmark's speed in memory: {share:.3f}")


def epoch(arguments: argparse.Namespace, shape: list[str]) -> tuple[float, float]:
    """Images per second of the epoch's training part, as its [METRICS] line says, and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(arguments.pugmark), "train", str(arguments.data), "--out", str(Path(folder) / "run")]
        command += ["--epochs", "1", "--image-size", "224", "--batch-size", str(arguments.batch), "--precision", arguments.precision, *shape]
        output, memory = text(command)
    found = re.search(r"\[METRICS\].* images_per_sec=([0-9.]+);", output)
    if found is None:
        sys.exit(f"no images per second in: {output}")
    return float(found[1]), memory


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/ and val/, each with a folder a class")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that read photos for PyTorch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
