"""Category trees on real photos: the tree head against a flat head on the same embeddings.

Grocery by its official split, flipkart by the split of the data set. Flat: multinomial logistic
regression on the leaves, its regularisation chosen by the same folds; a parent's probability is the
sum of its leaves'. Both answer by the same back-off rule, with the threshold chosen on out-of-fold
probabilities. Differences are test minus flat, with 95 % intervals of a paired bootstrap.

Usage: LISTLENS_DATA=... python benchmarks/trees.py PROJECT...
    PROJECT: what `listlens auto` left, with a task of kind tree named `category`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import listlens
from listlens.core.tree import Tree
from listlens.learn.backoff import allowed_error
from listlens.learn.candidates import TrainOptions
from listlens.learn.policies import answers
from listlens.learn.recipe import Trained, train
from listlens.learn.trees import leaves_under
from listlens.metrics.hierarchy import (
    ancestry,
    leaf_answers,
    levels,
    overlap,
)
from listlens.pipeline.dataset import build_examples

ERROR = allowed_error("best-f1", 0.0)
N_DRAWS = 2000


def measures(trained: Trained, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What each test photo counts for: per level, for F1, and for depth under back-off."""
    tree = Tree.of(trained.classes)
    truth, probs = trained.targets[rows], trained.test_probs[rows]
    lines = ancestry(tree.parent)[truth]
    best = levels(tree.parent, tree.leaves, probs).best
    common = overlap(tree.parent, leaf_answers(tree.leaves, probs), truth)
    decided = answers(probs, trained.policy, "tree", trained.classes)
    under = leaves_under(tree)
    node = np.full(len(rows), -1)
    for i in np.argsort(tree.depth, kind="stable"):
        node[(decided.given == under[i]).all(axis=1)] = i
    answered = overlap(tree.parent, node, truth)
    found: dict[str, np.ndarray] = {
        "shared": common.shared,
        "total": common.answered + common.true,
        "depth": answered.answered,
        "wrong": answered.shared < answered.answered,
        "given": node >= 0,
    }
    for level in range(lines.shape[1]):
        known = lines[:, level] >= 0
        found[f"level {level + 1}"] = np.where(known, best[:, level] == lines[:, level], np.nan)
    return found


def summary(m: dict[str, np.ndarray], w: np.ndarray) -> dict[str, float]:
    """The numbers of weighted photos."""
    out = {
        name: float(np.nansum(w * v) / (w * ~np.isnan(v)).sum())
        for name, v in m.items()
        if name.startswith("level")
    }
    out["hierarchical F1"] = float(2 * (w * m["shared"]).sum() / (w * m["total"]).sum())
    out["back-off: levels deep, unanswered as 0"] = float((w * m["depth"]).sum() / w.sum())
    out["back-off: wrong"] = float((w * m["wrong"]).sum() / max((w * m["given"]).sum(), 1))
    return out


def compare(project: Path) -> dict[str, Any]:
    """Train both heads on the task's labels, and compare them on the test split."""
    with listlens.open(project) as opened:
        task = opened.store.labels.task("category")
        data = build_examples(opened.store, task, opened.backbone.space).data
    shared, flat = train(data), train(data, TrainOptions(sharing=(0.0,), discriminants=False))
    rows = np.flatnonzero((shared.split == "test") & (shared.targets >= 0))
    both = [measures(one, rows) for one in (shared, flat)]
    ones = np.ones(len(rows))
    tree, base = (summary(m, ones) for m in both)
    groups = np.unique(data.listings[rows], return_inverse=True)[1]
    rng = np.random.default_rng(0)
    draws: dict[str, list[float]] = {name: [] for name in tree}
    for _ in range(N_DRAWS):
        w = np.bincount(rng.integers(0, groups.max() + 1, groups.max() + 1),
                        minlength=groups.max() + 1)[groups].astype(float)  # fmt: skip
        a, b = (summary(m, w) for m in both)
        for name in tree:
            draws[name].append(a[name] - b[name])
    return {
        "n": len(rows),
        "chosen": {k: v for k, v in shared.selection.items() if k != "tried"},
        "flat C": flat.selection["C"],
        **{
            name: {
                "tree": round(tree[name], 4),
                "flat": round(base[name], 4),
                "difference": [
                    round(float(x), 4)
                    for x in (tree[name] - base[name], *np.quantile(draws[name], (0.025, 0.975)))
                ],
            }
            for name in tree
        },
    }


def main() -> None:
    """Compare on each project; prints one JSON object a project."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", type=Path, nargs="+")
    for project in parser.parse_args().projects:
        print(project.name, json.dumps(compare(project), indent=1), flush=True)


if __name__ == "__main__":
    main()
