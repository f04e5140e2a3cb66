"""Does a tree proposed from flat classes agree with the real one? Grocery's categories are known.

Usage: python benchmarks/propose_tree.py PROJECT LABELS
    PROJECT: what `listlens auto` left of LABELS, one class a photo in the column `label`.
    LABELS: a table with the columns label, category_l1 and category_l2.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

import listlens
from listlens.learn.grouping import nested_groups
from listlens.learn.model import Model
from listlens.pipeline.tree_proposal import distances_of

LEVELS = ("category_l1", "category_l2")


def agreement(project: Path, labels: Path) -> dict[str, object]:
    """Nearest classes that share a category, and groups against categories."""
    with labels.open(encoding="utf-8", newline="") as file:
        real = {row["label"]: [row[level] for level in LEVELS] for row in csv.DictReader(file)}
    with listlens.open(project) as opened:
        task = opened.store.labels.task("label")
        record = opened.store.models.latest(task.task_id)
        assert record is not None
        model = Model.load(project / record.folder, record.sha256)
        apart = distances_of(opened.store, project / record.folder, task, model)
    nearest = np.where(np.eye(len(apart), dtype=bool), np.inf, apart).argmin(axis=1)
    groups = nested_groups(apart, 2)
    found: dict[str, object] = {"classes": len(model.classes)}
    for i, level in enumerate(LEVELS):
        known = np.unique([real[name][i] for name in model.classes], return_inverse=True)[1]
        shared = np.bincount(known)[known] > 1
        found[level] = {
            "categories": int(known.max()) + 1,
            "classes that share theirs": int(shared.sum()),
            "nearest class shares it": round(float((known[nearest] == known)[shared].mean()), 3),
            "adjusted Rand by groups": {
                int(g.max()) + 1: round(float(adjusted_rand_score(known, g)), 3) for g in groups
            },
        }
    return found


def main() -> None:
    """Measure; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("labels", type=Path)
    chosen = parser.parse_args()
    print(json.dumps(agreement(chosen.project, chosen.labels), indent=1))


if __name__ == "__main__":
    main()
