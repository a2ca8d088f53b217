"""The problems of the search's bench: a space, an objective to be minimised and its known least value.

A parameter is `(name, kind, arguments, condition)`; a condition is `(parameter, values)`. The objective takes a dict of the active
parameters; that of a learning curve gives the loss after each epoch.
"""

import math

import numpy as np

REAL, LOG, REVERSE_LOG, INTEGER, LOG_INTEGER, CHOICE = "real", "log", "reverse-log", "integer", "log-integer", "choice"
# The epochs of a learning curve; a budget of N trials is N times as many of them.
EPOCHS = 27


def real(dimensions: int, least: float, largest: float) -> list:
    return [(f"x{i + 1}", REAL, (least, largest), None) for i in range(dimensions)]


def vector(settings: dict) -> np.ndarray:
    return np.array([settings[f"x{i + 1}"] for i in range(len(settings))])


def branin(settings: dict) -> float:
    x, y = settings["x1"], settings["x2"]
    bend = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
P3 = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
A6 = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
P6 = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(a: np.ndarray, p: np.ndarray):
    return lambda settings: -float(ALPHA @ np.exp(-(a * (vector(settings) - p) ** 2).sum(1)))


def ackley(settings: dict) -> float:
    x = vector(settings)
    wide, waves = math.sqrt((x**2).mean()), np.cos(2 * math.pi * x).mean()
    return -20 * math.exp(-0.2 * wide) - math.exp(waves) + 20 + math.e


def rosenbrock(settings: dict) -> float:
    x = vector(settings)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def func2c(settings: dict) -> float:
    """Of CoCaBO (Ru et al., ICML 2020): two choices say which two functions of the numbers are added."""
    x, y = 2 * settings["x1"], 2 * settings["x2"]
    parts = {
        "rosenbrock": (100 * (y - x**2) ** 2 + (x - 1) ** 2) / 300,
        "camel": ((4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2) / 10,
        "beale": ((1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2) / 50,
    }
    return parts[settings["first"]] + parts[settings["second"].rstrip("23")]


def network(settings: dict) -> float:
    """Shaped like the training of a network: each optimiser has settings of its own, so have deep networks."""
    rate = math.log10(settings["lr"])
    if settings["optimiser"] == "sgd":
        momentum = settings["momentum"]
        loss = 0.02 + 0.15 * (rate - math.log10(1 - momentum) + 0.5) ** 2 + 0.5 * (momentum - 0.9) ** 2
    else:
        memory = -math.log10(1 - settings["beta2"])
        loss = 0.25 * (rate + 3) ** 2 + 0.05 * (1 - math.cos(2 * math.pi * (rate + 3))) + 0.1 * (memory - 3) ** 2
    loss += {"16": 0.04, "32": 0.01, "64": 0.0, "128": 0.03}[settings["batch"]]
    loss += 0.02 * (settings["layers"] - 4) ** 2
    return loss + (0.05 * (math.log2(settings["units"]) - 7) ** 2 if settings["layers"] >= 3 else 0.06)


def curve(settings: dict) -> list[float]:
    """The loss after each epoch: a low learning rate is slow, a high one ends high, too high diverges; curves cross."""
    rate, decay = math.log10(settings["lr"]), math.log10(settings["wd"])
    end = 0.1 + 0.2 * (rate + 2) ** 2 + 0.05 * (decay + 4) ** 2 + 0.6 * (settings["dropout"] - 0.3) ** 2
    end += 0.02 * (settings["layers"] - 3) ** 2
    pace = 3 * 10 ** (-0.4 * (rate + 2)) * (1 + settings["dropout"])
    top = 2.3 + 2 * max(0.0, rate + 0.5)
    return [end + max(top - end, 0) * math.exp(-epoch / pace) for epoch in range(1, EPOCHS + 1)]


SPACE_FUNC2C = [
    ("first", CHOICE, ("rosenbrock", "camel", "beale"), None),
    ("second", CHOICE, ("rosenbrock", "camel", "beale", "beale2", "beale3"), None),
    *real(2, -1.0, 1.0),
]
SPACE_NETWORK = [
    ("optimiser", CHOICE, ("sgd", "adam"), None),
    ("lr", LOG, (1e-5, 1.0), None),
    ("momentum", REAL, (0.0, 0.99), ("optimiser", ["sgd"])),
    ("beta2", REVERSE_LOG, (0.9, 0.9999), ("optimiser", ["adam"])),
    ("batch", CHOICE, ("16", "32", "64", "128"), None),
    ("layers", INTEGER, (1, 6), None),
    ("units", LOG_INTEGER, (16, 512), ("layers", [3, 4, 5, 6])),
]
SPACE_CURVE = [
    ("lr", LOG, (1e-5, 1.0), None),
    ("wd", LOG, (1e-6, 1e-1), None),
    ("dropout", REAL, (0.0, 0.9), None),
    ("layers", INTEGER, (1, 6), None),
]
# Name: space, objective, least value. SigOpt's range of Ackley, so that the optimum is not in the middle.
PROBLEMS = {
    "Branin": ([("x1", REAL, (-5.0, 10.0), None), ("x2", REAL, (0.0, 15.0), None)], branin, 0.39788735772973816),
    "Hartmann3": (real(3, 0.0, 1.0), hartmann(A3, P3), -3.8627797873327695),
    "Hartmann6": (real(6, 0.0, 1.0), hartmann(A6, P6), -3.3223680114155147),
    "Ackley5": (real(5, -10.0, 30.0), ackley, 0.0),
    "Rosenbrock4": (real(4, -5.0, 10.0), rosenbrock, 0.0),
    "Func2C": (SPACE_FUNC2C, func2c, -0.20632569068559798),
    "Network": (SPACE_NETWORK, network, 0.0),
    "Curves": (SPACE_CURVE, curve, None),
}


def least_of_curves() -> float:
    """By a fine grid and its refinement, since the best end and the best pace differ."""
    from scipy.optimize import minimize

    def end(x, layers=3):
        return curve({"lr": 10 ** x[0], "wd": 10 ** x[1], "dropout": x[2], "layers": layers})[-1]

    starts = [(rate, -4.0, 0.3) for rate in np.linspace(-3, 0, 7)]
    bounds = [(-5, 0), (-6, -1), (0, 0.9)]
    return min(minimize(end, start, bounds=bounds, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}).fun for start in starts)
