"""pugmark's endpoint and LitServe with PyTorch and with ONNX Runtime (`litserve_server.py`), in turn on the same photos and weights:
what each can do, and how long its answers take at 10 to 150 % of that.

What a server can do is measured with 32 requests at a time. The rest is an open load: requests come when they come (exponential gaps),
whether earlier ones are answered or not, and a time counts from when the request was due. Of LitServe its better of one worker with all
threads and a worker a core is taken. Photos go as base64 in JSON, which all of them read. The load comes from this process, which
shares the machine with the server. With `--precision bf16` pugmark and PyTorch (its weights and activations) compute in it; ONNX Runtime
has no such kernels and stays with f32.
"""

import argparse
import base64
import http.client
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from measure import processor

LITSERVE = Path(__file__).parent / "litserve_server.py"
CLIENTS = 192
SHARES = (0.1, 0.5, 0.8, 1.0, 1.5)


def main() -> None:
    arguments = parse()
    photos = sorted(arguments.photos.rglob("*.jp*g"))[: arguments.most]
    bodies = [json.dumps({"image": base64.b64encode(path.read_bytes()).decode()}).encode() for path in photos]
    with tempfile.TemporaryDirectory() as folder:
        onnx = f"{folder}/model.onnx"
        export = [str(arguments.pugmark), "--quiet", "export", str(arguments.model), "--format", "onnx", "--out", onnx]
        subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
        lit = [sys.executable, str(LITSERVE), str(arguments.model)]
        torch = [*lit, "--bf16"] if arguments.precision == "bf16" else lit
        serve = [str(arguments.pugmark), "--quiet", "serve", str(arguments.model), "--port", "0"]
        shapes = [["--workers", "1", "--threads", "2"], ["--workers", "2", "--threads", "1"]]
        servers = {
            "LitServe, PyTorch": [[*torch, *shape] for shape in shapes],
            "LitServe, ONNX Runtime": [[*lit, "--onnx", onnx, *shape] for shape in shapes],
            # Last: it is also given the load that the others can bear.
            "pugmark": [[*serve, "--precision", arguments.precision]],
        }
        print(f"{len(bodies)} photos of {sum(map(len, bodies)) / len(bodies) / 1024:.0f} KiB in base64; {processor()}", flush=True)
        chosen = {}
        for name, commands in servers.items():
            speeds = []
            for command in commands:
                with Server(command) as server:
                    speeds.append(capacity(server, bodies, arguments.seconds))
            best = max(range(len(commands)), key=speeds.__getitem__)
            chosen[name] = commands[best]
            settings = " ".join(commands[best][-4:]) if len(commands) > 1 else ""
            print(f"{name} {settings}: {speeds[best]:.1f} requests/s".replace(" :", ":"), flush=True)
        rounds(chosen, bodies, arguments)


def rounds(servers: dict[str, list[str]], bodies: list[bytes], arguments: argparse.Namespace) -> None:
    able: dict[str, list[float]] = {name: [] for name in servers}
    measured: dict[tuple[str, float], list[dict]] = {}
    started: dict[str, list[float]] = {name: [] for name in servers}
    others = [name for name in servers if name != "pugmark"]
    for _ in range(arguments.rounds):
        for name, command in servers.items():
            with Server(command) as server:
                started[name].append(server.started)
                able[name].append(capacity(server, bodies, arguments.seconds))
                for share in SHARES:
                    result = open_load(server, bodies, share * able[name][-1], arguments.seconds)
                    measured.setdefault((name, share), []).append(result)
                for other in others if name == "pugmark" else []:
                    result = open_load(server, bodies, 0.8 * able[other][-1], arguments.seconds)
                    measured.setdefault((f"pugmark at 80 % of {other}", 0.8), []).append(result)
    for name in servers:
        first, speed = statistics.median(started[name]), statistics.median(able[name])
        print(f"\n{name}: {speed:.1f} requests/s, ready after {first:.2f} s")
        for share in SHARES:
            print(f"  {share:4.0%} {line(measured[name, share])}")
    for other in others:
        same = f"pugmark at 80 % of {other}"
        print(f"\n{same}: {line(measured[same, 0.8])}")
        ratio = statistics.median(a / b for a, b in zip(able["pugmark"], able[other], strict=True))
        pairs = zip(measured[same, 0.8], measured[other, 0.8], strict=True)
        tail = statistics.median(ours["p99"] / theirs["p99"] for ours, theirs in pairs)
        print(f"pugmark over {other}: {ratio:.2f} x the requests/s; {tail:.2f} x the p99 at that load")


def line(results: list[dict]) -> str:
    def median(key: str) -> float:
        return statistics.median(result[key] for result in results)

    times = ", ".join(f"{key} {median(key):.0f}" for key in ("p50", "p95", "p99", "p99.9"))
    return (
        f"of {median('offered'):.1f} requests/s: {median('answered'):.1f} answered, {median('refused'):.1%} refused, {median('failed'):.1%} failed; "
        f"{times} ms; {median('mib'):.0f} MiB"
    )


class Server:
    """A server as a process, whose first line is its address; LitServe's processes are counted together."""

    def __init__(self, command: list[str]):
        self.command = command

    def __enter__(self) -> "Server":
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def start(self) -> "Server":
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        line = self.process.stdout.readline().strip()
        if not line.startswith("http://"):
            sys.exit(f"no address: {' '.join(self.command)}")
        self.host = line.removeprefix("http://")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        while True:
            try:
                connection = http.client.HTTPConnection(self.host)
                connection.request("GET", "/ping")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            if self.process.poll() is not None or time.perf_counter() - begun > 60:
                sys.exit(f"it does not start: {' '.join(self.command)}")
            time.sleep(0.02)
        self.started = time.perf_counter() - begun
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for child in children(self.process.pid):
            subprocess.run(["kill", "-9", str(child)], stderr=subprocess.DEVNULL)

    def mib(self) -> float:
        """Resident now, of all processes (Linux); pages that they share count once each."""
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total / 1024


def children(session: int) -> list[int]:
    """The other processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and int(stat.parent.name) != session:
            found.append(int(stat.parent.name))
    return found


class Client:
    """A connection that is kept; a broken one is made anew."""

    def __init__(self, host: str):
        self.host, self.connection = host, None

    def ask(self, body: bytes) -> int:
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.host, timeout=60)
            self.connection.request("POST", "/invocations", body, {"content-type": "application/json"})
            reply = self.connection.getresponse()
            reply.read()
            return reply.status
        except (OSError, http.client.HTTPException):
            self.connection = None
            return 0


def capacity(server: Server, bodies: list[bytes], seconds: float) -> float:
    """Requests/s with 32 at a time."""
    warm, until = time.perf_counter() + seconds / 4, time.perf_counter() + seconds * 1.25
    counts, others = [0] * 32, []

    def work(number: int) -> None:
        client, turn = Client(server.host), number
        while time.perf_counter() < until:
            status = client.ask(bodies[turn % len(bodies)])
            if status != 200:
                others.append(status)
            counts[number] += status == 200 and warm <= time.perf_counter() < until
            turn += len(counts)

    run([threading.Thread(target=work, args=(number,)) for number in range(len(counts))])
    if others:
        sys.exit(f"{len(others)} of the requests with 32 at a time failed, with status {sorted(set(others))}: {server.command}")
    return sum(counts) / seconds


def open_load(server: Server, bodies: list[bytes], rate: float, seconds: float) -> dict:
    """Requests that come at `rate` a second on average, and what became of them."""
    chance = random.Random(1)
    due, at = [], 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        due.append(at)
    turns, lock = iter(enumerate(due)), threading.Lock()
    times: list[float] = []
    statuses: list[int] = []
    start = time.perf_counter() + 0.1

    def work() -> None:
        client = Client(server.host)
        while True:
            with lock:
                number, at = next(turns, (0, None))
            if at is None:
                return
            time.sleep(max(0.0, start + at - time.perf_counter()))
            status = client.ask(bodies[number % len(bodies)])
            took = time.perf_counter() - start - at
            with lock:
                statuses.append(status)
                if status == 200:
                    times.append(took * 1e3)

    run([threading.Thread(target=work) for _ in range(CLIENTS)])
    # What was still waiting when the last request came is answered after it.
    spent = max(seconds, time.perf_counter() - start)
    times.sort()
    def quantile(share: float) -> float:
        return times[min(len(times) - 1, int(share * len(times)))] if times else math.inf

    quantiles = {f"p{100 * share:g}": quantile(share) for share in (0.5, 0.95, 0.99, 0.999)}
    refused = sum(status in (429, 503) for status in statuses)
    return {
        "offered": len(due) / seconds,
        "answered": len(times) / spent,
        "refused": refused / len(due),
        "failed": 1 - (len(times) + refused) / len(due),
        "mib": server.mib(),
        **quantiles,
    }


def run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a model file of pugmark's, of a ResNet or the like that squashes its photos")
    parser.add_argument("photos", type=Path, help="a folder of JPEGs")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32", help="of pugmark and PyTorch")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=200, help="photos to send, again and again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
