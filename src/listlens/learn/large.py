"""Trees with very many photos and leaves: what the usual recipe does, within minutes and memory.

The head is a linear discriminant, which needs nothing but sums over photos. Probabilities are
worked out block by block and kept in half precision: photos times leaves are more than memory takes
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.types import Policy
from listlens.learn.calibration import Calibration, fit_calibration
from listlens.learn.dataset import TrainingSet
from listlens.learn.discriminant import (
    Setting,
    Sums,
    added,
    blocks,
    discriminant,
    sums_of,
)
from listlens.learn.heads import Floats, Head
from listlens.learn.objectives import Targets, losses
from listlens.learn.policies import Decided, answers, choose_policy
from listlens.learn.trees import Shape, in_leaf_order

MOST_CELLS = 30_000_000
"""Photos times leaves that the usual recipe takes on: 20 candidates' logits of them are 2.4 GB."""

TRIED = [Setting(shrinkage, leaning) for shrinkage in (0.1, 0.6) for leaning in (4.0, 16.0)]
"""Fewer settings than a small tree tries: each costs a discriminant a fold."""

N_CHOOSING = 4_000
"""Held-out photos that settings, calibration and threshold are chosen on: so few numbers need no
more."""


@dataclass(frozen=True)
class LargeFit:
    """What `train_large` gives, as in `recipe.Trained`; probabilities are float16."""

    classes: tuple[str, ...]
    targets: NDArray[np.int64]
    head: Head
    calibration: Calibration
    policy: Policy
    oof_probs: NDArray[np.float16]
    oof_decided: Decided
    selection: dict[str, Any]


def is_large(data: TrainingSet) -> bool:
    """Whether a set is a tree with more photos times nodes than MOST_CELLS."""
    return data.kind == "tree" and len(data.names) * len(data.classes) > MOST_CELLS


def train_large(
    data: TrainingSet, fold: NDArray[np.int64], target: str, say: Callable[[str, float], None]
) -> LargeFit:
    """Learn a large tree.

    Unlike in the usual recipe the two settings of the discriminant are chosen on all folds
    together: two numbers, on thousands of photos. Calibration and threshold of a fold are not.

    Args:
        data: as `recipe.train` takes it; weights are not used.
        fold: `(n,)`; rows with -1 are held out from everything, and get their probabilities from
            the shipped head.
        target: of the policy.
        say: called with a phrase and the share done.
    """
    shape, nodes = in_leaf_order(data)
    folds = np.unique(fold[fold >= 0]).tolist()
    say("adding up", 0.05)
    sums = {f: sums_of(data.embeddings, nodes, np.flatnonzero(fold == f), shape) for f in folds}
    everything = added(list(sums.values()))
    say("choosing the regularisation", 0.4)
    labelled = np.flatnonzero((fold >= 0) & (nodes >= 0))
    tried = _Tried(data.embeddings, nodes, fold, shape, labelled)
    scores, logits = tried.scores(everything, sums, TRIED)
    best = int(scores.argmin())
    say("fitting the head", 0.7)
    head = _halved(discriminant(everything, shape.tree, TRIED[best]))
    say("out-of-fold probabilities", 0.75)
    probs = np.zeros((len(nodes), len(shape.tree.leaves)), np.float16)
    decided = Decided(np.zeros(probs.shape, np.bool_), np.zeros(probs.shape, np.bool_))
    for f in folds:
        # Calibration and threshold of a fold are those of the other folds.
        judge = tried.judge(logits, target, without=f)
        mine = discriminant(everything.less(sums[f]), shape.tree, TRIED[best])
        judge.answer(mine, data.embeddings, np.flatnonzero(fold == f), probs, decided)
    shipped = tried.judge(logits, target)
    shipped.answer(head, data.embeddings, np.flatnonzero(fold < 0), probs, decided)
    return LargeFit(
        shipped.classes, nodes, head, shipped.calibration, shipped.policy, probs, decided,
        {
            **TRIED[best].record(),
            "n_folds": len(folds),
            "n_train": len(labelled),
            "target": target,
            "tried": [
                {**setting.record(), "loss": round(float(score), 6)}
                for setting, score in zip(TRIED, scores, strict=True)
            ],
        },
    )  # fmt: skip


class _Tried:
    """Settings tried on some labelled rows, each answered by a head that had not seen its fold."""

    def __init__(
        self,
        embeddings: Floats,
        nodes: NDArray[np.int64],
        fold: NDArray[np.int64],
        shape: Shape,
        labelled: NDArray[np.int64],
    ) -> None:
        self.rows = labelled[:: max(1, -(-len(labelled) // N_CHOOSING))]
        self.fold, self.nodes = fold[self.rows], nodes[self.rows]
        self.x, self.shape = embeddings[self.rows], shape
        yes = shape.under[self.nodes].astype(np.float32)
        self.targets = Targets(yes, np.ones((len(yes), 1), np.float32), "tree")

    def scores(
        self, everything: Sums, sums: dict[int, Sums], settings: Sequence[Setting]
    ) -> tuple[NDArray[np.float64], Floats]:
        """Calibrated mean loss of each setting, and the logits `(m, k)` of the best."""
        found: list[float] = []
        best, kept = np.inf, self.targets.yes
        rest = {f: everything.less(part) for f, part in sums.items()}
        for setting in settings:
            logits = np.empty(self.targets.yes.shape, np.float32)
            for f, part in rest.items():
                mine = self.fold == f
                logits[mine] = quick_logits(discriminant(part, self.shape.tree, setting),
                                            self.x[mine])  # fmt: skip
            slope = fit_calibration(logits, self.targets).slope
            found.append(float(losses(logits * slope, self.targets).mean()))
            if found[-1] < best:
                best, kept = found[-1], logits
        return np.array(found), kept

    def judge(self, logits: Floats, target: str, without: int | None = None) -> _Judge:
        """Calibration and policy by these rows, or by those of all folds but one."""
        some = np.flatnonzero(self.fold != (-1 if without is None else without))
        calibration = fit_calibration(logits[some], self.targets.rows(some))
        probs = calibration.probs(logits[some], "tree")
        classes = tuple(self.shape.tree.paths[i] for i in self.shape.tree.leaves)
        policy = choose_policy(probs, self.nodes[some], "tree", target, classes)
        return _Judge(classes, calibration, policy)


@dataclass(frozen=True)
class _Judge:
    """Makes answers of logits."""

    classes: tuple[str, ...]
    calibration: Calibration
    policy: Policy

    def answer(
        self,
        head: Head,
        embeddings: Floats,
        rows: NDArray[np.int64],
        probs: NDArray[np.float16],
        decided: Decided,
    ) -> None:
        """Write probabilities and decisions of these rows."""
        for at in blocks(len(rows)):
            here = rows[at]
            found = self.calibration.probs(quick_logits(head, embeddings[here]), "tree")
            said = answers(found, self.policy, "tree", self.classes)
            probs[here] = found
            decided.given[here], decided.review[here] = said.given, said.review


def _halved(head: Head) -> Head:
    """The head with weights that half precision holds exactly, so that its file is small."""
    if np.abs(head.weights).max() > np.finfo(np.float16).max:
        return head
    return Head(head.weights.astype(np.float16).astype(np.float32), head.bias)


def quick_logits(head: Head, embeddings: Floats) -> Floats:
    """In float32: several times as fast as `Head.logits`, which a photo alone is equal to."""
    return np.asarray(embeddings @ head.weights.T + head.bias, dtype=np.float32)
