"""Predictions of PyTorch for photo files, as a loop with Pillow in worker processes; prints one JSON object with photos/s."""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import photos


class Photos(torch.utils.data.Dataset):
    """Normalised photos, channels first in shape."""

    def __init__(self, paths: list[Path], side: int):
        self.paths, self.side = paths, side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = photos.decode(self.paths[index]).resize((self.side, self.side), Image.Resampling.BILINEAR)
        return photos.normalise(torch.from_numpy(np.array(image))[None])[0]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    with safe_open(arguments.model, "pt") as file:
        card = json.loads(file.metadata()["pugmark"])
    model = torchvision.models.get_model(card["architecture"], weights=None, num_classes=len(card["classes"]))
    model.load_state_dict(load_file(arguments.model), strict=False)
    model = model.to(memory_format=torch.channels_last).eval()
    temperature = card.get("temperature", 1.0)

    start = time.perf_counter()
    paths = photos.find(arguments.photos)
    loader = torch.utils.data.DataLoader(
        Photos(paths, card["recipe"]["width"]), arguments.batch, num_workers=arguments.workers
    )
    with arguments.out.open("w", newline="") as file, torch.inference_mode():
        writer, done = csv.writer(file), 0
        writer.writerow(["id", *card["classes"]])
        for input in loader:
            rows = (model(input.contiguous(memory_format=torch.channels_last)) / temperature).softmax(1).tolist()
            for row in rows:
                writer.writerow([paths[done].relative_to(arguments.photos), *row])
                done += 1
    print(json.dumps({"images_per_sec": len(paths) / (time.perf_counter() - start)}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a model file of pugmark's")
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that read photos")
    return parser.parse_args()


if __name__ == "__main__":
    main()
