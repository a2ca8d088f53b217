"""The table of the search's bench."""

import numpy as np
from scipy.stats import mannwhitneyu

from tune_problems import EPOCHS, PROBLEMS, least_of_curves

BUDGETS = (20, 40, 80)
OURS, OTHERS = "pugmark-auto", ("optuna-gp", "optuna-tpe")
SHOWN = ("pugmark-auto", "pugmark-tpe", "pugmark-sobol", "pugmark-random", *OTHERS)
# No solver goes closer for a reason; a smaller regret is rounding.
ROUNDING = 1e-7
SEEDS, FEWEST = 30, 5
SPACES = {
    "Branin": "2 numbers",
    "Hartmann3": "3 numbers",
    "Hartmann6": "6 numbers",
    "Ackley5": "5 numbers in [-10, 30]",
    "Rosenbrock4": "4 numbers in [-5, 10]",
    "Func2C": "2 categories (3 and 5 values) and 2 numbers",
    "Network": "conditional: optimiser, learning rate, momentum or beta2, batch, layers, units of deep networks",
}
HEAD = f"""# How far the search is from the least

Written by `python bench/tune.py bench/tune.jsonl --table docs/tuning-bench.md`; `bench/tune.jsonl` has a line for every search, made by
the same script. Regret: the best value found less the least there is; medians over the seeds with their 95 % bootstrap interval, the
smallest of a row in bold. Objectives have no noise. A missing figure is a search that has not been run.

- `auto` is what `tune` takes by itself: the Gaussian process up to 100 complete trials, then the Parzen estimator. Against it stand
  Optuna's `GPSampler` and `TPESampler(multivariate=True, group=True)` with their defaults. All start with 10 trials of their own choice.
- `Curves`: learning curves of {EPOCHS} epochs that cross, with a pruner; a budget of 20 is {20 * EPOCHS} epochs, however many trials that
  is, and only trials that were trained to the end count. Optuna's process does not learn from pruned trials, ours does.
- The verdict compares all seeds of `auto` with those of the better of Optuna's two (the smaller median): "ahead" and "behind" where the
  Mann-Whitney test says so at 5 %, two-sided, else "level". The seeds of both stand there where they are fewer than {SEEDS}: then "level"
  says little; with fewer than {FEWEST} there is no verdict.
- How `auto` straightens objectives and what it takes pruned trials for was chosen with a look at early seeds of these very problems: the
  figures are a little kind to it.
"""


def regrets(lines: list[dict]) -> dict:
    """By problem (with its pruner), solver and budget: the regrets of all seeds, in the order of the seeds."""
    least = {name: found[2] if found[2] is not None else least_of_curves() for name, found in PROBLEMS.items()}
    found: dict = {}
    for line in sorted(lines, key=lambda line: line["seed"]):
        solver, _, pruner = line["solver"].partition("+")
        problem = line["problem"] + (f", {pruner}" if pruner else "")
        for budget, best in zip(BUDGETS, line["best"]):
            regret = max(best - least[line["problem"]], ROUNDING)
            found.setdefault(problem, {}).setdefault(solver, {}).setdefault(budget, []).append(regret)
    return found


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    medians = np.median(np.random.default_rng(0).choice(values, (4000, len(values))), axis=1)
    return tuple(np.quantile(medians, [0.025, 0.975]))


def document(lines: list[dict]) -> str:
    found = regrets(lines)
    names = list(PROBLEMS)
    found = {name: found[name] for name in sorted(found, key=lambda name: names.index(name.split(",")[0]))}
    verdicts = {(problem, budget): verdict(found[problem], budget) for problem in found for budget in BUDGETS}
    rows = [f"| {name} | {budget} |{cells(found[name], budget)} {text} |" for (name, budget), (text, _) in verdicts.items()]
    head = "| problem | trials | " + " | ".join(name.replace("-", " ") for name in SHOWN) + " | auto is |"
    table = [head, "|---|---:|" + "---:|" * len(SHOWN) + "---|", *rows]
    return "\n".join([HEAD, summary(verdicts), "", "## Regret", "", *table, "", *footer(lines), ""])


def cells(solvers: dict, budget: int) -> str:
    medians = {name: np.median(solvers[name][budget]) for name in SHOWN if name in solvers}
    text = ""
    for name in SHOWN:
        if name not in medians:
            text += " |"
            continue
        low, high = interval(solvers[name][budget])
        median = f"{medians[name]:.2g}"
        text += f" {f'**{median}**' if medians[name] == min(medians.values()) else median} ({low:.2g} to {high:.2g}) |"
    return text


def verdict(solvers: dict, budget: int) -> tuple[str, bool]:
    """In words, and whether our median is the larger one."""
    others = [name for name in OTHERS if len(solvers.get(name, {}).get(budget, [])) >= FEWEST]
    ours = solvers.get(OURS, {}).get(budget, [])
    if len(ours) < FEWEST or not others:
        return "", False
    best = min(others, key=lambda name: np.median(solvers[name][budget]))
    theirs = solvers[best][budget]
    larger = bool(np.median(ours) > np.median(theirs))
    side = "level with" if mannwhitneyu(ours, theirs).pvalue >= 0.05 else "**behind**" if larger else "ahead of"
    seeds = "" if min(len(ours), len(theirs)) >= SEEDS else f" ({len(ours)} and {len(theirs)} seeds)"
    return f"{side} {best.replace('-', ' ')}{seeds}", larger


def summary(verdicts: dict) -> str:
    known = {cell: found for cell, found in verdicts.items() if found[0]}
    words = [text.split(" ")[0].strip("*") for text, _ in known.values()]
    larger = [f"{problem} at {budget}" for (problem, budget), (_, larger) in known.items() if larger]
    text = f"Of {len(words)} comparisons `auto` is ahead in {words.count('ahead')}, level in {words.count('level')} and behind in "
    few = sum("seeds" in text for text, _ in known.values())
    seeds = f"; {few} of them are of fewer seeds than {SEEDS}" if few else f", of {SEEDS} seeds each"
    text += f"{words.count('behind')}{seeds}. "
    return text + "Where its median is the larger one: " + (", ".join(larger) or "nowhere") + "."


def footer(lines: list[dict]) -> list[str]:
    """The seeds, the problems and the versions."""
    text = ["## Seeds", ""]
    text += ["| problem | " + " | ".join(name.replace("-", " ") for name in SHOWN) + " |", "|---|" + "---:|" * len(SHOWN)]
    for problem in PROBLEMS:
        row = f"| {problem} |"
        for name in SHOWN:
            known = [line for line in lines if line["problem"] == problem and line["solver"].split("+")[0] == name]
            row += f" {len({line['seed'] for line in known})} |"
        text.append(row)
    versions = sorted({(line["solver"].split("-")[0], line["version"]) for line in lines})
    text += ["", "Problems: " + "; ".join(f"{name}: {what}" for name, what in SPACES.items()) + "."]
    return [*text, "Versions: " + ", ".join(" ".join(version) for version in versions) + "."]
