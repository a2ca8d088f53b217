"""The dog-breed recipe as a PyTorch loop: a frozen backbone, every epoch from photo files; prints one JSON object."""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision import transforms

import models
import photos


class Photos(torch.utils.data.Dataset):
    """Short side to 256 pixels, the middle 224 of it, normalised."""

    def __init__(self, folder: Path, classes: list[str]):
        self.items = [(path, label) for label, name in enumerate(classes) for path in photos.find(folder / name)]
        self.transform = transforms.Compose([
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(photos.MEAN, photos.STD),
        ])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.items[index]
        return self.transform(photos.decode(path)), label


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    classes = sorted(entry.name for entry in (arguments.data / "train").iterdir() if entry.is_dir())
    loaders = [
        torch.utils.data.DataLoader(
            Photos(arguments.data / part, classes), arguments.batch, shuffle=part == "train", num_workers=arguments.workers
        )
        for part in ("train", "val")
    ]
    model = models.pretrained(arguments.model, arguments.weights, len(classes))
    model.requires_grad_(False)
    model.fc.requires_grad_(True)
    # Batch norm with its running statistics, as a frozen backbone is meant.
    model.eval()
    optimizer = torch.optim.AdamW(model.fc.parameters(), lr=arguments.lr, weight_decay=0.01)

    start = time.perf_counter()
    for _ in range(arguments.epochs):
        for input, labels in loaders[0]:
            loss = F.cross_entropy(model(input.contiguous(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = 0
        with torch.no_grad():
            for input, labels in loaders[1]:
                logits = model(input.contiguous(memory_format=torch.channels_last))
                right += (logits.argmax(1) == labels).sum().item()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "val_acc": right / len(loaders[1].dataset)}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/ and val/, each with a folder a class")
    parser.add_argument("weights", type=Path, help="ImageNet weights in torchvision's layout, .pth or .safetensors")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that read photos")
    return parser.parse_args()


if __name__ == "__main__":
    main()
