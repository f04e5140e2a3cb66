"""CPU of fetching photos over loopback, ours beside httpcore, whose backend could be pinned too.

Usage: python benchmarks/fetching.py [--photos 600] [--kilobytes 350]     needs httpcore for peers

The server is a process of its own, so that only the client's CPU is counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

from listlens.sources.addresses import parse_patterns
from listlens.sources.fetching import Fetcher, FetchRules

SERVER = """
import socket, sys, threading
body = bytes(int(sys.argv[1]))
head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n".encode()
def talk(sock):
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while sock.recv(65536):
            sock.sendall(head)
            sock.sendall(body)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--kilobytes", type=int, default=350)
    options = parser.parse_args()
    command = [sys.executable, "-c", SERVER, str(options.kilobytes * 1000)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/a.jpg"
        try:
            with Fetcher(FetchRules(private=parse_patterns(["127.0.0.1"]))) as fetcher:
                report("listlens", lambda: fetcher.fetch(url).data, options)
            import httpcore

            bounds = {"timeout": {"connect": 5.0, "read": 30.0, "write": 30.0, "pool": 30.0}}
            with httpcore.ConnectionPool() as pool:
                report(
                    "httpcore",
                    lambda: pool.request("GET", url, extensions=bounds).content,
                    options,
                )
        finally:
            server.kill()


def report(name: str, fetch: Callable[[], bytes], options: argparse.Namespace) -> None:
    """Print one client's CPU and wall clock a photo, best of three rounds."""
    rounds = []
    for _ in range(3):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(options.photos):
            assert len(fetch()) == options.kilobytes * 1000
        rounds.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_s, wall_s = min(rounds)
    n = options.photos / 1000
    print(f"{name}: {cpu_s / n:.2f} ms CPU, {wall_s / n:.2f} ms a photo of {options.kilobytes} kB")


if __name__ == "__main__":
    main()
