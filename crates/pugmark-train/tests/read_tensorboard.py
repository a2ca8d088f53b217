"""Reads a run's event files with TensorBoard itself and holds them against the run's metrics.csv.

    pip install tensorboard==2.21.0 pillow
    pugmark train photos --out run --tensorboard
    python crates/pugmark-train/tests/read_tensorboard.py run

Every epoch must be there once, with the values of metrics.csv; every step once; histograms must hold as many values as
their tensor has in last.safetensors; pictures must decode. After a resume the steps that were done again must not be
there twice.
"""

import argparse
import csv
import io
import json
import math
import pathlib
import struct
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def tensor_sizes(file: pathlib.Path) -> dict[str, int]:
    """The number of values of each tensor of a safetensors file."""
    bytes_ = file.read_bytes()
    (length,) = struct.unpack("<Q", bytes_[:8])
    header = json.loads(bytes_[8 : 8 + length])
    return {name: math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, help="folder of the event files [default: RUN/tensorboard]")
    arguments = parser.parse_args()
    folder = arguments.folder or arguments.run / "tensorboard"
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    board.Reload()
    tags = board.Tags()
    wrong = []

    def check(fine: bool, what: str) -> None:
        if not fine:
            wrong.append(what)

    rows = list(csv.DictReader((arguments.run / "metrics.csv").open(encoding="utf-8")))
    for key in ("train_loss", "train_acc", "val_loss", "val_acc", "val_macro_f1", "learning_rate", "images_per_sec"):
        found = [event.value for event in board.Scalars(f"epoch/{key}")]
        expected = [struct.unpack("<f", struct.pack("<f", float(row[key])))[0] for row in rows]
        check(found == expected, f"epoch/{key}: {found} for {expected}")
    steps = [event.step for event in board.Scalars("step/loss")]
    check(steps == list(range(1, len(steps) + 1)), f"steps {steps}")
    ends = [event.step for event in board.Scalars("epoch/number")]
    check(len(ends) == len(rows) and ends[-1] == steps[-1], f"epochs end at {ends} of {steps[-1]} steps")

    sizes = tensor_sizes(arguments.run / "last.safetensors")
    for tag in tags["histograms"]:
        for event in board.Histograms(tag):
            value = event.histogram_value
            check(value.num == sizes.get(tag) == sum(value.bucket), f"{tag}: {value.num} values, {sizes.get(tag)} expected")
            check(list(value.bucket_limit) == sorted(value.bucket_limit), f"{tag}: limits")
    for tag in tags["tensors"]:
        metadata = board.SummaryMetadata(tag)
        check(metadata.plugin_data.plugin_name == "images" and metadata.summary_description, f"{tag}: {metadata}")
        for event in board.Tensors(tag):
            width, height, encoded = event.tensor_proto.string_val
            size = Image.open(io.BytesIO(encoded)).size
            check(size == (int(width), int(height)), f"{tag}: {size}")
    pictures = {tag: len(board.Tensors(tag)) for tag in tags["tensors"]}
    print(f"{len(steps)} steps, {len(rows)} epochs, {len(tags['histograms'])} histograms, pictures {pictures}: {len(wrong)} errors")
    print(*wrong[:20], sep="\n")
    sys.exit(1 if wrong or not tags["histograms"] or "training photos" not in pictures else 0)


if __name__ == "__main__":
    main()
