"""A category tree of 2,000 leaves, learnt from 150,000 embeddings: time, memory, folder, accuracy.

The embeddings are synthetic: each leaf is a cloud around the sum of its ancestors' directions, and
the noise is stronger in some directions than in others, as in real embeddings.

Usage: python benchmarks/large_tree.py [--photos 150000] [--leaves 2000] [--dim 1280]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from listlens.core.tree import SEPARATOR, Tree
from listlens.core.types import EmbeddingSpace, Preprocessing
from listlens.learn.dataset import TrainingSet
from listlens.learn.model import Model
from listlens.learn.recipe import train
from listlens.metrics.hierarchy import leaf_answers, overlap

WIDTHS = (20, 10)
"""Names at the top, and below each of them."""


def leaf_paths(n_leaves: int) -> list[str]:
    """Return paths of three levels."""
    tops, middles = WIDTHS
    each = -(-n_leaves // (tops * middles))
    names = [
        SEPARATOR.join((f"top {i}", f"middle {i}.{j}", f"leaf {i}.{j}.{k}"))
        for i in range(tops)
        for j in range(middles)
        for k in range(each)
    ]
    return names[:n_leaves]


def synthetic(n: int, n_leaves: int, dim: int, seed: int = 0) -> TrainingSet:
    """Return n photos, two a listing, one in twenty labelled with a node above its leaf."""
    rng = np.random.default_rng(seed)
    leaves = leaf_paths(n_leaves)
    tree = Tree.of(leaves)
    part = rng.normal(size=(len(tree.paths), dim)).astype(np.float32)
    means = np.stack([part[list(tree.lineage[i])].sum(axis=0) for i in tree.leaves])
    noise = (4.0 / (1 + np.arange(dim) / 60) ** 0.5 + 1.0).astype(np.float32)
    leaf = np.tile(rng.integers(0, n_leaves, -(-n // 2)), 2)[:n]
    embeddings = np.empty((n, dim), np.float32)
    for start in range(0, n, 4096):
        rows = slice(start, start + 4096)
        draw = rng.standard_normal((len(leaf[rows]), dim), dtype=np.float32)
        embeddings[rows] = means[leaf[rows]] + draw * noise
    nodes = np.array(tree.leaves)[leaf]
    shallow = rng.random(n) < 0.05
    nodes[shallow] = np.array(tree.parent)[nodes[shallow]]
    groups = np.arange(n) % -(-n // 2)
    return TrainingSet(
        kind="tree",
        classes=tree.paths,
        embeddings=embeddings,
        targets=nodes,
        groups=groups,
        listings=groups,
        given_split=np.full(n, "", "<U5"),
        names=tuple(map(str, range(n))),
    )


def main() -> None:
    """Train, save, measure; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=150_000)
    parser.add_argument("--leaves", type=int, default=2_000)
    parser.add_argument("--dim", type=int, default=1280)
    chosen = parser.parse_args()
    data = synthetic(chosen.photos, chosen.leaves, chosen.dim)
    started = time.monotonic()

    def say(phrase: str, share: float) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {phrase}", flush=True)

    trained = train(data, progress=say)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    space = EmbeddingSpace("synthetic", "0" * 64, "none", "none", "f32", chosen.dim)
    model = Model.from_trained(trained, space=space, preprocessing=Preprocessing())
    with tempfile.TemporaryDirectory() as name:
        model.save(Path(name) / "model")
        size = sum(f.stat().st_size for f in (Path(name) / "model").iterdir())
    tree = Tree.of(trained.classes)
    said = leaf_answers(tree.leaves, trained.oof_probs)
    common = overlap(tree.parent, said, trained.targets)
    right = [
        round(float((common.shared[common.true >= level] >= level).mean()), 4)
        for level in (1, 2, 3)
    ]
    given = trained.oof_decided.given.any(axis=1) & ~trained.oof_decided.review.any(axis=1)
    print(
        json.dumps(
            {
                "photos": chosen.photos,
                "leaves": chosen.leaves,
                "seconds": round(seconds, 1),
                "peak_gib": round(peak, 2),
                "folder_mb": round(size / 1e6, 1),
                "right_by_level": right,
                "answered": round(float(given.mean()), 4),
                "chosen": {k: trained.selection[k] for k in ("shrinkage", "leaning", "n_folds")},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
