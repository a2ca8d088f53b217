"""How pugmark's speed goes with the batch, the size of the photos and the threads; cost an image should grow as pixels do."""

import argparse
import itertools
from pathlib import Path

from measure import processor, run


def main() -> None:
    arguments = parse()
    print(f"{arguments.model}, {arguments.precision}, images/s of the median step; {processor()}")
    for mode, threads in itertools.product(arguments.modes.split(","), numbers(arguments.threads)):
        print(f"\n{mode}, threads {threads}")
        sizes = numbers(arguments.sizes)
        print("batch" + "".join(f"{f'{size} px':>10}" for size in sizes))
        for batch in numbers(arguments.batches):
            print(f"{batch:5}", end="", flush=True)
            for size in sizes:
                shape = ["--batch", batch, "--image-size", size, "--threads", threads, "--steps", arguments.steps]
                flags = [f"--{mode}", "--json", "--model", arguments.model, "--warmup", "1", *map(str, shape)]
                result, _ = run([str(arguments.pugmark), "bench", "--precision", arguments.precision, *flags])
                print(f"{result['images_per_sec']:10.2f}", end="", flush=True)
            print()


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--modes", default="train,infer")
    parser.add_argument("--batches", default="1,2,4,8,16,32,64")
    parser.add_argument("--sizes", default="160,224,288,384")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each cell")
    return parser.parse_args()


if __name__ == "__main__":
    main()
