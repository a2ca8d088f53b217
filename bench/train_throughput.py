"""Training throughput of PyTorch and of pugmark, in turn on the same shapes, and the ratio of the two."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

STEPS = Path(__file__).parent / "torch_steps.py"


def main() -> None:
    arguments = parse()
    settings = {}
    for option in ("model", "batch", "steps", "warmup", "threads"):
        settings[f"--{option}"] = str(getattr(arguments, option))
    flags = [word for pair in settings.items() for word in pair]
    pytorch = {
        "contiguous": [sys.executable, str(STEPS), *flags],
        "channels_last": [sys.executable, str(STEPS), *flags, "--channels-last"],
    }
    print(f"{arguments.model}, batch {arguments.batch}, 224 px, f32, AdamW, {arguments.threads} threads; {processor()}")

    first = {layout: measure(command) for layout, command in pytorch.items()}
    for layout, result in first.items():
        print(f"PyTorch, {layout}: {show(result)}")
    if arguments.pugmark is None:
        return
    best = max(first, key=lambda layout: first[layout][0])
    print(f"rounds with PyTorch, {best}, then pugmark:")
    pugmark = [str(arguments.pugmark), "bench", "--train", "--json", *flags]
    rounds = []
    for number in range(1, arguments.rounds + 1):
        theirs, ours = measure(pytorch[best]), measure(pugmark)
        rounds.append((theirs, ours))
        print(f"{number}: PyTorch {show(theirs)}; pugmark {show(ours)}; ratio {ours[0] / theirs[0]:.3f}", flush=True)
    for name, results in zip(("PyTorch", "pugmark"), zip(*rounds, strict=True), strict=True):
        speed, memory = (statistics.median(values) for values in zip(*results, strict=True))
        print(f"median {name}: {show((speed, memory))}")
    print(f"median ratio: {statistics.median(ours[0] / theirs[0] for theirs, ours in rounds):.3f}")


def measure(command: list[str]) -> tuple[float, float]:
    """Images per second as the command says, and its peak resident memory in bytes as the kernel says (Linux).

    A child's peak starts at what this process holds, so this process must not import torch.
    """
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"exit status {child.returncode}: {' '.join(command)}")
    return json.loads(output)["images_per_sec"], usage.ru_maxrss * 1024


def show(result: tuple[float, float]) -> str:
    speed, memory = result
    return f"{speed:.2f} images/s, {memory / 2**20:.0f} MiB"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pugmark", type=Path, help="the pugmark binary; without it PyTorch alone is measured")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="measured steps a round; the median counts")
    parser.add_argument("--warmup", type=int, default=2, help="steps a round before those")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
