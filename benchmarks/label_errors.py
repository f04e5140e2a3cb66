"""Wrong labels: how soon our list shows them, beside cleanlab's rankings on the same probabilities.

On houses the labels of 10 photos are known to be wrong. Besides, 5 % of right labels are changed to
another class, several times, and counted is the share found within as many places as there are
errors. Needs LISTLENS_DATA, and cleanlab (pip install cleanlab).
Run: python benchmarks/label_errors.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from listlens.evaluate.suspects import suspects
from listlens.learn.dataset import TrainingSet
from listlens.learn.recipe import train
from listlens.learn.usable import usable_classes, with_classes
from listlens.pipeline.dataset import build_examples
from listlens.scaffold import init

SETS = [("houses", "label"), ("houses", "label_checked"), ("flipkart", "label"), ("cars", "view")]
SHARE = 0.05


def training_set(data: Path, name: str, column: str, work: Path) -> tuple[TrainingSet, list[str]]:
    with init(work / f"{name}-{column}") as project:
        project.ingest(data / name, table=data / name / "labels.csv")
        project.add_task("task", "single")
        project.import_labels("task", data / name / "labels.csv", label=column)
        task = project.store.labels.task("task")
        examples = build_examples(project.store, task, project.backbone.space)
    found = replace(examples.data, targets=examples.given)  # conflicts are to be found too
    found = with_classes(found, usable_classes(found, 3, 2).classes)
    blank = np.full(len(found.names), "", dtype="<U5")
    known = found.labelled
    contents = [p.photo.sha256 or "" for p in examples.photos]
    kept = [c for c, there in zip(contents, known, strict=True) if there]
    return replace(found, given_split=blank).rows(known), kept


def rankings(data: TrainingSet, contents: list[str]) -> dict[str, list[int]]:
    """Rows by each method, the likeliest wrong first."""
    probs = train(data).oof_probs.astype(np.float64)
    probs /= probs.sum(axis=1, keepdims=True)
    place = {name: i for i, name in enumerate(data.names)}
    ours = suspects("single", data.classes, probs, data.targets, data.names, contents, limit=10**6)
    found = {"listlens": [place[s.image] for s in ours]}
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        scores = get_label_quality_scores(data.targets, probs, method=method)
        found[f"cleanlab {method}"] = np.argsort(scores, kind="stable").tolist()
    for how in ("prune_by_noise_rate", "confident_learning"):
        issues = find_label_issues(
            data.targets, probs, filter_by=how, return_indices_ranked_by="self_confidence"
        )
        found[f"cleanlab {how}"] = issues.tolist()
    return found


def planted(data: TrainingSet, seed: int) -> tuple[TrainingSet, np.ndarray]:
    """The same with some labels changed, and which."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(data.names))[: round(SHARE * len(data.names))]
    targets = data.targets.copy()
    targets[rows] = (targets[rows] + rng.integers(1, len(data.classes), len(rows))) % len(
        data.classes
    )
    return replace(data, targets=targets), rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    folder = Path(os.environ["LISTLENS_DATA"])
    with tempfile.TemporaryDirectory() as work:
        sets = {key: training_set(folder, *key, Path(work)) for key in SETS}
    given, contents = sets["houses", "label"]
    checked = dict(zip(sets["houses", "label_checked"][0].names,
                       np.array(sets["houses", "label_checked"][0].classes)[
                           sets["houses", "label_checked"][0].targets], strict=True))  # fmt: skip
    wrong = {
        i for i, name in enumerate(given.names)
        if given.classes[given.targets[i]] != checked.get(name, "another")
    }  # fmt: skip
    print(f"houses: {len(wrong)} labels are wrong; found among the first 13, 25, 50")
    for method, rows in rankings(given, contents).items():
        print(f"{method} | {' | '.join(str(len(wrong & set(rows[:n]))) for n in (13, 25, 50))}")
    for key in SETS[1:]:
        data, contents = sets[key]
        found: dict[str, list[float]] = {}
        for seed in range(seeds):
            changed, rows = planted(data, seed)
            for method, ranked in rankings(changed, contents).items():
                hits = len(set(rows.tolist()) & set(ranked[: len(rows)])) / len(rows)
                found.setdefault(method, []).append(hits)
        print(f"{key[0]}, {SHARE:.0%} changed | share found within as many places")
        for method, hits in found.items():
            print(f"{method} | {np.mean(hits):.3f} ± {np.std(hits, ddof=1):.3f}", flush=True)


if __name__ == "__main__":
    main()
