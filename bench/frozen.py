"""A frozen backbone: five epochs of the dog-breed recipe in PyTorch and in pugmark, in turn, and what pugmark takes to train
the head again with ten other learning rates on the features it has kept.

PyTorch's time begins with its first photo; pugmark's is that of the whole command, its start and the saved models included.
"""

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import processor, run, text

PEER = Path(__file__).parent / "torch_frozen.py"
RATES = [1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2]


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "photos"
        photos = copies(arguments.data, data, arguments.photos)
        shape = f"resnet50, {photos} photos, {arguments.epochs} epochs, {arguments.threads} threads"
        print(f"{shape}; {processor()}", flush=True)
        rounds = []
        for number in range(1, arguments.rounds + 1):
            peer = [sys.executable, str(PEER), str(data), str(arguments.weights), "--epochs", str(arguments.epochs)]
            result, _ = run([*peer, "--threads", str(arguments.threads), "--workers", str(arguments.workers)])
            theirs = result["seconds"]
            place = Path(folder) / f"round-{number}"
            first, accuracy = train(arguments, data, place, 1e-3)
            again = [train(arguments, data, place, rate)[0] for rate in RATES]
            rounds.append((theirs / first, theirs * len(RATES) / sum(again)))
            print(
                f"{number}: PyTorch {theirs:.1f} s (accuracy {result['val_acc']:.3f}); pugmark {first:.1f} s "
                f"(accuracy {accuracy:.3f}), ratio {rounds[-1][0]:.2f}; ten more {sum(again):.1f} s, "
                f"ratio {rounds[-1][1]:.1f}",
                flush=True,
            )
            shutil.rmtree(place)
    for index, name in enumerate(("the first training", "ten more, over ten of PyTorch's")):
        print(f"median ratio of {name}: {statistics.median(ratios[index] for ratios in rounds):.2f}")


def copies(source: Path, target: Path, photos: int) -> int:
    """Copies the photos of train/ and val/ under new names until there are as many as wanted; how many that is."""
    found = [path for path in source.glob("*/*/*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
    # By name, so that both parts and all classes are among the first.
    found.sort(key=lambda path: path.name)
    for number in range(photos):
        path = found[number % len(found)]
        copy = target / path.relative_to(source).with_name(f"{number:05}{path.suffix}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return photos


def train(arguments: argparse.Namespace, data: Path, place: Path, rate: float) -> tuple[float, float]:
    """Seconds of the command and the last validation accuracy."""
    command = [str(arguments.pugmark), "--quiet", "train", str(data), "--recipe", "dog-breeds"]
    command += ["--weights", str(arguments.weights), "--epochs", str(arguments.epochs)]
    command += ["--learning-rate", str(rate), "--threads", str(arguments.threads), "--out", str(place / f"run-{rate}")]
    start = time.perf_counter()
    output, _ = text(command, {"PUGMARK_CACHE": str(place / "cache")})
    seconds = time.perf_counter() - start
    return seconds, float(re.findall(r"val_acc=([0-9.]+);", output)[-1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/ and val/, each with a folder a class")
    parser.add_argument("weights", type=Path, help="a ResNet50's ImageNet weights in torchvision's layout")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--photos", type=int, default=400, help="photos to train on and to validate, by copying")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that read photos for PyTorch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
