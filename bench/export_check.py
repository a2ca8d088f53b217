"""Exports of every model family against pugmark's own answers on real photos: ONNX in ONNX Runtime, `.pth` and safetensors in
torchvision, loaded strictly. Ends with an error where one differs by more than its tolerance.

Models start from nothing but for a training step; then every norm, statistic, bias and scale is drawn, so that each counts.
pugmark's answers are the probabilities of `pugmark predict`, whose logarithms are its logits but for a constant a photo.
"""

import argparse
import csv
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import photos

# f32 sums in another order.
LOGITS = 1e-4
# Where the file resizes the photos, a byte in a thousand is rounded to its neighbour.
PREPARED = 1e-2
SQUASH = {"resize": "squash", "colour": "rgb"}
RECIPES = [
    SQUASH,
    {"resize": {"centre-crop": {"short_side": 256}}, "colour": "rgb"},
    {"resize": {"centre-crop": {"short_side": 200}}, "colour": "rgb"},
    {"resize": "letterbox", "colour": "rgb"},
    {"resize": "squash", "colour": "grayscale"},
]


def main() -> None:
    arguments = parse()
    folders = sorted(folder for folder in (arguments.data / "val").iterdir() if folder.is_dir())
    chosen = [path for folder in folders for path in photos.find(folder)[: arguments.each]]
    versions = f"onnxruntime {onnxruntime.__version__}, torchvision {torchvision.__version__}"
    print(f"{len(chosen)} photos, {versions}; largest differences, of logits as a share of the largest")
    bad = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        # As both sides decode them, and squashed as the recipe does.
        images = [photos.decode(path) for path in chosen]
        pixels = photos.pixels(chosen, arguments.side)
        small = save([Image.fromarray(picture.numpy()) for picture in pixels], place / "small")
        whole = save(images, place / "whole")
        for folder in folders:
            (place / "data" / folder.name).mkdir(parents=True)
            for path in photos.find(folder)[:8]:
                shutil.copy(path, place / "data" / folder.name)
        for architecture in filter(None, arguments.models.split(",")):
            model = made(arguments.pugmark, architecture, arguments.side, place)
            bad += logits(arguments.pugmark, architecture, model, small, photos.normalise(pixels))
            for recipe in RECIPES if architecture == "resnet18" else [SQUASH]:
                bad += preprocessing(arguments.pugmark, architecture, recipe, model, whole, images)
        for file in arguments.files:
            model = shutil.copy(file, place / "given.safetensors")
            architecture = card_of(model)["architecture"]
            bad += logits(arguments.pugmark, architecture, model, small, photos.normalise(pixels))
            bad += preprocessing(arguments.pugmark, architecture, SQUASH, model, whole, images)
    if bad:
        sys.exit("differs: " + ", ".join(bad))


def save(images: list[Image.Image], folder: Path) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        image.save(folder / f"{number:04}.png")
    return folder


def made(pugmark: Path, architecture: str, side: int, place: Path) -> Path:
    run = place / architecture
    call = ["train", place / "data", "--out", run, "--model", architecture, "--image-size", side, "--batch-size", 4]
    ran(pugmark, *call, "--max-steps", 1)
    best = run / "best.safetensors"
    with safe_open(best, "pt") as file:
        metadata = file.metadata()
    random = torch.Generator().manual_seed(0)
    tensors = load_file(best)
    for name, tensor in tensors.items():
        wave = torch.rand(tensor.shape, generator=random) * 2 - 1
        part = name.rsplit(".", 1)[-1]
        if part == "running_var" or (part == "weight" and tensor.dim() == 1):
            tensors[name] = 1 + 0.3 * wave
        elif part in {"running_mean", "bias"}:
            tensors[name] = 0.2 * wave
        elif part == "layer_scale":
            tensors[name] = 0.3 * wave
        elif part == "relative_position_bias_table":
            tensors[name] = wave
    save_file(tensors, place / f"{architecture}.safetensors", metadata)
    return place / f"{architecture}.safetensors"


def logits(pugmark: Path, name: str, model: Path, folder: Path, inputs: torch.Tensor) -> list[str]:
    """ONNX Runtime and torchvision on the pictures that pugmark is given too."""
    temperature, probabilities = predicted(pugmark, model, folder)
    ours = temperature * np.log(probabilities)
    files = {format: export(pugmark, model, format)[0] for format in ("onnx", "pth", "safetensors")}
    onnx.checker.check_model(str(files["onnx"]), full_check=True)
    answer, shares = session(files["onnx"]).run(["logits", "probabilities"], {"input": inputs.contiguous().numpy()})
    network = torchvision_model(name, ours.shape[1])
    network.load_state_dict(torch.load(files["pth"], weights_only=True), strict=True)
    with torch.no_grad():
        theirs = network.eval()(inputs).numpy()
    network.load_state_dict(load_file(files["safetensors"]), strict=True)
    with torch.no_grad():
        check(np.array_equal(network(inputs).numpy(), theirs), f"{name}: safetensors and pth")
    largest = np.abs(theirs).max()
    # Logarithms of probabilities miss a constant a photo.
    difference = {
        "onnxruntime - pugmark": np.abs(centred(answer) - centred(ours)).max() / largest,
        "torchvision - pugmark": np.abs(centred(theirs) - centred(ours)).max() / largest,
        "onnxruntime - torchvision": np.abs(answer - theirs).max() / largest,
        "probabilities": np.abs(shares - probabilities).max(),
    }
    print(f"{name}: " + ", ".join(f"{what} {value:.1e}" for what, value in difference.items()), flush=True)
    return [f"{name} {what}" for what, value in difference.items() if not value <= LOGITS]


def preprocessing(
    pugmark: Path, name: str, recipe: dict, model: Path, folder: Path, images: list[Image.Image]
) -> list[str]:
    """ONNX Runtime and pugmark on whole photos."""
    card = card_of(model)
    card["recipe"] |= recipe
    framed = model.with_name("framed.safetensors")
    save_file(load_file(model), framed, {"pugmark": json.dumps(card)})
    temperature, probabilities = predicted(pugmark, framed, folder)
    file, said = export(pugmark, framed, "onnx", "--with-preprocessing")
    onnx.checker.check_model(str(file), full_check=True)
    network = session(file)
    arrays = [np.array(image)[None] for image in images]
    answers = [network.run(["logits", "probabilities"], {"photos": array}) for array in arrays]
    answer, shares = (np.concatenate(values) for values in zip(*answers))
    both = network.run(["logits"], {"photos": np.concatenate([arrays[0][:, :, ::-1], arrays[0]])})[0]
    largest = np.abs(answer).max()
    check(np.abs(both[1] - answer[0]).max() < LOGITS * largest, f"{name}: two photos at a time")
    difference = np.abs(shares - probabilities).max()
    logits = np.abs(centred(answer) - centred(temperature * np.log(probabilities))).max() / largest
    same = (shares.argmax(1) == probabilities.argmax(1)).sum()
    print(
        f"{name}, photos prepared in the file ({recipe['resize']}, {recipe['colour']}): logits {logits:.1e}, "
        f"probabilities {difference:.1e}, {same} of {len(images)} classes the same; own check {said['largest_difference']:.1e}, "
        f"{100 * said['different_bytes']:.2f} % of bytes",
        flush=True,
    )
    return [] if max(difference, logits) <= PREPARED else [f"{name} {recipe}"]


def centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(1, keepdims=True)


def predicted(pugmark: Path, model: Path, folder: Path) -> tuple[float, np.ndarray]:
    """The model's temperature, and its probabilities of the photos of a folder, by name."""
    card = card_of(model)
    rows = csv.DictReader(io.StringIO(ran(pugmark, "predict", model, folder, "--precision", "f32")))
    values = [[float(row[name]) for name in card["classes"]] for row in sorted(rows, key=lambda row: row["id"])]
    return card["temperature"], np.array(values)


def card_of(model: Path) -> dict:
    with safe_open(model, "pt") as file:
        return json.loads(file.metadata()["pugmark"])


def export(pugmark: Path, model: Path, format: str, *more: str) -> tuple[Path, dict]:
    out = model.with_suffix(".out." + format)
    said = ran(pugmark, "export", model, "--format", format, "--out", out, "--overwrite", "--json", *more)
    return out, json.loads(said)


def session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def torchvision_model(name: str, classes: int) -> nn.Module:
    if name != "simple_cnn":
        return torchvision.models.get_model(name, weights=None, num_classes=classes)

    layers: list[tuple[str, nn.Module]] = []
    channels = 3
    for index, out in enumerate((32, 64, 128, 256), 1):
        conv, norm = nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
        parts = [("conv", conv), ("bn", norm), ("relu", nn.ReLU()), ("pool", nn.MaxPool2d(2))]
        layers.append((f"block{index}", nn.Sequential(OrderedDict(parts))))
        channels = out
    layers += [("avgpool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(channels, classes))]
    return nn.Sequential(OrderedDict(layers))


def ran(pugmark: Path, *arguments: object) -> str:
    call = [str(pugmark), "--quiet", *map(str, arguments)]
    return subprocess.run(call, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def check(good: bool, what: str) -> None:
    if not good:
        sys.exit(f"differs: {what}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with val/, which has a folder a class")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--models", default="simple_cnn,resnet18,resnet50,swin_t,convnext_tiny,efficientnet_b0")
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="model files to check as they are, of that side")
    parser.add_argument("--side", type=int, default=224, help="pixels on a side of the networks' pictures")
    parser.add_argument("--each", type=int, default=10, help="photos a class, the first by name")
    return parser.parse_args()


if __name__ == "__main__":
    main()
