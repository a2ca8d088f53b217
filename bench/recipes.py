"""What each recipe gives on small data: accuracy, log loss and time over seeds, of pugmark and of its PyTorch twin.

Every training adds a line to RESULTS (JSON lines) when it ends, and one that has a line is not run again, so that a call that was
stopped goes on from there. `--table` writes the Markdown table of the lines that are there.
"""

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import run, text

# The recipe whose parts are looked at.
BASE = "finetune"
FIGURES = ("accuracy", "log_loss", "new_accuracy", "new_log_loss")
# 97.5 % quantiles of Student's t, by the number of seeds.
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
HEAD = """# What the recipes give

Written by `python bench/recipes.py bench/recipes.jsonl --table docs/recipes.md`; `bench/recipes.jsonl` has a line for every training, made by
the same script (`bench/README.md` says how). Means over the seeds ± one standard deviation; log loss before calibration; minutes, where nothing
else ran, of the whole command on two cores, PyTorch's without its start: the median. `dog-breeds` finds the features of its first seed kept.

- `ants-bees`: 245 photos to train on, 153 to validate, 2 classes. `world-N`: `pugmark demo --world-only --sites N`, 50 photos a site, 8 classes;
  `small` is one whose animals are half as large. Accuracy and log loss are of the validation part, on which the best epoch was chosen;
  "new sites" is the demo world's 480 photos of sites that no run has seen.
- Weights: ImageNet's for ResNet18 and ResNet50, kept as 16-bit codebooks, so a little coarser than torchvision's. There were none for other models,
  which therefore start from nothing here.
- PyTorch is the twin of the run: the same photos, split, weights, settings and arithmetic (autocast where pugmark takes bf16).
"""
DIFFERENCES = "Each row against the recipe as it is, seed by seed; in brackets the 95 % interval. Where it has 0, the seeds can't tell."
KEPT = "Each row: what `--keep-augment` changes in the recipe with these flags, seed by seed."
TWIN = Path(__file__).parent / "torch_recipe.py"


def main() -> None:
    arguments = parse()
    if arguments.table:
        arguments.table.write_text(document(read(arguments.results)))
        return
    for data in arguments.data:
        for recipe in arguments.recipes:
            for seed in arguments.seeds:
                for engine in ["pugmark"] + ["PyTorch"] * arguments.twin:
                    cell(arguments, data, recipe, seed, engine)


def cell(arguments: argparse.Namespace, data: str, recipe: str, seed: int, engine: str) -> None:
    """Runs one training unless it is known."""
    name, _, folder = data.partition("=")
    key = {"data": name, "recipe": recipe, "seed": seed, "engine": engine, "more": arguments.more}
    key["threads"] = arguments.threads
    if any(key.items() <= line.items() for line in read(arguments.results)):
        return
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as place:
        run_folder = Path(place) / "run"
        line = ours(arguments, folder, recipe, seed, run_folder, engine)
        if engine == "PyTorch":
            line = twin(arguments, folder, recipe, seed, run_folder)
    line = key | {"version": arguments.commit or head()} | line
    with arguments.results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def ours(arguments, folder: Path, recipe: str, seed: int, place: Path, engine: str) -> dict:
    """A training of pugmark and what it gives on the test part; for the twin, only the split."""
    command = [str(arguments.pugmark), "--quiet", "train", str(folder), "--recipe", recipe, "--out", str(place)]
    command += ["--seed", str(seed), "--threads", str(arguments.threads), *shlex.split(arguments.more)]
    command += weights(arguments, recipe)
    if engine == "PyTorch":
        command += ["--max-steps", "1"]
    start = time.perf_counter()
    output, _ = text(command)
    seconds = time.perf_counter() - start
    best = json.loads(text([str(arguments.pugmark), "eval", str(place), "--json"])[0])
    line = {"accuracy": best["accuracy"], "log_loss": raw(best), "seconds": seconds}
    line["epochs"] = len(re.findall(r"\[METRICS\]", output))
    unseen = folder.parent / "test_labels.csv"
    if unseen.is_file() and engine == "pugmark":
        new, _ = run([str(arguments.pugmark), "eval", str(place), str(unseen), "--json"])
        line |= {"new_accuracy": new["accuracy"], "new_log_loss": raw(new)}
    return line


def twin(arguments, folder: Path, recipe: str, seed: int, place: Path) -> dict:
    """The same photos, split, weights and recipe in PyTorch."""
    command = [sys.executable, str(TWIN), str(folder), str(place), "--seed", str(seed), "--threads", str(arguments.threads)]
    return run(command)[0]


def weights(arguments, recipe: str) -> list[str]:
    """The flag for the recipe's model, where a file of its weights was given."""
    toml, _ = text([str(arguments.pugmark), "recipes", recipe])
    model = re.search(r'^model = "(\w+)"', toml, re.M)
    model = model[1] if model else "resnet18"
    known = dict(item.split("=", 1) for item in arguments.weights)
    return ["--weights", known[model]] if model in known else ["--weights", "none"]


def head() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def read(results: Path) -> list[dict]:
    lines = results.read_text().splitlines() if results.exists() else []
    return [{"threads": 1} | json.loads(line) for line in lines]


def raw(evaluation: dict) -> float:
    """The log loss before calibration, which the twin has not."""
    return evaluation.get("uncalibrated_log_loss", evaluation["log_loss"])


def document(lines: list[dict]) -> str:
    parts = [HEAD, "## What each recipe gives\n\n" + table([line for line in lines if not line["more"]])]
    changed = differences(lines)
    if changed:
        parts.append(f"## What each part of `{BASE}` adds\n\n{DIFFERENCES}\n\n" + changed)
    keeping = kept(lines)
    if keeping:
        parts.append(f"## KeepAugment on small animals\n\n{KEPT}\n\n" + keeping)
    return "\n".join(parts)


def groups(lines: list[dict], *keys: str) -> dict[tuple, list[dict]]:
    found: dict[tuple, list[dict]] = {}
    for line in lines:
        found.setdefault(tuple(line[key] for key in keys), []).append(line)
    return found


def table(lines: list[dict]) -> str:
    """Means over the seeds, with the standard deviation where there are several."""
    rows = ["| data | recipe | engine | seeds | accuracy | log loss | accuracy, new sites | log loss, new sites | minutes |"]
    rows.append("|---|---|---|---|---|---|---|---|---|")
    for (data, recipe, engine), found in sorted(groups(lines, "data", "recipe", "engine").items()):
        # On one thread two trainings ran at a time: that says nothing of how long one takes.
        timed = [line["seconds"] / 60 for line in found if line["threads"] > 1]
        minutes = f"{statistics.median(timed):.2f}" if timed else ""
        # A training on more threads gives the same figures.
        found = list({line["seed"]: line for line in found}.values())
        cells = [spread([line[key] for line in found if key in line]) for key in FIGURES]
        rows.append(f"| {data} | `{recipe}` | {engine} | {len(found)} | {' | '.join(cells)} | {minutes} |")
    return "\n".join(rows) + "\n"


def differences(lines: list[dict]) -> str:
    """What changes where a part of `BASE` is taken out or another put in."""
    ours = [line for line in lines if line["engine"] == "pugmark"]
    base = [line for line in ours if line["recipe"] == BASE and not line["more"]]
    others = [line for line in ours if line["more"] or line["recipe"] == "wild-resnet18"]
    rows = []
    for (data, recipe, more), found in sorted(groups(others, "data", "recipe", "more").items()):
        change = f"`{more}`" if recipe == BASE else f"the recipe `{recipe}`" + f" with `{more}`" * bool(more)
        rows += paired(data, change, found, [line for line in base if line["data"] == data])
    return compared(rows)


def kept(lines: list[dict]) -> str:
    """What KeepAugment changes."""
    found = groups([line for line in lines if line["engine"] == "pugmark"], "data", "recipe", "more")
    rows = []
    for (data, recipe, more), with_it in sorted(found.items()):
        without = more.removesuffix(" --keep-augment")
        if without != more:
            rows += paired(data, f"`{recipe}` with `{without}`", with_it, found.get((data, recipe, without), []))
    return compared(rows)


def paired(data: str, change: str, lines: list[dict], base: list[dict]) -> list[str]:
    """The row of a difference, seed by seed, with the 95 % interval; none of fewer than two seeds."""
    left, right = ({line["seed"]: line for line in side} for side in (lines, base))
    pairs = [(line, right[seed]) for seed, line in left.items() if seed in right]
    if len(pairs) < 2:
        return []
    new = "new_accuracy" in pairs[0][0]
    cells = [interval([a[key] - b[key] for a, b in pairs]) for key in (FIGURES[2:] if new else FIGURES[:2])]
    return [f"| {data}{', new sites' * new} | {change} | {len(pairs)} | {' | '.join(cells)} |"]


def compared(rows: list[str]) -> str:
    return "\n".join(["| data | change | seeds | accuracy | log loss |", "|---|---|---|---|---|", *rows]) + "\n" if rows else ""


def spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def interval(values: list[float]) -> str:
    """Mean and 95 % interval by Student's t."""
    half = T.get(len(values), 2.26) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.mean(values)
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="file of JSON lines")
    parser.add_argument("--pugmark", type=Path, default=Path("target/release/pugmark"))
    parser.add_argument("--commit", help="what the binary was built from, where that is not the checkout's HEAD")
    parser.add_argument("--data", nargs="+", default=[], help="NAME=FOLDER-OR-CSV of each data set")
    parser.add_argument("--recipes", nargs="+", default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--weights", nargs="*", default=[], help="MODEL=FILE of ImageNet weights")
    parser.add_argument("--twin", action="store_true", help="also run the PyTorch twin")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--more", default="", help="flags of `pugmark train` in one string: what is changed in the recipe")
    parser.add_argument("--table", type=Path, help="write the Markdown table of what is known and run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
