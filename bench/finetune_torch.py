"""Transfer learning in PyTorch with pugmark's default recipe: what accuracy to expect of some photos and weights."""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import models
import photos


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    classes = sorted(folder.name for folder in (arguments.data / "train").iterdir() if folder.is_dir())
    train, val = (load(arguments.data / part, classes, arguments.size) for part in ("train", "val"))
    print(f"{len(train[1])} training and {len(val[1])} validation photos of {len(classes)} classes")

    torch.manual_seed(arguments.seed)
    model = models.pretrained(arguments.model, arguments.weights, len(classes))
    if arguments.freeze:
        model.requires_grad_(False)
        model.fc.requires_grad_(True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=arguments.lr, weight_decay=0.01)

    for epoch in range(1, arguments.epochs + 1):
        start = time.perf_counter()
        model.train()
        if arguments.frozen_bn:
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        loss = train_epoch(model, optimizer, *train, arguments.batch)
        seconds = time.perf_counter() - start
        accuracy, log_loss = evaluate(model, *val, arguments.batch)
        print(
            f"epoch={epoch}; train_loss={loss:.4f}; val_acc={accuracy:.4f}; val_log_loss={log_loss:.4f}; "
            f"correct={round(accuracy * len(val[1]))}/{len(val[1])}; images_per_sec={len(train[1]) / seconds:.1f};"
        )


def load(folder: Path, classes: list[str], side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every photo of a part, decoded once: u8 pixels and class indices."""
    found = [(path, label) for label, name in enumerate(classes) for path in photos.find(folder / name)]
    return photos.pixels([path for path, _ in found], side), torch.tensor([label for _, label in found])


def train_epoch(model, optimizer, pixels, labels, batch: int) -> float:
    total = 0.0
    for chosen in torch.randperm(len(labels)).split(batch):
        input = photos.normalise(pixels[chosen])
        flipped = torch.rand(len(chosen)) < 0.5
        input[flipped] = input[flipped].flip(-1)
        loss = F.cross_entropy(model(input), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(labels)


@torch.no_grad()
def evaluate(model, pixels, labels, batch: int) -> tuple[float, float]:
    """Accuracy and log loss."""
    model.eval()
    logits = torch.cat([model(photos.normalise(part)) for part in pixels.split(batch)])
    accuracy = (logits.argmax(1) == labels).double().mean()
    return accuracy.item(), F.cross_entropy(logits.double(), labels).item()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/ and val/, each with a folder a class")
    parser.add_argument("weights", type=Path, help="ImageNet weights in torchvision's layout, .pth or .safetensors")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--freeze", action="store_true", help="train the head alone")
    parser.add_argument(
        "--frozen-bn", action="store_true", help="batch norm uses its running statistics in training too"
    )
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
