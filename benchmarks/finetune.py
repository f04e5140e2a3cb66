"""What fine-tuning brings on the real photo sets, and what it takes.

For each set: `auto` in a temporary project, then `train --finetune`. Prints the accuracy on the
set's own test split, of which neither decides anything, before and after, whether fine-tuning was
chosen by the photos that stayed apart, and the seconds of the whole `train` and of fine-tuning.
Needs LISTLENS_DATA and PyTorch. Run: python benchmarks/finetune.py [--only grocery] [--seconds 240]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import listlens

TASKS = [
    ("houses", "label_checked"),
    ("grocery", "label"),
    ("flipkart", "category_l2"),
    ("cars", "view"),
    ("cars", "parts"),
]


def number(summary: dict, part: str) -> str:
    found = summary.get(part)
    if not found:
        return "-"
    name = next(key for key in found if key != "n")
    value = found[name]
    return f"{name} {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one photo set")
    parser.add_argument("--seconds", type=float, default=240.0, help="for the training itself")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = Path(os.environ["LISTLENS_DATA"])
    for name, column in TASKS:
        if options.only and name != options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / name
            started = time.monotonic()
            before = listlens.auto(
                data / name,
                data / name / "labels.csv",
                label=column,
                out=out,
                kind="single" if column != "parts" else None,
            )
            auto_s = time.monotonic() - started
            with listlens.open(out) as project:
                started, cpu = time.monotonic(), time.process_time()
                after = project.train(column, finetune=options.seconds, seed=options.seed)
                wall_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
        told = after.summary["fine_tuning"]
        print(f"{name}, {column}: auto {auto_s:.0f} s, then train --finetune {wall_s:.0f} s "
              f"({cpu_s:.0f} s of processor time)")  # fmt: skip
        print(f"  own test split: frozen {number(before.train.summary, 'test')}, "
              f"now {number(after.summary, 'test')}")  # fmt: skip
        print(f"  apart: {after.summary['lines'][-1]}")
        print(f"  {told['training']}, {told['cost']}", flush=True)


if __name__ == "__main__":
    main()
