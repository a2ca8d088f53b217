"""A pugmark run's recipe in PyTorch: the same photos, split, weights and settings; prints the best epoch's figures as JSON."""

import argparse
import csv
import json
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torchvision.transforms import v2

import models
import photos

# Settings that have no twin here, with the value that leaves them out.
WITHOUT = {
    "accumulate": 1, "auto_augment": "none", "average_best": 0, "balanced_sampling": False, "class_weights": "none",
    "clip_adaptive": 0.0, "clip_norm": 0.0, "clip_value": 0.0, "cutmix": 0.0, "decay_norms": True, "ema": 0.0, "erasing": 0.0,
    "hue": 0.0, "keep_augment": False, "layer_decay": 1.0, "optimiser": "adamw", "random_crop": 1.0, "random_grayscale": 0.0,
    "schedule": "constant", "unfreeze_after": 0, "vertical_flip": False, "warmup_epochs": 0.0,
}


class Photos(torch.utils.data.Dataset):
    """Photos of a part, normalised, channels first."""

    def __init__(self, rows: list[tuple[Path, int]], recipe: dict, training: bool):
        self.rows = rows
        side = recipe["image_size"]
        if recipe.get("resize") == "centre-crop":
            self.resize = v2.Compose([v2.Resize(recipe["resize_short_side"]), v2.CenterCrop(side)])
        else:
            self.resize = v2.Resize((side, side))
        changes = []
        if recipe.get("flip"):
            changes.append(v2.RandomHorizontalFlip())
        if recipe.get("rotation"):
            changes.append(v2.RandomRotation(recipe["rotation"]))
        if recipe.get("jitter"):
            changes.append(v2.ColorJitter(*[recipe["jitter"]] * 3))
        self.changes = v2.Compose(changes) if training and changes else None
        self.gray = v2.Grayscale(3) if recipe.get("grayscale") else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.rows[index]
        image = self.resize(photos.decode(path))
        for change in filter(None, (self.gray, self.changes)):
            image = change(image)
        return photos.normalise(torch.from_numpy(np.array(image))[None])[0], label


def main() -> None:
    arguments = parse()
    recipe = tomllib.loads((arguments.run / "config.toml").read_text())
    strange = [name for name, value in WITHOUT.items() if recipe.get(name, value) != value]
    if strange:
        sys.exit(f"no twin here for {', '.join(strange)}")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    classes, parts = split(arguments)
    train = Photos(parts["train"], recipe, True)
    val = Photos(parts["val"], recipe, False)
    loader = torch.utils.data.DataLoader(train, recipe["batch_size"], shuffle=True, num_workers=arguments.workers)
    checks = torch.utils.data.DataLoader(val, recipe["batch_size"], num_workers=arguments.workers)
    model = make(recipe, len(classes))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"])

    arithmetic = torch.autocast("cpu", torch.bfloat16, enabled=recipe["precision"] == "bf16")
    start = time.perf_counter()
    best = None
    for epoch in range(recipe["epochs"]):
        model.train()
        if recipe["freeze"] == "backbone":
            # pugmark's frozen norms use their running statistics.
            model.eval()
        for input, labels in loader:
            optimizer.zero_grad()
            with arithmetic:
                value = loss(model, input, labels, recipe)
            value.backward()
            optimizer.step()
        with arithmetic:
            accuracy, log_loss = evaluate(model, checks)
        if best is None or better(recipe, (accuracy, log_loss), best):
            best = (accuracy, log_loss)
    seconds = time.perf_counter() - start
    print(json.dumps({"accuracy": best[0], "log_loss": best[1], "seconds": seconds, "epochs": recipe["epochs"]}))


def split(arguments) -> tuple[list[str], dict[str, list[tuple[Path, int]]]]:
    """Classes, and the photos of each part that can be decoded, as the run has split them."""
    rows = list(csv.DictReader((arguments.run / "split.csv").open()))
    classes = sorted({row["class"] for row in rows})
    places = {}
    root = arguments.data if arguments.data.is_dir() else arguments.data.parent
    features = root / "train_features.csv"
    if features.is_file():
        places = {row["id"]: row["filepath"] for row in csv.DictReader(features.open())}
    parts: dict[str, list[tuple[Path, int]]] = {"train": [], "val": [], "test": []}
    for row in rows:
        path = root / places.get(row["id"], row["id"])
        try:
            photos.decode(path)
        except OSError:
            continue
        parts[row["split"]].append((path, classes.index(row["class"])))
    return classes, parts


def make(recipe: dict, classes: int) -> torch.nn.Module:
    if "weights" in recipe:
        model = models.pretrained(recipe["model"], Path(recipe["weights"]), classes)
    elif recipe["model"] == "simple_cnn":
        model = simple_cnn(classes)
    else:
        model = torchvision.models.get_model(recipe["model"], weights=None, num_classes=classes)
    if recipe["freeze"] == "backbone":
        model.requires_grad_(False)
        model.fc.requires_grad_(True)
    elif recipe["freeze"] != "none":
        sys.exit(f"freeze {recipe['freeze']} has no twin here")
    return model.to(memory_format=torch.channels_last)


def simple_cnn(classes: int) -> torch.nn.Module:
    layers, channels = [], 3
    for out in (32, 64, 128, 256):
        layers += [torch.nn.Conv2d(channels, out, 3, padding=1, bias=False), torch.nn.BatchNorm2d(out)]
        layers += [torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        channels = out
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Dropout(0.2), torch.nn.Linear(channels, classes)]
    return torch.nn.Sequential(*layers)


def loss(model, input, labels, recipe: dict) -> torch.Tensor:
    smoothing = recipe.get("label_smoothing", 0.0)
    if not recipe.get("mixup"):
        return F.cross_entropy(model(input), labels, label_smoothing=smoothing)
    share = float(np.random.default_rng(torch.randint(2**31, ()).item()).beta(recipe["mixup"], recipe["mixup"]))
    other = torch.randperm(len(labels))
    logits = model(share * input + (1 - share) * input[other])
    first = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    return share * first + (1 - share) * F.cross_entropy(logits, labels[other], label_smoothing=smoothing)


@torch.no_grad()
def evaluate(model, checks) -> tuple[float, float]:
    """Accuracy and log loss."""
    model.eval()
    logits, labels = zip(*((model(input), label) for input, label in checks))
    logits, labels = torch.cat(logits).double(), torch.cat(labels)
    return (logits.argmax(1) == labels).double().mean().item(), F.cross_entropy(logits, labels).item()


def better(recipe: dict, new: tuple[float, float], best: tuple[float, float]) -> bool:
    if recipe.get("best_by") == "log-loss":
        return new[1] < best[1]
    return new[0] > best[0] or (new[0] == best[0] and new[1] < best[1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the data set that the run was trained on: a folder or a CSV in it")
    parser.add_argument("run", type=Path, help="a pugmark run: its config.toml and split.csv are read")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
