"""Microseconds that augmenting a photo takes on one core: torchvision's transforms on Pillow images and pugmark in turn, and
the ratios; and, with a training step measured beside it, its share of that.

Both sides begin with the same decoded pictures in memory, at the network's size, or, for crops, with a short side of at most
twice that, and end with 8-bit pixels of the network's size. torchvision erases floats: Pillow's picture becomes one first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import InterpolationMode

import photos


def cases(size: int) -> dict:
    """The names and settings of the example `augment_speed`."""
    crop = T.RandomResizedCrop(size, scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3))
    jitter = T.ColorJitter(0.2, 0.2, 0.2)
    rotation = T.RandomRotation(10, InterpolationMode.NEAREST)
    erase = lambda p: [T.PILToTensor(), T.ConvertImageDtype(torch.float32), T.RandomErasing(p)]  # noqa: E731
    return {
        "flip": T.RandomHorizontalFlip(),
        "rotation": rotation,
        "jitter": jitter,
        "hue": T.ColorJitter(hue=0.1),
        "crop": crop,
        "erasing": T.Compose(erase(1.0)),
        "randaugment": T.RandAugment(2, 9),
        "trivialaugment": T.TrivialAugmentWide(),
        "originals": T.Compose([T.RandomHorizontalFlip(), rotation, jitter]),
        "all": T.Compose(
            [crop, T.RandomHorizontalFlip(), T.RandAugment(2, 9), T.ColorJitter(0.2, 0.2, 0.2, 0.1), *erase(0.25)]
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photos, at any depth, all of which fit in memory")
    parser.add_argument("--pugmark", type=Path, required=True, help="the example augment_speed of pugmark-data")
    parser.add_argument("--step", type=Path, help="the program pugmark, to measure a step of ResNet18 on one core beside it")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--passes", type=int, default=3, help="times each photo is changed in a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    images = [photos.decode(path) for path in photos.find(arguments.photos)]
    if not images:
        sys.exit(f"no photos below {arguments.photos}")
    size = arguments.size
    squashed = [image.resize((size, size), Image.Resampling.BILINEAR) for image in images]
    roomy = [shrunk(image, 2 * size) for image in images]
    transforms = cases(size)
    command = [str(arguments.pugmark), str(arguments.photos), str(size), str(arguments.passes)]
    rounds = []
    for number in range(1, arguments.rounds + 1):
        own = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        other = {
            name: measure(transform, roomy if name in ("crop", "all") else squashed, arguments.passes)
            for name, transform in transforms.items()
        }
        rounds.append((own, other))
        print(f"round {number} of {arguments.rounds}", flush=True)
    step = step_micros(arguments.step, size) if arguments.step else None
    print(f"{len(images)} photos to {size} px; microseconds a photo, medians of {arguments.rounds} rounds")
    for name in transforms:
        own, other = (statistics.median(side[name] for side in sides) for sides in zip(*rounds))
        ratio = statistics.median(other[name] / own[name] for own, other in rounds)
        share = f", {own / step:.2%} of a step" if step else ""
        print(f"{name}: torchvision {other:.0f}, pugmark {own:.0f}, ratio {ratio:.2f}{share}")
    if step:
        print(f"a training step of ResNet18 takes {step / 1000:.1f} ms a photo on one core")


def shrunk(image: Image.Image, short: int) -> Image.Image:
    scale = short / min(image.size)
    if scale >= 1:
        return image
    return image.resize(tuple(round(side * scale) for side in image.size), Image.Resampling.BILINEAR)


def measure(transform, images: list, passes: int) -> float:
    for image in images:
        transform(image)
    start = time.perf_counter()
    for _ in range(passes):
        for image in images:
            transform(image)
    return (time.perf_counter() - start) * 1e6 / (passes * len(images))


def step_micros(program: Path, size: int) -> float:
    command = [str(program), "bench", "--threads", "1", "--image-size", str(size), "--classes", "8", "--json"]
    return 1e6 / json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["images_per_sec"]


if __name__ == "__main__":
    main()
