"""What more labels would bring: heads trained on ever more listings, judged on the same others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from listlens.core.scale import scale_of
from listlens.evaluate.evaluation import METRICS
from listlens.evaluate.learning_curve import LearningCurve, learning_curve
from listlens.learn.candidates import Candidate
from listlens.learn.learner import Joint, Learner, candidate_of
from listlens.learn.objectives import outputs
from listlens.learn.recipe import encoded
from listlens.learn.trees import shape_of
from listlens.learn.usable import with_classes
from listlens.metrics.hierarchy import hierarchical_f1, leaf_answers
from listlens.metrics.ordinal import means, srcc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import Kind
    from listlens.learn.recipe import Trained
    from listlens.pipeline.dataset import Examples

MOST_CELLS = 20_000_000
"""Photos times classes beyond which the curve is not measured: it trains some twenty heads."""


def measure_learning_curve(examples: Examples, trained: Trained, seed: int) -> LearningCurve | None:
    """Train on ever more listings, measure on the same held-out ones; None where that is long."""
    data, kind, classes = examples.data, trained.kind, trained.classes
    if len(data.names) * len(classes) > MOST_CELLS:
        return None
    targets = trained.targets
    own = trained.protocol == "own split"
    held = (trained.split == "test") if own else (trained.fold == 0)
    rows = np.flatnonzero(trained.known & ~held)
    test = np.flatnonzero(trained.known & held)
    # A tree's model knows its leaves alone, and all its nodes were learnt; so were all steps.
    wanted = encoded(data if kind == "tree" else with_classes(data, classes))[0]
    best = candidate_of(trained.selection)
    strengths = (best.strength,) if isinstance(best, Candidate) else ()
    if isinstance(best, Joint):
        strengths = (best.logistic.strength,)
    learner = Learner(data.embeddings, wanted, targets, classes, strengths, centre=data.centre)

    def score(some: NDArray[np.int64]) -> float:
        if not _learnable(targets[some], kind, len(classes)) or not len(test):
            return float("nan")
        head = learner.fit(some, best, trained.fold)
        return _quick_score(head.logits(data.embeddings[test]), targets[test], kind, classes)

    with threadpool_limits(limits=1):  # these products are too small for BLAS threads to pay
        return learning_curve(rows, data.groups[rows], score, metric=METRICS[kind], seed=seed)


def _learnable(targets: NDArray[Any], kind: Kind, n_classes: int) -> bool:
    """Whether every class (multi: a yes and a no of it) is among the targets."""
    if kind == "single":
        return len(np.unique(targets)) == n_classes
    if kind in ("tree", "score"):
        return len(np.unique(targets, axis=0)) > 1
    return bool(((targets == 1).any(axis=0) & (targets == 0).any(axis=0)).all())


def _quick_score(
    logits: NDArray[np.floating], targets: NDArray[Any], kind: Kind, classes: tuple[str, ...]
) -> float:
    """The headline metric of the kind, without its interval."""
    if kind == "single":
        return float((logits.argmax(axis=1) == targets).mean())
    if kind == "tree":
        tree = shape_of(classes).tree
        return hierarchical_f1(tree.parent, leaf_answers(tree.leaves, logits), targets)
    if kind == "score":
        scale = scale_of(classes)
        return srcc(means(outputs(logits, kind), scale), means(targets, scale))
    from sklearn.metrics import average_precision_score

    scores = []
    for column in range(targets.shape[1]):
        known = targets[:, column] >= 0
        answers = targets[known, column]
        if answers.size and answers.min() < answers.max():
            scores.append(average_precision_score(answers, logits[known, column]))
    return float(np.mean(scores)) if scores else float("nan")
