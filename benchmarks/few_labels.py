"""What unlabelled photos add where labels are few: accuracy on held-out photos, with and without.

A fifth of the photos (by group) is held out. Of the rest, so many a class keep their label and the
others lose it. Several seeds choose other photos and other folds; printed are the mean accuracy and
its 95 % interval over seeds, and that of the paired difference. Needs LISTLENS_DATA.
Run: python benchmarks/few_labels.py [--seeds 10] [--only houses] [--few]

With --few it is `train --few` that is measured: in the even case every class has so few labels, in
the other every fourth class has and the rest up to 40; beside it the logistic head, which there
leaves out classes of one or two labels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from listlens.learn.candidates import TrainOptions
from listlens.learn.heads import fit
from listlens.learn.nearest_mean import nearest_means
from listlens.learn.objectives import encode
from listlens.learn.policies import answers
from listlens.learn.recipe import train
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


def few_labels(
    examples: Examples, n_labels: int, seed: int, share: int
) -> tuple[float, ...] | None:
    """Accuracy of the logistic head and of `--few`, the difference, the share that `--few` decides
    alone and its error there, what both find of classes with few labels; None: too few photos."""
    data = with_classes(examples.data, usable_classes(examples.data, 10, 10).classes)
    y, k, rng = data.targets, len(data.classes), np.random.default_rng(seed)
    fold = grouped_folds(label_matrix(data), data.groups, 5, seed)
    test = np.flatnonzero((fold == 0) & (y >= 0))
    pool = rng.permutation(np.flatnonzero((fold != 0) & (y >= 0)))
    tiny = rng.permutation(k)[: max(1, k // share)]
    wanted = [n_labels if c in tiny else 40 for c in range(k)]
    labelled = np.concatenate([pool[y[pool] == c][:n] for c, n in enumerate(wanted)])
    if share == 1 and len(labelled) < 0.9 * sum(wanted):
        return None
    some = replace(data.rows(labelled), given_split=np.full(len(labelled), "", "U5"))
    few = train(replace(some, centre=data.embeddings[pool].mean(axis=0)), TrainOptions(few=True))
    held = data.embeddings[test]
    probs = few.calibration.probs(few.head.logits(held), "single")
    alone = ~answers(probs, few.policy, "single").review.any(axis=1)
    right = probs.argmax(axis=1) == y[test]
    heads = [c for c in range(k) if share == 1 or wanted[c] > 2]
    index = np.full(k, -1)
    index[heads] = np.arange(len(heads))
    rows = index[y[labelled]] >= 0
    way = [c for c in TrainOptions().strengths if c <= STRENGTH]
    plain = fit(some.embeddings[rows], encode(index[y[labelled][rows]], len(heads), "single"), way)
    default = np.array(heads)[plain.logits(held).argmax(axis=1)] == y[test]
    error = float((~right[alone]).mean()) if alone.any() else 0.0
    of_tiny = np.isin(y[test], tiny)
    means = (default, right, right * 1.0 - default, alone)
    return (*(float(m.mean()) for m in means), error, float(right[of_tiny].mean()),
            float(default[of_tiny].mean()))  # fmt: skip


def measure_few(examples: Examples, name: str, seeds: int) -> None:
    """Print a line a case and number of labels."""
    for share, numbers in ((1, (1, 2, 3, 5, 10)), (4, (1, 2, 3))):
        for n_labels in numbers:
            found = [few_labels(examples, n_labels, seed, share) for seed in range(seeds)]
            rows = np.array([row for row in found if row is not None])
            if len(rows):
                shown = " | ".join(spread(column) for column in rows.T)
                case = "even" if share == 1 else "every fourth"
                print(f"{name} | {case} | {n_labels} | {shown}", flush=True)


def spread(values: np.ndarray) -> str:
    """Mean and half of its 95 % interval over seeds."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {half:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", help="one photo set")
    parser.add_argument("--few", action="store_true", help="measure train --few")
    chosen = parser.parse_args()
    data = Path(os.environ["LISTLENS_DATA"])
    print(
        "set | case | labels | logistic | --few | difference | decided alone | error of these | "
        "few classes found | by the logistic one"
        if chosen.few
        else "set | labels a class | logistic | nearest mean | with unlabelled | over logistic"
    )
    with tempfile.TemporaryDirectory() as work, threadpool_limits(1):
        for name, column in TASKS:
            if chosen.only not in (None, name):
                continue
            examples = examples_of(data, name, column, Path(work))
            if chosen.few:
                measure_few(examples, name, chosen.seeds)
                continue
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
