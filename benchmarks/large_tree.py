"""A category tree of 2,000 leaves, learnt from 150,000 embeddings: time, memory, folder, accuracy.

The embeddings are synthetic: each leaf is a cloud around the sum of its ancestors' directions, and
the noise is stronger in some directions than in others, as in real embeddings.

With --judge the answers are also judged, kept beside the model, read back and judged again, as
`listlens train` and `evaluate` do.

Usage: python benchmarks/large_tree.py [--photos 150000] [--leaves 2000] [--dim 1280] [--judge]
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
from listlens.core.types import EmbeddingSpace, Preprocessing, Status
from listlens.labels.consensus import Label
from listlens.learn.dataset import TrainingSet
from listlens.learn.model import Model
from listlens.learn.recipe import Trained, train
from listlens.metrics.hierarchy import leaf_answers, overlap
from listlens.pipeline.dataset import Examples
from listlens.pipeline.heldout import FILE, Heldout
from listlens.pipeline.judging import Judged, judge
from listlens.pipeline.labelling import LabelledPhoto
from listlens.store.photo_rows import PhotoView

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


def examples_of(data: TrainingSet) -> Examples:
    """The same photos as the pipeline has them."""
    photos = [
        LabelledPhoto(
            PhotoView(i, str(group), name, None, name, Status.OK, None, "", i, name, None),
            Label((data.classes[node],), (), "no", (), 1.0, 1),
            "",
            "",
        )
        for i, (name, node, group) in enumerate(
            zip(data.names, data.targets.tolist(), data.groups.tolist(), strict=True)
        )
    ]
    return Examples(photos, data, data.targets, np.zeros(len(photos), np.bool_), "", [])


def judged_twice(data: TrainingSet, trained: Trained, folder: Path) -> dict[str, object]:
    """Headline and levels as trained, and as evaluated from what the folder keeps."""
    examples = examples_of(data)
    held = Heldout.from_trained(trained, list(range(len(data.names))))

    def numbers(judged: Judged) -> list[float]:
        found = judged.held_out.as_dict()
        decided = [found["backoff"][name] for name in ("answered", "error", "mean_depth")]
        return [round(float(v), 5) for v in (*found["level_accuracy"], *decided)]

    at_first = numbers(judge(examples, held, trained.classes, trained.policy, None))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    held.save(folder, "tree")
    held = Heldout.of(folder)
    again = numbers(judge(examples, held, trained.classes, trained.policy, None))
    return {
        "levels_answered_error_depth": at_first,
        "the_same_from_the_file": again,
        "judged_peak_gib": round(peak, 2),
        "heldout_mb": round((folder / FILE).stat().st_size / 1e6, 1),
    }


def main() -> None:
    """Train, save, measure; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=150_000)
    parser.add_argument("--leaves", type=int, default=2_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--judge", action="store_true")
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
        judged = judged_twice(data, trained, Path(name) / "model") if chosen.judge else {}
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
                **judged,
                "peak_with_all_gib": round(
                    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2
                ),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
