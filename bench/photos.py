"""Photos as pugmark takes them by default: oriented by EXIF, RGB, squashed to a square by Pillow's bilinear filter."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

EXTENSIONS = {
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
}  # torchvision's ImageFolder, without .ppm and .pgm
MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])


def find(folder: Path) -> list[Path]:
    """Every photo below `folder`, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)


def decode(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def pixels(paths: list[Path], side: int = 224) -> torch.Tensor:
    """u8, photos x side x side x 3."""
    resized = [np.array(decode(path).resize((side, side), Image.Resampling.BILINEAR)) for path in paths]
    return torch.from_numpy(np.stack(resized))


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """f32, photos x 3 x side x side in channels_last memory: ImageNet's mean and deviation."""
    return ((pixels.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)
