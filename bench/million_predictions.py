"""Memory of `pugmark predict --out` over a million photos (links to a few), and whether 20 kills change its file.

Prints the resident memory on the way, each kill and how many answers were in the journal then, and at last whether the file is
the one of an undisturbed call. Linux only.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def main() -> None:
    arguments = parse()
    originals = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    originals = originals[:20]
    if not originals:
        sys.exit(f"no JPEGs below {arguments.photos}")
    random.seed(1)
    with tempfile.TemporaryDirectory() as place:
        many = Path(place) / "photos"
        for number in range(arguments.names):
            link = many / f"{number // 1000:04}" / f"{number % 1000:03}.jpg"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(originals[number * 7 % len(originals)].resolve())
        command = [str(arguments.pugmark), "predict", str(arguments.model), str(many), "--batch-size", "64", "--out"]
        whole, rows = Path(place) / "whole.csv", Path(place) / "rows.csv"
        _, seconds, memory, said, began = call([*command, str(whole)], None)
        print(f"undisturbed: {seconds:.0f} s, resident MiB on the way {memory[:: max(1, len(memory) // 10)]}; {said}", flush=True)
        for number in range(1, arguments.kills + 1):
            # Some while it finds the photos, most while it answers.
            code, after, *_ = call([*command, str(rows)], random.uniform(1, began + seconds / 12))
            journal = Path(f"{rows}.journal")
            known = max(0, sum(1 for _ in journal.open()) - 1) if journal.exists() else 0
            print(f"kill {number} after {after:.1f} s: {known} answers are kept", flush=True)
            if code == 0:
                break
        _, _, memory, said, _ = call([*command, str(rows)], None)
        print(f"the rest: at most {max(memory)} MiB resident; {said}")
        ids = [line.split(",", 1)[0] for line in rows.open()][1:]
        same = digest(rows) == digest(whole)
        print(f"{len(ids)} rows of {len(set(ids))} photos; the same file as undisturbed: {'yes' if same else 'NO'}")


def call(command: list[str], kill: float | None) -> tuple[int, float, list[int], str, float]:
    """Exit status, seconds, resident MiB each half second, the last line on stderr, and seconds until the journal grew; killed
    after so many seconds."""
    journal, began = Path(f"{command[-1]}.journal"), 0.0
    start = time.monotonic()
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(child.stderr.read().splitlines()))
    reader.start()
    memory = []
    while child.poll() is None:
        if kill is not None and time.monotonic() - start > kill:
            child.kill()
        if not began and journal.exists() and journal.stat().st_size > 2**16:
            began = time.monotonic() - start
        status = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        memory += [int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS")]
        time.sleep(0.5)
    reader.join()
    if kill is None and child.returncode != 0:
        sys.exit(f"exit status {child.returncode}: {said}")
    return child.returncode, time.monotonic() - start, memory, said[-1] if said else "", began


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a run or a model file; the smaller the faster")
    parser.add_argument("photos", type=Path, help="a folder of JPEGs, of which 20 are taken; the smaller the faster")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
