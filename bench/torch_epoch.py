"""One epoch of PyTorch from photo files, from random weights; prints one JSON object with images/s of the training part."""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image

import photos


class Photos(torch.utils.data.Dataset):
    """Normalised photos, channels first in shape, flipped half of the time."""

    def __init__(self, folder: Path, side: int):
        classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        self.items = [(path, label) for label, entry in enumerate(classes) for path in photos.find(entry)]
        self.classes = len(classes)
        self.side = side

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.items[index]
        image = photos.decode(path).resize((self.side, self.side), Image.Resampling.BILINEAR)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return photos.normalise(torch.from_numpy(np.array(image))[None])[0], label


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    data = Photos(arguments.data / "train", arguments.size)
    loader = torch.utils.data.DataLoader(data, arguments.batch, shuffle=True, num_workers=arguments.workers)
    model = torchvision.models.get_model(arguments.model, weights=None, num_classes=data.classes)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)

    start = time.perf_counter()
    for input, labels in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = F.cross_entropy(model(input.contiguous(memory_format=torch.channels_last)), labels)
        loss.backward()
        optimizer.step()
    print(json.dumps({"images_per_sec": len(data) / (time.perf_counter() - start)}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/, with a folder a class")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that read photos")
    return parser.parse_args()


if __name__ == "__main__":
    main()
