"""Requests of pugmark's endpoint and of one of FastAPI and PyTorch, in turn on the same photos and weights, by concurrency.

The load comes from threads of this process over keep-alive connections, each with one request at a time; it shares the machine with the
server, which costs both sides the same.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from measure import processor

TORCH = Path(__file__).parent / "torch_serve.py"


def main() -> None:
    arguments = parse()
    bodies = [path.read_bytes() for path in sorted(arguments.photos.rglob("*.jp*g"))[: arguments.most]]
    counts = [int(count) for count in arguments.concurrency.split(",")]
    threads = ["--threads", str(arguments.threads)]
    servers = {
        "pugmark": [str(arguments.pugmark), "serve", str(arguments.model), "--port", "0", "--quiet", *threads],
        "torch": [sys.executable, str(TORCH), str(arguments.model), *threads],
    }
    if arguments.only:
        servers = {arguments.only: servers[arguments.only]}
    size = sum(map(len, bodies)) / len(bodies) / 1024
    print(f"{len(bodies)} photos of {size:.0f} KiB, {arguments.threads} threads; {processor()}", flush=True)

    # Of each server and concurrency, a list of (requests/s, latencies), one a round.
    results = {(name, count): [] for count in counts for name in servers}
    answers = {}
    for _ in range(arguments.rounds):
        for name, command in servers.items():
            with Server(command) as server:
                answers[name] = [server.ask(body) for body in bodies[:20]]
                for count in counts:
                    results[name, count].append(load(server, bodies, count, arguments.seconds))
                memory = server.peak_mib()
            print(f"{name}: first answer after {server.started:.2f} s, peak memory {memory:.0f} MiB", flush=True)
    if len(answers) == 2:
        pairs = zip(answers["pugmark"], answers["torch"], strict=True)
        worst = max(abs(ours[k] - theirs[k]) for ours, theirs in pairs for k in ours)
        print(f"largest difference of a probability on {len(bodies[:20])} photos: {worst:.5f}")
    for count in counts:
        for name in servers:
            rounds = results[name, count]
            speed = statistics.median(speed for speed, _ in rounds)
            p50, p95, p99 = (statistics.median(quantile(times, q) for _, times in rounds) * 1e3 for q in (0.5, 0.95, 0.99))
            print(f"{count} at a time, {name}: {speed:.1f} requests/s; p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms")
        if len(servers) == 2:
            both = list(zip(results["pugmark", count], results["torch", count], strict=True))
            speed = statistics.median(ours[0] / theirs[0] for ours, theirs in both)
            tail = statistics.median(quantile(ours[1], 0.99) / quantile(theirs[1], 0.99) for ours, theirs in both)
            print(f"{count} at a time, pugmark over torch: {speed:.2f} x the requests, {tail:.2f} x the p99", flush=True)


class Server:
    """A server as a process, whose first line is its address."""

    def __init__(self, command: list[str]):
        self.command = command

    def __enter__(self) -> "Server":
        begun = time.perf_counter()
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            line = self.process.stdout.readline().strip()
            if not line.startswith("http://"):
                sys.exit(f"no address: {' '.join(self.command)}")
            self.host = line.removeprefix("http://")
            connection = http.client.HTTPConnection(self.host)
            connection.request("GET", "/ping")
            assert connection.getresponse().status == 200
        except BaseException:
            self.process.terminate()
            raise
        self.started = time.perf_counter() - begun
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def ask(self, body: bytes) -> dict[str, float]:
        connection = http.client.HTTPConnection(self.host)
        connection.request("POST", "/invocations", body, {"content-type": "image/jpeg"})
        return json.loads(connection.getresponse().read())["probabilities"]

    def peak_mib(self) -> float:
        """Of the process itself (Linux)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def load(server: Server, bodies: list[bytes], count: int, seconds: float) -> tuple[float, list[float]]:
    """Requests/s of `count` clients, and what each request took."""
    latencies: list[list[float]] = [[] for _ in range(count)]
    warm_until = time.perf_counter() + seconds / 4
    until = warm_until + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(server.host)
        turn = number
        while (begun := time.perf_counter()) < until:
            connection.request("POST", "/invocations", bodies[turn % len(bodies)], {"content-type": "image/jpeg"})
            reply = connection.getresponse()
            reply.read()
            if reply.status != 200:
                sys.exit(f"status {reply.status}")
            if begun >= warm_until:
                latencies[number].append(time.perf_counter() - begun)
            turn += count

    clients = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    all_of_them = sorted(value for some in latencies for value in some)
    return len(all_of_them) / seconds, all_of_them


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a model file of pugmark's")
    parser.add_argument("photos", type=Path, help="a folder of JPEGs")
    parser.add_argument("--pugmark", type=Path, required=True, help="the pugmark binary")
    parser.add_argument("--concurrency", default="1,4,16,64", help="requests at a time, with commas")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement, after a quarter of that to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, default=200, help="photos to send, again and again")
    parser.add_argument("--only", choices=["pugmark", "torch"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
