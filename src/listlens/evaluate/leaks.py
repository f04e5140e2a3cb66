"""Photos of a given test split that were in effect trained on: numbers with and without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from listlens.evaluate.plain import plain

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from listlens.evaluate.evaluation import Evaluation
    from listlens.evaluate.scores import ScoreEvaluation

E = TypeVar("E", "Evaluation", "ScoreEvaluation")


def with_and_without(
    judged: Callable[[NDArray[np.bool_]], E], keep: NDArray[np.bool_], leaking: ArrayLike | None
) -> E:
    """Judge photos, and again without those that leak.

    Args:
        judged: evaluates some of the photos that are kept, given as a mask.
        keep: `(n,)` photos with a known answer.
        leaking: `(n,)` photos whose group was also trained on; None: none.

    Returns:
        The evaluation of all that are kept. Where some leak, it has their number, and the
        evaluation of the others where there are any.
    """
    kept = int(keep.sum())
    result = judged(np.ones(kept, np.bool_))
    mask = np.zeros(kept, np.bool_) if leaking is None else np.asarray(leaking, np.bool_)[keep]
    if not mask.any():
        return result
    clean = None if mask.all() else judged(~mask)
    return replace(result, n_leaking=int(mask.sum()), without_leaks=clean)


def leaks_as_dict(evaluation: Evaluation | ScoreEvaluation) -> dict[str, Any]:
    """What report.json says of the leaks; empty where there are none, or nothing else."""
    clean = evaluation.without_leaks
    if clean is None:
        return {}
    without = {"n": clean.n, evaluation.metric: plain(clean.headline)}
    return {"leaking": {"n": evaluation.n_leaking, "without": without}}
