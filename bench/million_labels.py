"""Seconds and peak memory of `pugmark check` and `pugmark split` on made-up labels, without photos."""

import argparse
import os
import random
import resource
import tempfile
import time
from pathlib import Path

from measure import text

CASES = {
    "check": None,
    "by site": ["--by", "site", "--val", "0.2", "--test", "0.1"],
    "by site, 5 folds": ["--by", "site", "--folds", "5"],
    "by folder, 300,000 of them": ["--by", "folder", "--val", "0.2", "--test", "0.1"],
    "by random": ["--by", "random"],
    "with what was": ["--by", "site", "--keep", "split.csv"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pugmark", type=Path, required=True, help="the program")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sites", type=int, default=2_000)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--stat", action="store_true", help="also how long it takes to look for every photo")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.csv"
        paths = write(labels, arguments.rows, arguments.sites, arguments.classes)
        print(f"{arguments.rows} rows, {arguments.sites} sites, {labels.stat().st_size / 2**20:.0f} MiB")
        if arguments.stat:
            started = time.perf_counter()
            found = sum(os.path.exists(Path(folder, path)) for path in paths)
            print(f"looking for the photos (warm, local): {time.perf_counter() - started:.1f} s, {found} are there")
        os.chdir(folder)
        pugmark = arguments.pugmark if arguments.pugmark.is_absolute() else Path(START, arguments.pugmark)
        for name, flags in CASES.items():
            out = "split.csv" if name == "by site" else "other.csv"
            verb = ["check", str(labels)] if flags is None else ["split", str(labels), "--out", out, "--overwrite", *flags]
            command = [str(pugmark), *verb, "--no-photos", "--quiet"]
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            told, memory = text(command)
            seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            deviation = next((f"; {line}" for line in told.splitlines() if line.startswith("largest deviation")), "")
            print(f"{name}: {seconds:.1f} s ({cpu:.1f} s of CPU), {memory / 2**20:.0f} MiB{deviation}", flush=True)


def write(labels: Path, rows: int, sites: int, classes: int) -> list[str]:
    """Sites of very different sizes, each with its favourite classes; class 0 is most frequent, the last ones are rare."""
    draw = random.Random(0)
    sizes = [draw.paretovariate(1.2) for _ in range(sites)]
    frequency = [1 / (1 + number) for number in range(classes)]
    favourites = [draw.choices(range(classes), frequency, k=4) for _ in range(sites)]
    paths = []
    with labels.open("w") as file:
        file.write("filepath,label,site\n")
        for number, site in enumerate(draw.choices(range(sites), sizes, k=rows)):
            species = draw.choice(favourites[site]) if number % 3 else draw.choices(range(classes), frequency)[0]
            path = f"sequence_{site}_{number % 150}/IMG_{number:07}.JPG"
            paths.append(path)
            file.write(f"{path},species_{species:02},site_{site:04}\n")
    return paths


START = Path.cwd()

if __name__ == "__main__":
    main()
