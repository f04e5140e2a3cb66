"""Show 4: whether text and graphic measures help to find banners, on cars' decided rows.

Average precision of a linear head on the embedding alone, on the measures alone, and on both,
five-fold, grouped by duplicates; strength and the weight of the measures are chosen inside each
training part. Intervals are 95 %, bootstrap over duplicate groups; the difference is paired. Needs
LISTLENS_DATA and the extra `text`. Run: python benchmarks/banner.py
"""

from __future__ import annotations

import csv
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from listlens.backbones.registry import load_backbone
from listlens.duplicates.groups import duplicate_groups
from listlens.images.prepare import prepare
from listlens.images.text import TextReader
from listlens.metrics.classification import average_precisions
from listlens.metrics.intervals import Bootstrap

STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2)
WEIGHTS = (1.0, 3.0, 6.0)
"""Of the measures beside 1,280 numbers of the embedding, all standardised."""
N_FOLDS = 5
SEEDS = (0, 1, 2)
KINDS = ("embedding", "measures", "both")


def read() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, measures, whether there is a banner, and duplicate groups."""
    root = Path(os.environ["LISTLENS_DATA"]) / "cars"
    with (root / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["banner"]]
    backbone, reader = load_backbone("efficientnet-lite0"), TextReader()
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        files = [(root / row["image"]).read_bytes() for row in rows]
        readings = list(pool.map(reader.read, files))
    print(f"{len(rows)} photos read in {time.monotonic() - started:.0f} s")
    prepared = [prepare(data, backbone.preprocessing) for data in files]
    x = backbone.embed(np.stack([p.pixels for p in prepared])).astype(np.float32)
    phashes = np.array([p.measures.phash for p in prepared if p.measures], np.uint64)
    groups = duplicate_groups(np.arange(len(rows)), phashes, x)
    names = list(readings[0].measures)
    raw = np.array([[reading.measures[name] for name in names] for reading in readings])
    bounded = np.array([name != "n_words" for name in names])
    measures = np.where(bounded, np.sqrt(raw), np.log1p(raw))
    print(f"measures: {', '.join(names)}")
    return x, measures, np.array([int(row["banner"]) for row in rows]), np.asarray(groups)


def standardised(parts: list[tuple[np.ndarray, float]], a: np.ndarray, b: np.ndarray) -> list:
    """Rows a and b of the parts side by side, each standardised on a and weighted."""
    sides: tuple[list, list] = ([], [])
    for values, weight in parts:
        scaler = StandardScaler().fit(values[a])
        sides[0].append(weight * scaler.transform(values[a]))
        sides[1].append(weight * scaler.transform(values[b]))
    return [np.hstack(side) for side in sides]


def fitted(parts: list, y: np.ndarray, a: np.ndarray, b: np.ndarray, strength: float) -> np.ndarray:
    """Probability of a banner for rows b, learnt from rows a."""
    left, right = standardised(parts, a, b)
    model = LogisticRegression(C=strength, max_iter=500).fit(left, y[a])
    return model.predict_proba(right)[:, 1]


def out_of_fold(kind: str, x: np.ndarray, f: np.ndarray, y: np.ndarray, groups: np.ndarray, seed):
    """Scores of rows not seen; settings are chosen within each training part."""
    settings = {
        "embedding": [([(x, 1.0)], c) for c in STRENGTHS],
        "measures": [([(f, 1.0)], c) for c in (0.01, 0.1, 1.0)],
        "both": [([(x, 1.0), (f, w)], c) for c in STRENGTHS for w in WEIGHTS],
    }[kind]
    scores = np.zeros(len(y))
    outer = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for a, b in outer.split(x, y, groups):
        inner = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed + 100)
        splits = list(inner.split(x[a], y[a], groups[a]))

        def loss(setting, a=a, splits=splits) -> float:
            parts, c = setting
            return sum(log_loss(y[a[q]], fitted(parts, y, a[p], a[q], c)) for p, q in splits)

        parts, c = min(settings, key=loss)
        scores[b] = fitted(parts, y, a, b, c)
    return scores


def main() -> None:
    x, f, y, groups = read()
    print(f"{len(y)} rows, {y.sum()} with a banner, {len(set(groups.tolist()))} groups")
    draws = Bootstrap(groups)
    weights = np.concatenate(list(draws.blocks()))[:, draws.index]
    truth, one = y.astype(bool), np.ones((1, len(y)), np.float32)
    print("seed | embedding | measures alone | both | difference both - embedding")
    rows = []
    with threadpool_limits(1):
        for seed in SEEDS:
            scores = [out_of_fold(kind, x, f, y, groups, seed) for kind in KINDS]
            columns = [average_precisions(truth, s, np.vstack([one, weights])) for s in scores]
            rows.append(np.stack([*columns, columns[2] - columns[0]]))
            print(" | ".join([str(seed), *map(shown, rows[-1])]), flush=True)
    print(" | ".join(["mean", *map(shown, np.mean(rows, axis=0))]))


def shown(values: np.ndarray) -> str:
    """The value on all rows, which comes first, and the interval of the draws."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return f"{values[0]:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
