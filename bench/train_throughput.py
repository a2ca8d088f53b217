"""Training throughput of PyTorch and of pugmark, in turn on the same shapes, and the ratio of the two."""

import argparse
import statistics
import sys
from pathlib import Path

from measure import instruction_set, measure, processor, show

STEPS = Path(__file__).parent / "torch_steps.py"


def main() -> None:
    arguments = parse()
    settings = {}
    for option in ("model", "batch", "steps", "warmup", "threads", "precision", "device"):
        settings[f"--{option}"] = str(getattr(arguments, option))
    flags = [word for pair in settings.items() for word in pair]
    pytorch = {
        "contiguous": [sys.executable, str(STEPS), *flags],
        "channels_last": [sys.executable, str(STEPS), *flags, "--channels-last"],
    }
    if arguments.device != "cpu":
        pytorch["compiled"] = [*pytorch["channels_last"], "--compile"]
    limit = instruction_set(arguments.isa)
    isa = f", {arguments.isa} at most" if arguments.isa else ""
    isa = isa if arguments.device == "cpu" else f", {arguments.device}"
    shape = f"{arguments.model}, batch {arguments.batch}, 224 px, {arguments.precision}, AdamW, {arguments.threads} threads"
    print(f"{shape}{isa}; {processor()}")

    first = {layout: measure(command, limit) for layout, command in pytorch.items()}
    for layout, result in first.items():
        print(f"PyTorch, {layout}: {show(result)}")
    if arguments.pugmark is None:
        return
    best = max(first, key=lambda layout: first[layout][0])
    print(f"rounds with PyTorch, {best}, then pugmark:")
    pugmark = [str(arguments.pugmark), "bench", "--train", "--json", *flags]
    rounds = []
    for number in range(1, arguments.rounds + 1):
        theirs, ours = measure(pytorch[best], limit), measure(pugmark, limit)
        rounds.append((theirs, ours))
        print(f"{number}: PyTorch {show(theirs)}; pugmark {show(ours)}; ratio {ours[0] / theirs[0]:.3f}", flush=True)
    for name, results in zip(("PyTorch", "pugmark"), zip(*rounds, strict=True), strict=True):
        speed, memory = (statistics.median(values) for values in zip(*results, strict=True))
        print(f"median {name}: {show((speed, memory))}")
    for index, name in enumerate(("speed", "memory")):
        ratio = statistics.median(ours[index] / theirs[index] for theirs, ours in rounds)
        print(f"median ratio of {name}: {ratio:.3f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pugmark", type=Path, help="the pugmark binary; without it PyTorch alone is measured")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="measured steps a round; the median counts")
    parser.add_argument("--warmup", type=int, default=2, help="steps a round before those")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: PyTorch's is autocast")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="on a GPU memory is the host's")
    parser.add_argument("--isa", choices=["avx2"], help="keep both sides to this instruction set")
    return parser.parse_args()


if __name__ == "__main__":
    main()
