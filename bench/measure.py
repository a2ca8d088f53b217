"""Commands that print a JSON object, each run in a process of its own. This module must not import torch: see `run`."""

import json
import os
import subprocess
import sys
from pathlib import Path


def run(command: list[str], environment: dict[str, str] | None = None) -> tuple[dict, float]:
    """What the command prints as JSON, and its peak resident memory in bytes as the kernel says (Linux).

    A child's peak starts at what this process holds, so this process must stay small.
    """
    output, memory = text(command, environment)
    return json.loads(output), memory


def text(command: list[str], environment: dict[str, str] | None = None) -> tuple[str, float]:
    """As `run`, for a command that prints anything."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {}))
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"exit status {child.returncode}: {' '.join(command)}")
    return output, usage.ru_maxrss * 1024


def measure(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Images per second and peak memory."""
    result, memory = run(command, environment)
    return result["images_per_sec"], memory


def show(result: tuple[float, float]) -> str:
    speed, memory = result
    return f"{speed:.2f} images/s, {memory / 2**20:.0f} MiB"


def instruction_set(name: str | None) -> dict[str, str]:
    """The environment that keeps PyTorch, oneDNN and pugmark to one instruction set; None leaves each its best."""
    if name is None:
        return {}
    return {"ONEDNN_MAX_CPU_ISA": name.upper(), "ATEN_CPU_CAPABILITY": name, "PUGMARK_ISA": name}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
