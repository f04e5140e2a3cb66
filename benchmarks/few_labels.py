"""What unlabelled photos add where labels are few: accuracy on held-out photos, with and without.

A fifth of the photos (by group) is held out. Of the rest, so many a class keep their label and the
others lose it. Several seeds choose other photos and other folds; printed are the mean accuracy and
its 95 % interval over seeds, and that of the paired difference. Needs LISTLENS_DATA.
Run: python benchmarks/few_labels.py [--seeds 10] [--only houses]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from listlens.learn.candidates import TrainOptions
from listlens.learn.heads import fit
from listlens.learn.nearest_mean import nearest_means
from listlens.learn.objectives import encode
from listlens.learn.split import grouped_folds, label_matrix
from listlens.learn.unlabelled import LookAlikes, spreading
from listlens.learn.usable import usable_classes, with_classes
from listlens.pipeline.dataset import Examples, build_examples
from listlens.scaffold import init

TASKS = [("houses", "label_checked"), ("cars", "view"), ("flipkart", "label"), ("grocery", "label")]
LABELS = (1, 2, 5, 10, 20, 50)
STRENGTH, SHRINKAGE = 0.1, 0.7
"""Chosen once: with few labels nothing can be held out to choose them by."""


def examples_of(data: Path, name: str, column: str, work: Path) -> Examples:
    with init(work / name) as project:
        project.ingest(data / name, table=data / name / "labels.csv")
        project.add_task("task", "single")
        project.import_labels("task", data / name / "labels.csv", label=column)
        task = project.store.labels.task("task")
        return build_examples(project.store, task, project.backbone.space)


def accuracies(examples: Examples, n_labels: int, seed: int) -> tuple[float, ...] | None:
    """Logistic regression, nearest mean, and with unlabelled photos; None: too few photos."""
    data = with_classes(examples.data, usable_classes(examples.data, 5, 5).classes)
    y, k = data.targets, len(data.classes)
    fold = grouped_folds(label_matrix(data), data.groups, 5, seed)
    test = np.flatnonzero((fold == 0) & (y >= 0))
    pool = np.random.default_rng(seed).permutation(np.flatnonzero((fold != 0) & (y >= 0)))
    labelled = np.concatenate([pool[y[pool] == c][:n_labels] for c in range(k)])
    if len(labelled) < 0.9 * k * n_labels or len(labelled) > 0.8 * len(pool):
        return None
    x, held = data.embeddings, data.embeddings[test]
    targets = encode(y[labelled], k, "single")
    alike = LookAlikes(x[labelled], x[np.setdiff1d(pool, labelled)])
    way = [c for c in TrainOptions().strengths if c <= STRENGTH]
    heads = (
        fit(x[labelled], targets, way),
        nearest_means(x[labelled], targets, [SHRINKAGE])[0],
        spreading(alike, targets)(np.arange(len(labelled)))[1],
    )
    return tuple(float((h.logits(held).argmax(axis=1) == y[test]).mean()) for h in heads)


def spread(values: np.ndarray) -> str:
    """Mean and half of its 95 % interval over seeds."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {half:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", help="one photo set")
    chosen = parser.parse_args()
    data = Path(os.environ["LISTLENS_DATA"])
    print(
        "set | labels a class | logistic | nearest mean | with unlabelled | over the logistic one"
    )
    with tempfile.TemporaryDirectory() as work, threadpool_limits(1):
        for name, column in TASKS:
            if chosen.only not in (None, name):
                continue
            examples = examples_of(data, name, column, Path(work))
            for n_labels in LABELS:
                found = [accuracies(examples, n_labels, seed) for seed in range(chosen.seeds)]
                rows = np.array([row for row in found if row is not None])
                if not len(rows):
                    continue
                shown = " | ".join(spread(column) for column in rows.T)
                print(
                    f"{name} | {n_labels} | {shown} | {spread(rows[:, 2] - rows[:, 0])}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
