"""What each recipe gives on small data: accuracy, log loss and time over seeds, of pugmark and of its PyTorch twin.

Every training adds a line to RESULTS (JSON lines) when it ends, and one that has a line is not run again, so that a call that was
stopped goes on from there. `--table` writes the Markdown table of the lines that are there.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import run, text

TWIN = Path(__file__).parent / "torch_recipe.py"


def main() -> None:
    arguments = parse()
    if arguments.table:
        arguments.table.write_text(table(read(arguments.results)))
        return
    for data in arguments.data:
        for recipe in arguments.recipes:
            for seed in arguments.seeds:
                for engine in ["pugmark"] + ["PyTorch"] * arguments.twin:
                    cell(arguments, data, recipe, seed, engine)


def cell(arguments: argparse.Namespace, data: str, recipe: str, seed: int, engine: str) -> None:
    """Runs one training unless it is known."""
    name, _, folder = data.partition("=")
    key = {"data": name, "recipe": recipe, "seed": seed, "engine": engine, "more": " ".join(arguments.more)}
    if any(key.items() <= line.items() for line in read(arguments.results)):
        return
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as place:
        run_folder = Path(place) / "run"
        line = ours(arguments, folder, recipe, seed, run_folder, engine)
        if engine == "PyTorch":
            line = twin(arguments, folder, recipe, seed, run_folder)
    line = key | {"version": version(arguments.pugmark)} | line
    with arguments.results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def ours(arguments, folder: Path, recipe: str, seed: int, place: Path, engine: str) -> dict:
    """A training of pugmark and what it gives on the test part; for the twin, only the split."""
    command = [str(arguments.pugmark), "--quiet", "train", str(folder), "--recipe", recipe, "--out", str(place)]
    command += ["--seed", str(seed), "--threads", str(arguments.threads), *arguments.more]
    command += weights(arguments, recipe)
    if engine == "PyTorch":
        command += ["--max-steps", "1"]
    start = time.perf_counter()
    output, _ = text(command)
    seconds = time.perf_counter() - start
    best = json.loads(text([str(arguments.pugmark), "eval", str(place), "--json"])[0])["evaluation"]
    line = {"accuracy": best["accuracy"], "log_loss": best["log_loss"], "seconds": seconds}
    line["epochs"] = len(re.findall(r"\[METRICS\]", output))
    unseen = folder.parent / "test_labels.csv"
    if unseen.is_file() and engine == "pugmark":
        new, _ = run([str(arguments.pugmark), "eval", str(place), str(unseen), "--json"])
        line |= {"new_accuracy": new["evaluation"]["accuracy"], "new_log_loss": new["evaluation"]["log_loss"]}
    return line


def twin(arguments, folder: Path, recipe: str, seed: int, place: Path) -> dict:
    """The same photos, split, weights and recipe in PyTorch."""
    command = [sys.executable, str(TWIN), str(folder), str(place), "--seed", str(seed), "--threads", str(arguments.threads)]
    return run(command)[0]


def weights(arguments, recipe: str) -> list[str]:
    """The flag for the recipe's model, where a file of its weights was given."""
    toml, _ = text([str(arguments.pugmark), "recipes", recipe])
    model = re.search(r'^model = "(\w+)"', toml, re.M)
    known = dict(item.split("=", 1) for item in arguments.weights)
    return ["--weights", known[model[1]]] if model and model[1] in known else []


def version(pugmark: Path) -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(lines: list[dict]) -> str:
    """Means over the seeds, with the spread where there are several."""
    groups: dict[tuple, list[dict]] = {}
    for line in lines:
        groups.setdefault((line["data"], line["recipe"], line["more"], line["engine"]), []).append(line)
    rows = ["| data | recipe | | engine | seeds | accuracy | log loss | accuracy, new sites | log loss, new sites | minutes |"]
    rows.append("|---|---|---|---|---|---|---|---|---|---|")
    for (data, recipe, more, engine), found in groups.items():
        cells = [spread(found, key, digits) for key, digits in
                 (("accuracy", 3), ("log_loss", 3), ("new_accuracy", 3), ("new_log_loss", 3))]
        minutes = statistics.median(line["seconds"] for line in found) / 60
        more = f"`{more}`" if more else ""
        rows.append(f"| {data} | `{recipe}` | {more} | {engine} | {len(found)} | {' | '.join(cells)} | {minutes:.1f} |")
    return "\n".join(rows) + "\n"


def spread(lines: list[dict], key: str, digits: int) -> str:
    values = [line[key] for line in lines if key in line]
    if not values:
        return ""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="file of JSON lines")
    parser.add_argument("--pugmark", type=Path, default=Path("target/release/pugmark"))
    parser.add_argument("--data", nargs="+", default=[], help="NAME=FOLDER-OR-CSV of each data set")
    parser.add_argument("--recipes", nargs="+", default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--weights", nargs="*", default=[], help="MODEL=FILE of ImageNet weights")
    parser.add_argument("--twin", action="store_true", help="also run the PyTorch twin")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--more", nargs="*", default=[], help="flags of `pugmark train`, each after the other, as one ingredient")
    parser.add_argument("--table", type=Path, help="write the Markdown table of what is known and run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
