"""What listlens scores on the real photo sets, beside scikit-learn on the same embeddings.

For each task: `auto` in a temporary project, then scikit-learn's logistic regression with the best
C by grouped cross-validation on exactly the embeddings, groups and splits that listlens used.
Needs LISTLENS_DATA. Run: python benchmarks/accuracy.py [--only cars]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import listlens
from listlens.pipeline.dataset import build_examples

TASKS = [
    ("houses", "label_checked", {}),
    ("cars", "view", {}),
    ("cars", "parts", {}),
    ("cars", "banner", {}),
    ("flipkart", "label", {}),
    ("flipkart", "category_l2", {}),
    ("grocery", "label", {}),
]
STRENGTHS = (1e-3, 3e-3, 1e-2)
N_FOLDS = 5


def regression(strength: float) -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3))


def folds(targets: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    if targets.ndim == 2:
        return list(GroupKFold(N_FOLDS, shuffle=True, random_state=0).split(targets, groups=groups))
    splitter = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    return list(splitter.split(np.zeros(len(targets)), targets, groups))


def single(x: np.ndarray, y: np.ndarray, groups: np.ndarray, split: np.ndarray) -> dict[str, float]:
    """Best C by grouped CV on train and val; accuracy on test and five-fold over everything."""
    seen = split != "test"

    def cross(rows: np.ndarray, strength: float) -> float:
        right = np.zeros(len(rows), bool)
        for a, b in folds(y[rows], groups[rows]):
            model = regression(strength).fit(x[rows[a]], y[rows[a]])
            right[b] = model.predict(x[rows[b]]) == y[rows[b]]
        return float(right.mean())

    known = y >= 0
    inside, everything = np.flatnonzero(seen & known), np.flatnonzero(known)
    best = max(STRENGTHS, key=lambda c: cross(inside, c))
    result = {"C": best, "five-fold": cross(everything, best)}
    test = np.flatnonzero(~seen & known)
    if len(test):
        model = regression(best).fit(x[inside], y[inside])
        result["test"] = float((model.predict(x[test]) == y[test]).mean())
    return result


def multi(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Macro average precision of one-vs-rest with one C for all, the best of the grid."""
    best = {"C": 0.0, "five-fold": 0.0}
    for strength in STRENGTHS:
        scores = np.full(y.shape, np.nan)
        for a, b in folds(y, groups):
            for column in range(y.shape[1]):
                rows = a[y[a, column] >= 0]
                model = regression(strength).fit(x[rows], y[rows, column])
                scores[b, column] = model.decision_function(x[b])
        value = np.mean(
            [
                average_precision_score(y[y[:, c] >= 0, c], scores[y[:, c] >= 0, c])
                for c in range(y.shape[1])
            ]
        )
        best = max(best, {"C": strength, "five-fold": float(value)}, key=lambda r: r["five-fold"])
    return best


def ours(summary: dict, part: str) -> str:
    found = summary.get(part)
    if not found:
        return "-"
    value = found.get("accuracy") or found.get("macro_ap")
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one photo set")
    only = parser.parse_args().only
    data = Path(os.environ["LISTLENS_DATA"])
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message="The least populated class")
    print("set, task | seconds | our test | theirs | our five-fold | theirs (C)")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        for name, column, options in TASKS:
            if only and name != only:
                continue
            out = Path(folder) / name
            started = time.monotonic()
            result = listlens.auto(
                data / name, data / name / "labels.csv", label=column, out=out, **options
            )
            seconds = time.monotonic() - started
            with listlens.open(out) as project:
                task = project.store.labels.task(column)
                examples = build_examples(project.store, task, project.backbone.space)
            x, groups = examples.data.embeddings, examples.data.groups
            keep = [c not in result.train.summary["set_aside"] for c in examples.data.classes]
            if task.kind == "multi":
                theirs = multi(x, examples.given[:, keep], groups)
            else:
                y = np.where(np.isin(examples.given, np.flatnonzero(keep)), examples.given, -1)
                theirs = single(x, y, groups, examples.data.given_split)
            test = f"{theirs['test']:.3f}" if "test" in theirs else "-"
            print(
                f"{name}, {column} | {seconds:.0f} | {ours(result.train.summary, 'test')} | {test}"
                f" | {ours(result.train.summary, 'cross_validation')} | {theirs['five-fold']:.3f}"
                f" ({theirs['C']:g})",
                flush=True,
            )


if __name__ == "__main__":
    main()
