"""Photos as Pillow decodes and resizes them, for pugmark to state its largest difference."""

import argparse
from pathlib import Path

from safetensors.torch import save_file

import photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="photos, at any depth")
    parser.add_argument("out", type=Path, help="safetensors file: u8 side x side x 3 under each photo's relative path")
    parser.add_argument("--count", type=int, help="only so many, the first by path")
    parser.add_argument("--size", type=int, default=224, help="side in pixels")
    arguments = parser.parse_args()

    chosen = photos.find(arguments.folder)[: arguments.count]
    rows = {path.relative_to(arguments.folder).as_posix(): photos.pixels([path], arguments.size)[0] for path in chosen}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(rows, arguments.out)
    print(f"{len(rows)} photos of {arguments.folder}")


if __name__ == "__main__":
    main()
