"""Inference of PyTorch, ONNX Runtime, OpenVINO and pugmark, in turn on the same shapes, and pugmark's ratio to the best."""

import argparse
import statistics
import sys
from pathlib import Path

from measure import processor, run

STEPS = Path(__file__).parent / "infer_steps.py"


def main() -> None:
    arguments = parse()
    batches = [int(batch) for batch in arguments.batches.split(",")]
    precision = arguments.precision
    peers = [f"torch:{layout}-{precision}" for layout in ("contiguous", "channels_last", "frozen")]
    peers += [f"openvino:{hint}-{precision}" for hint in ("latency", "throughput")]
    if precision == "f32":
        peers.append("onnxruntime")
    print(f"{arguments.model}, 224 px, {precision}, {arguments.threads} threads; {processor()}")

    # Of each name and batch, a list of (images/s, ms a batch), one a round.
    results = {(name, batch): [] for batch in batches for name in [*peers, "pugmark"]}
    for _ in range(arguments.rounds):
        for (name, batch), rounds in results.items():
            rounds.append(measure(arguments, name, batch))
    medians = {key: [statistics.median(values) for values in zip(*rounds)] for key, rounds in results.items()}
    for (name, batch), (speed, milliseconds) in medians.items():
        print(f"batch {batch}, {name}: {speed:.2f} images/s, {milliseconds:.2f} ms")

    ours = max(batches, key=lambda batch: medians["pugmark", batch][0])
    theirs = max((key for key in medians if key[0] != "pugmark"), key=lambda key: medians[key][0])
    ratio = median_ratio(results["pugmark", ours], results[theirs], 0)
    print(f"throughput: pugmark, batch {ours}, over {theirs[0]}, batch {theirs[1]}: {ratio:.3f}")
    if 1 in batches:
        # Throughput hints keep several images in flight: their time for an image is no latency.
        prompt = [name for name in peers if "throughput" not in name]
        best = min(prompt, key=lambda name: medians[name, 1][1])
        ratio = median_ratio(results["pugmark", 1], results[best, 1], 1)
        print(f"latency of one image: pugmark over {best}: {ratio:.3f} (below 1: pugmark is faster)")


def median_ratio(ours: list[tuple[float, float]], theirs: list[tuple[float, float]], index: int) -> float:
    """Of the rounds' ratios."""
    return statistics.median(our[index] / their[index] for our, their in zip(ours, theirs, strict=True))


def measure(arguments: argparse.Namespace, name: str, batch: int) -> tuple[float, float]:
    # A step of one image is short: more of them for the same time.
    steps = arguments.steps * max(1, 32 // batch)
    shape = ["--model", arguments.model, "--batch", str(batch), "--steps", str(steps)]
    shape += ["--warmup", str(arguments.warmup), "--threads", str(arguments.threads)]
    if name == "pugmark":
        result, _ = run([str(arguments.pugmark), "bench", "--precision", arguments.precision, "--infer", "--json", *shape])
        return result["images_per_sec"], result["step_seconds_median"] * 1e3
    result, _ = run([sys.executable, "-W", "ignore", str(STEPS), "--peer", name, *shape])
    return result["images_per_sec"], result["latency_ms"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batches", default="1,32", help="batch sizes, with commas")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="of every library; ONNX Runtime has f32 alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="measured steps a round at batch 32; the median counts")
    parser.add_argument("--warmup", type=int, default=2, help="steps a round before those")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
