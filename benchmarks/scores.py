"""Scores on real ratings: our head against ridge regression on the same embeddings, and a NIMA.

On `aesthetic_thumbs` with its vote counts, five-fold. The column `nima_aesthetic_pred` of that set
is what its authors' NIMA said of the whole photos, of which we see 80 px crops. Ridge regression is
fitted on standardised embeddings in the same folds, its strength chosen inside each.

Usage: LISTLENS_DATA=... python benchmarks/scores.py PROJECT
    PROJECT: what `listlens auto aesthetic_thumbs aesthetic_thumbs/labels.csv --kind score
    --scale 1:5 --map count=num_ratings` left.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import listlens
from listlens.core.scale import scale_of
from listlens.learn.recipe import train
from listlens.metrics.ordinal import lcc, means, srcc
from listlens.pipeline.dataset import build_examples

N_DRAWS = 2000


def main() -> None:
    """Compare; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    with listlens.open(parser.parse_args().project) as opened:
        task = opened.store.labels.task("label")
        data = build_examples(opened.store, task, opened.backbone.space).data
    trained = train(data)
    scale = scale_of(trained.classes)
    given, ours = means(data.targets, scale), means(trained.oof_probs, scale)
    ridge = np.zeros(len(given))
    for fold in np.unique(trained.fold):
        rows, held = trained.fold != fold, trained.fold == fold
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 5, 9)))
        ridge[held] = model.fit(data.embeddings[rows], given[rows]).predict(data.embeddings[held])
    table = Path(os.environ["LISTLENS_DATA"]) / "aesthetic_thumbs" / "labels.csv"
    with table.open(encoding="utf-8") as file:
        nima = {r["image"]: float(r["nima_aesthetic_pred"] or "nan") for r in csv.DictReader(file)}
    others = {"ridge": ridge, "nima on whole photos": np.array([nima[n] for n in data.names])}
    rng = np.random.default_rng(0)
    groups = np.unique(data.listings, return_inverse=True)[1]
    members = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    draws = [
        np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        for _ in range(N_DRAWS)
    ]

    def interval(values: list[float]) -> list[float]:
        return [round(float(x), 4) for x in np.quantile(values, (0.025, 0.975))]

    found: dict[str, object] = {"n": len(given)}
    for name, said in {"listlens": ours, **others}.items():
        found[name] = {
            "srcc": round(srcc(said, given), 4),
            "interval": interval([srcc(said[d], given[d]) for d in draws]),
            "lcc": round(lcc(said, given), 4),
        }
    for name, said in others.items():
        gaps = [srcc(ours[d], given[d]) - srcc(said[d], given[d]) for d in draws]
        gap = srcc(ours, given) - srcc(said, given)
        found[f"listlens less {name}"] = {"srcc": round(gap, 4), "interval": interval(gaps)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
