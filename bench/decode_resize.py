"""Photos a second from JPEG files to pixels of the network's size: Pillow, torchvision and pugmark in turn, and the ratios.

Decode, EXIF orientation, RGB, bilinear resize with antialiasing. Pillow and torchvision run in processes of one thread
each, pugmark in as many threads of one process.
"""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from pathlib import Path

EXTENSIONS = {".jpg", ".jpeg"}


def main() -> None:
    arguments = parse()
    paths = find(arguments.photos)
    if not paths:
        sys.exit(f"no JPEGs below {arguments.photos}")
    print(f"{len(paths)} photos, {describe(paths)}; to {arguments.size} px, {arguments.workers} threads or processes")
    flags = [str(arguments.photos), str(arguments.size), str(arguments.workers), str(arguments.passes)]
    rounds = []
    with (
        worker_pool(arguments.workers, start_pillow) as pillow_pool,
        worker_pool(arguments.workers, start_torchvision) as torchvision_pool,
    ):
        sides = {
            "Pillow": lambda: timed(pillow_pool, pillow, paths, arguments),
            "torchvision": lambda: timed(torchvision_pool, torchvision, paths, arguments),
            "pugmark": lambda: pugmark([str(arguments.pugmark), *flags], len(paths)),
        }
        for number in range(1, arguments.rounds + 1):
            speeds = {name: measure() for name, measure in sides.items()}
            rounds.append(speeds)
            print(f"{number}: {show(speeds)}", flush=True)
    print(f"median: {show({name: statistics.median(speeds[name] for speeds in rounds) for name in sides})}")
    for other in ("Pillow", "torchvision"):
        ratio = statistics.median(speeds["pugmark"] / speeds[other] for speeds in rounds)
        print(f"median ratio to {other}: {ratio:.2f}")


def worker_pool(workers: int, start):
    # Not forked: torch's threads do not survive that.
    return multiprocessing.get_context("spawn").Pool(workers, initializer=start)


def timed(pool, prepare, paths: list[Path], arguments: argparse.Namespace) -> float:
    """Photos a second of the pool; a pass before the clock starts brings the files into memory."""
    work = [(path, arguments.size) for path in paths]
    pool.starmap(prepare, work, chunksize=1)
    start = time.perf_counter()
    pool.starmap(prepare, work * arguments.passes, chunksize=1)
    return len(work) * arguments.passes / (time.perf_counter() - start)


def start_pillow() -> None:
    from PIL import Image  # noqa: F401


def start_torchvision() -> None:
    import torch
    import torchvision  # noqa: F401

    torch.set_num_threads(1)


def pillow(path: Path, size: int) -> None:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        ImageOps.exif_transpose(image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def torchvision(path: Path, size: int) -> None:
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2.functional import resize

    image = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB, apply_exif_orientation=True)
    resize(image, [size, size], antialias=True)


def pugmark(command: list[str], photos: int) -> float:
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    if result["photos"] != photos:
        sys.exit(f"pugmark found {result['photos']} photos of {photos}")
    return result["photos_per_sec"]


def show(speeds: dict[str, float]) -> str:
    return "; ".join(f"{name} {speed:.1f} photos/s" for name, speed in speeds.items())


def find(folder: Path) -> list[Path]:
    """Every JPEG below `folder` as pugmark finds them, sorted by path."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def describe(paths: list[Path]) -> str:
    from PIL import Image

    megapixels = []
    for path in paths:
        with Image.open(path) as image:
            megapixels.append(image.width * image.height / 1e6)
    kilobytes = statistics.mean(path.stat().st_size / 1e3 for path in paths)
    return (
        f"{statistics.mean(megapixels):.1f} megapixels ({min(megapixels):.1f} to {max(megapixels):.1f}) "
        f"and {kilobytes:.0f} kB on average"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of JPEGs, each of them whole")
    parser.add_argument("--pugmark", type=Path, required=True, help="the example decode_speed of pugmark-data")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--passes", type=int, default=3, help="times each photo is prepared in a round")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
