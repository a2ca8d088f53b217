"""Photos a second from a folder of photos to tar shards of JPEGs: Pillow in processes, pugmark in as many threads, in turn.

Decode, EXIF orientation, RGB, bilinear resize with antialiasing, JPEG quality 95 in 4:4:4, tar. Pillow's processes are
started before the clock, pugmark's process after it.
"""

import argparse
import io
import json
import multiprocessing
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from decode_resize import describe, find


def main() -> None:
    arguments = parse()
    paths = find(arguments.data)
    if not paths:
        sys.exit(f"no JPEGs below {arguments.data}")
    print(f"{len(paths)} photos, {describe(paths)}; to {arguments.size} px, {arguments.workers} threads or processes")
    rounds = []
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        pool.map(prepare, [(paths[0], arguments.size)] * arguments.workers)
        for number in range(arguments.rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                speeds = {
                    "Pillow": pillow(pool, paths, Path(folder), arguments),
                    "pugmark": pugmark(len(paths), Path(folder), arguments),
                }
            # The first round brings the files into memory.
            if number > 0:
                rounds.append(speeds)
                print(f"{number}: {show(speeds)}", flush=True)
    print(f"median: {show({name: statistics.median(speeds[name] for speeds in rounds) for name in rounds[0]})}")
    ratio = statistics.median(speeds["pugmark"] / speeds["Pillow"] for speeds in rounds)
    print(f"median ratio to Pillow: {ratio:.2f}")


def pillow(pool, paths: list[Path], folder: Path, arguments: argparse.Namespace) -> float:
    start = time.perf_counter()
    with tarfile.open(folder / "pillow.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        work = [(path, arguments.size) for path in paths]
        for number, content in enumerate(pool.imap(prepare, work, chunksize=4)):
            member = tarfile.TarInfo(f"{number:08}.jpg")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return len(paths) / (time.perf_counter() - start)


def prepare(work: tuple[Path, int]) -> bytes:
    from PIL import Image, ImageOps

    path, size = work
    content = io.BytesIO()
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        image.save(content, "JPEG", quality=95, subsampling=0)
    return content.getvalue()


def pugmark(photos: int, folder: Path, arguments: argparse.Namespace) -> float:
    command = [str(arguments.pugmark), "prepare", str(arguments.data), "--out", str(folder / "pugmark"), "--json"]
    command += ["--size", str(arguments.size), "--threads", str(arguments.workers), "--quiet"]
    start = time.perf_counter()
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - start
    done = json.loads(result.stdout)["done"]
    if done != photos:
        sys.exit(f"pugmark prepared {done} photos of {photos}")
    return photos / seconds


def show(speeds: dict[str, float]) -> str:
    return "; ".join(f"{name} {speed:.1f} photos/s" for name, speed in speeds.items())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a data set of JPEGs alone, each of them whole")
    parser.add_argument("--pugmark", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
