"""Logits of a loaded ResNet on a few photos, with the pixels they were computed from, for pugmark to compare with."""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import models
import photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with a folder a class")
    parser.add_argument("weights", type=Path, help="ImageNet weights in torchvision's layout, .pth or .safetensors")
    parser.add_argument(
        "out", type=Path, help="folder for logits.safetensors (pixels, logits) and photos.json (relative paths)"
    )
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--each", type=int, default=10, help="photos a class, the first by name")
    arguments = parser.parse_args()

    folders = sorted(folder for folder in arguments.data.iterdir() if folder.is_dir())
    chosen = [path for folder in folders for path in photos.find(folder)[: arguments.each]]
    pixels = photos.pixels(chosen)
    with torch.no_grad():
        logits = models.pretrained(arguments.model, arguments.weights).eval()(photos.normalise(pixels))
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file({"pixels": pixels, "logits": logits}, arguments.out / "logits.safetensors")
    names = [path.relative_to(arguments.data).as_posix() for path in chosen]
    (arguments.out / "photos.json").write_text(json.dumps(names, indent=1) + "\n")
    print(f"{len(chosen)} photos, logits {list(logits.shape)} from {logits.min():.3f} to {logits.max():.3f}")


if __name__ == "__main__":
    main()
