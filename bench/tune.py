"""How far each sampler is from the least value of known problems, against Optuna: the median regret over seeds.

Every search adds a line to RESULTS (JSON lines) when it ends, and one that has a line is not run again, so that a call that was
stopped goes on from there. `--table` writes the Markdown table of the lines that are there.

    cargo build --release -p pugmark-tune --example ask_tell
    python bench/tune.py bench/tune.jsonl --driver target/release/examples/ask_tell
    python bench/tune.py bench/tune.jsonl --table docs/tuning-bench.md
"""

import argparse
import json
import math
import subprocess
import time
from pathlib import Path

from tune_problems import EPOCHS, INTEGER, LOG, LOG_INTEGER, PROBLEMS, REAL, REVERSE_LOG

BUDGETS = (20, 40, 80)
OURS = ("pugmark-auto", "pugmark-tpe", "pugmark-sobol", "pugmark-random")
OPTUNA = ("optuna-gp", "optuna-tpe", "optuna-random")
# Of the problem with learning curves, after a "+".
PRUNERS = ("median", "hyperband")


def main() -> None:
    arguments = parse()
    if arguments.table:
        from tune_table import document

        arguments.table.write_text(document(read(arguments.results)))
        return
    known = {key(line) for line in read(arguments.results)}
    for seed in range(arguments.seeds):
        for solver in arguments.solvers:
            for problem in arguments.problems:
                for pruner in PRUNERS if PROBLEMS[problem][2] is None else ("",):
                    line = {"problem": problem, "solver": solver + ("+" + pruner if pruner else ""), "seed": seed}
                    if key(line) in known:
                        continue
                    start = time.perf_counter()
                    search = optuna_search if solver in OPTUNA else our_search
                    line["best"] = search(arguments, problem, solver.split("-")[1], pruner, seed)
                    line |= {"seconds": round(time.perf_counter() - start, 3), "version": version(arguments, solver)}
                    with arguments.results.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    print(json.dumps(line), flush=True)


class Best:
    """The best complete trial when each budget is spent; a trial costs 1, on curves its share of the epochs."""

    def __init__(self):
        self.cost, self.least, self.at = 0, math.inf, {}

    def spend(self, cost: int, scale: int) -> None:
        self.cost += cost
        for budget in BUDGETS:
            # A trial that goes beyond the budget is no longer in it.
            if self.cost > budget * scale:
                self.at.setdefault(budget, self.least)

    def done(self, scale: int) -> bool:
        return self.cost >= BUDGETS[-1] * scale

    def values(self) -> list[float]:
        return [self.at.get(budget, self.least) for budget in BUDGETS]


def run_trial(problem: str, settings: dict, best: Best, prune) -> tuple[float, bool]:
    """The last value and whether the pruner ended it; `prune(epoch, loss)` is asked after each epoch but the last."""
    space, objective, least = PROBLEMS[problem]
    if least is not None:
        value = objective(settings)
        best.spend(1, 1)
        best.least = min(best.least, value)
        return value, False
    for epoch, loss in enumerate(objective(settings), 1):
        best.spend(1, EPOCHS)
        if prune(epoch, loss) and epoch < EPOCHS:
            return loss, True
    best.least = min(best.least, loss)
    return loss, False


def optuna_search(arguments, problem: str, sampler: str, pruner: str, seed: int) -> list[float]:
    import warnings

    import optuna

    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {
        "gp": lambda: optuna.samplers.GPSampler(seed=seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    pruners = {
        "": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS),
    }
    # Hyperband draws a trial's bracket from the study's name.
    study = optuna.create_study(sampler=samplers[sampler](), pruner=pruners[pruner](), study_name=f"{problem}-{seed}")
    best, scale = Best(), EPOCHS if pruner else 1
    while not best.done(scale):
        trial = study.ask()
        settings = suggest(trial, PROBLEMS[problem][0])

        def prune(epoch: int, loss: float) -> bool:
            trial.report(loss, epoch)
            return trial.should_prune()

        value, pruned = run_trial(problem, settings, best, prune)
        study.tell(trial, None if pruned else value, state=optuna.trial.TrialState.PRUNED if pruned else None)
    return best.values()


def suggest(trial, space: list) -> dict:
    settings = {}
    for name, kind, given, condition in space:
        if condition and settings.get(condition[0]) not in condition[1]:
            continue
        if kind in (REAL, LOG):
            settings[name] = trial.suggest_float(name, *given, log=kind == LOG)
        elif kind == REVERSE_LOG:
            settings[name] = 1 - trial.suggest_float(f"1-{name}", 1 - given[1], 1 - given[0], log=True)
        elif kind in (INTEGER, LOG_INTEGER):
            settings[name] = trial.suggest_int(name, *given, log=kind == LOG_INTEGER)
        else:
            settings[name] = trial.suggest_categorical(name, given)
    return settings


def ranges(space: list) -> dict:
    """The space as SageMaker's ParameterRanges, with our keys for conditions and the order."""
    lists = {"CategoricalParameterRanges": [], "IntegerParameterRanges": [], "ContinuousParameterRanges": []}
    for name, kind, given, condition in space:
        if kind in (REAL, LOG, REVERSE_LOG, INTEGER, LOG_INTEGER):
            scale = {LOG: "Logarithmic", LOG_INTEGER: "Logarithmic", REVERSE_LOG: "ReverseLogarithmic"}.get(kind, "Linear")
            entry = {"Name": name, "MinValue": str(given[0]), "MaxValue": str(given[1]), "ScalingType": scale}
            where = "IntegerParameterRanges" if kind in (INTEGER, LOG_INTEGER) else "ContinuousParameterRanges"
        else:
            entry, where = {"Name": name, "Values": list(given)}, "CategoricalParameterRanges"
        if condition:
            entry["Condition"] = {"Name": condition[0], "Values": [str(value) for value in condition[1]]}
        lists[where].append(entry)
    return lists | {"Order": [parameter[0] for parameter in space]}


def our_search(arguments, problem: str, sampler: str, pruner: str, seed: int) -> list[float]:
    process = subprocess.Popen([str(arguments.driver)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def say(message: dict) -> dict:
        process.stdin.write(json.dumps(message) + "\n")
        return json.loads(process.stdout.readline())

    start = {"sampler": sampler, "seed": seed, "pruner": pruner or None, "epochs": EPOCHS}
    say(start | {"space": ranges(PROBLEMS[problem][0])})
    best, scale = Best(), EPOCHS if pruner else 1
    while not best.done(scale):
        settings = say({"ask": True})
        value, pruned = run_trial(problem, settings, best, lambda epoch, loss: say({"report": loss})["prune"])
        say({"tell": value, "pruned": pruned})
    process.stdin.close()
    process.wait()
    return best.values()


def version(arguments, solver: str) -> str:
    if solver in OPTUNA:
        import optuna

        return optuna.__version__
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def key(line: dict) -> tuple:
    return line["problem"], line["solver"], line["seed"]


def read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", type=Path, help="write the table of RESULTS into this file")
    parser.add_argument("--driver", type=Path, help="the example `ask_tell` of pugmark-tune, built")
    parser.add_argument("--solvers", nargs="+", default=[*OURS, *OPTUNA], choices=[*OURS, *OPTUNA], metavar="SOLVER")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--seeds", type=int, default=30)
    return parser.parse_args()


if __name__ == "__main__":
    main()
