"""The table of the search's bench."""

import numpy as np
from scipy.stats import mannwhitneyu

from tune_problems import PROBLEMS, least_of_curves

BUDGETS = (20, 40, 80)


def regrets(lines: list[dict]) -> dict:
    """By problem (with its pruner), solver and budget: the regrets of all seeds, in the order of the seeds."""
    least = {name: found[2] if found[2] is not None else least_of_curves() for name, found in PROBLEMS.items()}
    found: dict = {}
    for line in sorted(lines, key=lambda line: line["seed"]):
        solver, _, pruner = line["solver"].partition("+")
        problem = line["problem"] + (f", {pruner}" if pruner else "")
        for budget, best in zip(BUDGETS, line["best"]):
            regret = max(best - least[line["problem"]], 1e-12)
            found.setdefault(problem, {}).setdefault(solver, {}).setdefault(budget, []).append(regret)
    return found


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    medians = np.median(np.random.default_rng(0).choice(values, (4000, len(values))), axis=1)
    return tuple(np.quantile(medians, [0.025, 0.975]))
