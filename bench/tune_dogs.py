"""A search on the dog-breed space (learning rate, batch size, epochs of the head of a frozen ResNet50): six trials of `pugmark tune`,
and the same six trainings in PyTorch, in turn.

The validation photos are shared out: every other one is held out, and the best settings, trained again, are measured on those.
PyTorch's time begins with the first photo of each training; pugmark's is that of the whole command, with its start, the features,
the saved models and the last training, and without the features of an earlier round.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import processor, run, text

PEER = Path(__file__).parent / "torch_frozen.py"
SPACE = ["lr=log(0.001,0.1)", "batch=16,32,64,128", "epochs=2..5"]


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "photos"
        counts = hold_out(arguments.data, data)
        print(f"resnet50, {counts} photos, {arguments.trials} trials, {arguments.threads} threads; {processor()}", flush=True)
        ratios = []
        for number in range(1, arguments.rounds + 1):
            place = Path(folder) / f"round-{number}"
            ours, found = search(arguments, data, place, seed=number)
            theirs = [train(arguments, data, trial["settings"]) for trial in found["trials"]]
            ratios.append(sum(seconds for seconds, _ in theirs) / ours)
            print(f"{number}: pugmark {ours:.1f} s, PyTorch {sum(s for s, _ in theirs):.1f} s, ratio {ratios[-1]:.1f}", flush=True)
            for trial, (seconds, accuracy) in zip(found["trials"], theirs):
                mine = trial["metrics"]["accuracy"]
                print(f"   {trial['settings']}: accuracy {mine:.3f}, PyTorch {accuracy:.3f} in {seconds:.1f} s", flush=True)
            again = found["retrained"]
            print(f"   best {found['best']}, trained again: {json.dumps(again['metrics'])}, held out: {json.dumps(again['test'])}")
            shutil.rmtree(place)
        print(f"median ratio: {statistics.median(ratios):.1f}")


def hold_out(source: Path, target: Path) -> dict[str, int]:
    """Copies the photos, every other one of val/ into test/."""
    counts = {}
    for part in ("train", "val"):
        for number, path in enumerate(sorted(source.glob(f"{part}/*/*"))):
            name = "test" if part == "val" and number % 2 else part
            copy = target / name / path.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            counts[name] = counts.get(name, 0) + 1
    return counts


def search(arguments: argparse.Namespace, data: Path, place: Path, seed: int) -> tuple[float, dict]:
    """Seconds of the command and what it found."""
    command = [str(arguments.pugmark), "--quiet", "tune", str(data), "--search", *SPACE, "--recipe", "dog-breeds"]
    command += ["--weights", str(arguments.weights), "--trials", str(arguments.trials), "--retrain-best", "--json"]
    command += ["--seed", str(seed), "--threads", str(arguments.threads), "--out", str(place / "study")]
    start = time.perf_counter()
    output, _ = text(command, {"PUGMARK_CACHE": str(place / "cache")})
    return time.perf_counter() - start, json.loads(output)


def train(arguments: argparse.Namespace, data: Path, settings: dict) -> tuple[float, float]:
    """Seconds and validation accuracy of PyTorch with the settings of a trial."""
    command = [sys.executable, str(PEER), str(data), str(arguments.weights), "--lr", str(settings["learning_rate"])]
    command += ["--batch", str(settings["batch_size"]), "--epochs", str(settings["epochs"])]
    result, _ = run([*command, "--threads", str(arguments.threads), "--workers", str(arguments.workers)])
    return result["seconds"], result["val_acc"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/ and val/, each with a folder a class")
    parser.add_argument("weights", type=Path, help="a ResNet50's ImageNet weights in torchvision's layout")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that read photos for PyTorch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
