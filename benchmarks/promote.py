"""Promote and roll back under load: does a call fail, or is an answer wrong, and how soon it shows.

Usage: python benchmarks/promote.py PROJECT --task TASK PHOTOS... [--times 20] [--callers 4]

PROJECT is a copy that may be changed, with two or more models of the task. The server is a process
of its own; promotions are commands in other processes, as an operator types them. Every answer is
held against what the model that it names says of the photo by itself.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

import listlens

RUN = [sys.executable, "-c", "from listlens.cli import main; main()"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--task", required=True)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--callers", type=int, default=4)
    options = parser.parse_args()
    expected = answers_of(options.project, options.task, options.photos)
    token = command(options.project, "token", "create", "--scope", "predict").splitlines()[-1]
    server = subprocess.Popen(
        [*RUN, "serve", "--port", "0", "-p", str(options.project)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = address_of(server)
        load = Load(url, token, options.task, options.photos, options.callers)
        shown = [change(load, options, name) for _ in range(options.times) for name in ("promote",
                 "rollback")]  # fmt: skip
        load.end()
    finally:
        server.terminate()
        server.wait(60)
    report(load, expected, shown, options)


def answers_of(project: Path, task: str, photos: list[Path]) -> dict[str, list[dict[str, float]]]:
    """What each of the task's two newest models says of each photo by itself."""
    found = {}
    with listlens.open(project) as opened:
        rows = opened.store.models.list(opened.store.labels.task(task).task_id)[-2:]
        for row in rows:
            opened.registry.promote(task, row.version)
            found[f"{task}/{row.version}"] = [p.probs for _, p in opened.predict(photos, [task])]
        opened.registry.rollback(task)
    return found


def command(project: Path, *args: str) -> str:
    done = subprocess.run(
        [*RUN, *args, "-p", str(project)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def address_of(server: subprocess.Popen[str]) -> str:
    """The address that the server prints once it answers."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://[\w.]+:\d+", line):
            return found[0]
    raise RuntimeError("the server ended before it answered")


class Load:
    """Callers that ask until they are told to stop, and keep every answer."""

    def __init__(self, url: str, token: str, task: str, photos: list[Path], callers: int) -> None:
        records = [
            {"id": str(i), "base64": base64.b64encode(photo.read_bytes()).decode()}
            for i, photo in enumerate(photos)
        ]
        self.body = json.dumps({"records": records, "tasks": [task]}).encode()
        self.url, self.token, self.task = f"{url}/v1/predict", token, task
        self.seen: list[tuple[float, float, Any]] = []
        self._stop = threading.Event()
        self._callers = [threading.Thread(target=self._ask_on) for _ in range(callers)]
        for caller in self._callers:
            caller.start()

    def ask(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url, self.body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            begun = time.perf_counter()
            try:
                answer: Any = self.ask()
            except Exception as error:
                answer = error
            self.seen.append((begun, time.perf_counter() - begun, answer))

    def end(self) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join()


def named(answer: dict[str, Any], task: str) -> set[str]:
    return {record["results"][task]["model"] for record in answer["records"]}


def change(load: Load, options: argparse.Namespace, name: str) -> float:
    """Promote or roll back, and return the seconds from the command's end until it shows."""
    moved = json.loads(command(options.project, "models", name, options.task,
                               *newest(options, name), "--json"))  # fmt: skip
    wanted, begun = f"{options.task}/{moved['live']}", time.perf_counter()
    while named(load.ask(), options.task) != {wanted}:
        time.sleep(0.02)
    return time.perf_counter() - begun


def newest(options: argparse.Namespace, name: str) -> list[str]:
    """A model that was rolled back is promoted by its number only."""
    if name == "rollback":
        return []
    listed = json.loads(command(options.project, "models", "list", options.task, "--json"))
    return [str(max(model["version"] for model in listed["models"]))]


def report(
    load: Load,
    expected: dict[str, list[dict[str, float]]],
    shown: list[float],
    options: argparse.Namespace,
) -> None:
    failed = [answer for _, _, answer in load.seen if not isinstance(answer, dict)]
    good = [answer for _, _, answer in load.seen if isinstance(answer, dict)]
    by_model = {name: sum(named(a, options.task) == {name} for a in good) for name in expected}
    mixed = len(good) - sum(by_model.values())
    wrong, largest = 0, 0.0
    for answer in good:
        for record in answer["records"]:
            result = record["results"][options.task]
            own = expected[result["model"]][int(record["id"])]
            off = max(abs(p - own[c]) for c, p in result["probabilities"].items())
            largest = max(largest, off)
            wrong += off > 0.02
    took = np.sort([seconds for _, seconds, _ in load.seen]) * 1000
    print(f"{options.times} promotions and {options.times} rollbacks, {options.callers} callers, "
          f"{len(options.photos)} photos a call")  # fmt: skip
    print(f"calls {len(load.seen)}, failed {len(failed)}, mixed {mixed}, by model {by_model}")
    print(f"answers unlike the model that they name: {wrong}; largest difference {largest:.2g}")
    print(f"ms a call: median {np.median(took):.0f}, p99 {np.quantile(took, 0.99):.0f}")
    print(f"seconds until a change shows: median {np.median(shown):.2f}, most {max(shown):.2f}")
    for error in failed[:5]:
        print("failed:", error)
    sys.exit(bool(failed or mixed or wrong))


if __name__ == "__main__":
    main()
