"""Judge a trained task on what it had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import TrainingError
from listlens.core.scale import scale_of
from listlens.core.tree import ancestors
from listlens.evaluate.evaluation import Predicted, evaluate, unscored
from listlens.evaluate.learning_curve import LearningCurve
from listlens.evaluate.scores import (
    AnyEvaluation,
    PredictedScores,
    ScoreEvaluation,
    evaluate_scores,
)
from listlens.evaluate.suspects import Suspect, Unsure, suspects, unsure
from listlens.evaluate.wording import METRIC_NAMES
from listlens.learn.dataset import known_rows
from listlens.learn.trees import shape_of
from listlens.pipeline.checks import Check, found
from listlens.pipeline.labelling import label_in_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import Estimate, Kind, Policy
    from listlens.learn.policies import Decided
    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.heldout import Heldout

N_SUSPECTS = 100
N_UNSURE = 24


@dataclass(frozen=True)
class Judged:
    """All that is known of how good a model is.

    Args:
        test: on the given test split; None where there was none, or none with a known answer.
        cross_validation: grouped five-fold over all photos that training had; of a fine-tuned
            network over those that it did not learn from.
        since: of photos labelled since the training, those that share no listing or picture with a
            photo trained on, by the model itself; None where there are none.
        suspects: labels most likely wrong, the likeliest first.
        unsure: photos whose answer is nearest to turning.
        curve: what more labels would bring; None where it was not measured.
        split: `(n,)` of the examples; `new` for those labelled since the training.
        checks: labelled photos that could not be scored, and why.
        all_folds: `cross_validation` is over all of them.
        kept_apart: where it is not, what it is over.
    """

    test: AnyEvaluation | None
    cross_validation: AnyEvaluation
    since: AnyEvaluation | None
    suspects: tuple[Suspect, ...]
    unsure: tuple[Unsure, ...]
    curve: LearningCurve | None
    split: NDArray[np.str_]
    checks: tuple[Check, ...] = ()
    all_folds: bool = True
    kept_apart: str = "listings kept apart from fine-tuning"

    @property
    def held_out(self) -> AnyEvaluation:
        """What the headline rests on: the test split, or else the five folds."""
        return self.test or self.cross_validation

    def metrics(self) -> dict[str, Any]:
        """The headline numbers, for the model's card."""
        name = self.held_out.metric
        return {
            part: {name: _estimate(evaluation.headline), "n": evaluation.n}
            for part, evaluation in (("test", self.test),
                                     ("cross_validation", self.cross_validation),
                                     ("labelled_since", self.since))
            if evaluation is not None
        }  # fmt: skip

    def summary(self, set_aside: dict[str, str]) -> dict[str, Any]:
        """The headline numbers, with sentences for a person."""
        five = "five folds" if self.all_folds else self.kept_apart
        lines = [_sentence(self.held_out, "its own test split" if self.test else five)]
        if self.test is not None:
            over = " over all labelled photos" if self.all_folds else ""
            lines.append(_sentence(self.cross_validation, five + over))
        if self.since is not None:
            lines.append(_sentence(self.since, "listings labelled since the training"))
        if self.suspects:
            lines.append(
                f"{len(self.suspects)} answers are not what the model expects: the report shows "
                "the likeliest wrong labels first."
            )
        if self.curve is not None:
            lines.append(self.curve.message)
        return {
            **self.metrics(),
            "n_suspects": len(self.suspects),
            "set_aside": set_aside,
            "lines": lines,
        }


def judge(
    examples: Examples,
    heldout: Heldout,
    classes: tuple[str, ...],
    policy: Policy,
    curve: LearningCurve | None,
    unjudged: Sequence[str] = (),
) -> Judged:
    """Score held-out probabilities against the labels as they are now.

    Args:
        examples: today's labelled photos.
        heldout: probabilities that training gave for photos it had not seen, or of photos that
            came later.
        classes: of the model, in the order of the probabilities.
        policy: thresholds, as shipped.
        curve: passed on.
        unjudged: classes that nothing could be held out of.

    Raises:
        TrainingError: no photo that training had has a known answer any more.
    """
    kind, data = examples.data.kind, examples.data
    rows = heldout.rows_of([p.photo.photo_pk for p in examples.photos])
    given = in_classes(kind, data.classes, classes, examples.given)
    heldout = heldout.at(rows)
    split = heldout.split
    held = _predicted(examples, classes, given, policy, heldout.probs, heldout.decided)
    folds = _predicted(examples, classes, given, policy, heldout.oof_probs, heldout.oof_decided)
    known = known_rows(kind, given)
    new, test = split == "new", split == "test"
    if not (known & ~new).any():
        raise TrainingError(
            "no photo of the last training has a label any more that the model knows, so nothing "
            "can be scored: train again"
        )
    seen = np.isin(data.groups, data.groups[~new & ~test])
    since = new & known & ~seen
    counted = heldout.counts & ~new
    return Judged(
        test=_test(held, split, data.groups) if (test & known).any() else None,
        cross_validation=_folds(folds.rows(counted), known[counted]),
        since=_evaluated(held.rows(since), train_targets=given[~new]) if since.any() else None,
        suspects=find_suspects(examples, classes, folds.probs, given),
        unsure=_unsure(examples, classes, held.probs, policy, heldout.counts, unjudged),
        curve=curve,
        split=split,
        checks=_unscored(data.names, new & known & seen, test & ~(test & known).any()),
        all_folds=bool(counted.sum() == (~new).sum()),
        kept_apart="classes of two or more listings" if unjudged else Judged.kept_apart,
    )


def _predicted(
    examples: Examples,
    classes: tuple[str, ...],
    given: NDArray[Any],
    policy: Policy,
    probs: NDArray[np.floating],
    decided: Decided,
) -> Predicted | PredictedScores:
    """Probabilities beside the labels, in the form that the kind is evaluated in."""
    kind, listings = examples.data.kind, examples.data.listings
    if kind == "score":
        return PredictedScores(
            classes, scale_of(classes), probs, given, listings, examples.n_votes()
        )
    tree = shape_of(classes).tree if kind == "tree" else None
    return Predicted(kind, classes, probs, given, listings, policy, decided, tree)


def _evaluated(predicted: Predicted | PredictedScores, **against: Any) -> AnyEvaluation:
    if isinstance(predicted, PredictedScores):
        return evaluate_scores(predicted, **against)
    return evaluate(predicted, **against)


def _folds(predicted: Predicted | PredictedScores, known: NDArray[np.bool_]) -> AnyEvaluation:
    """The evaluation of what was held out in folds, where anything was."""
    if isinstance(predicted, Predicted) and not known.any():
        return unscored(predicted)
    return _evaluated(predicted)


def _test(
    held: Predicted | PredictedScores, split: NDArray[np.str_], groups: NDArray[np.int64]
) -> AnyEvaluation:
    """The evaluation on the given test split, with and without leaking photos."""
    rows, trained = split == "test", np.isin(split, ("train", "val"))
    leaking = np.isin(groups, groups[trained])
    return _evaluated(held.rows(rows), train_targets=held.targets[trained], leaking=leaking[rows])


def _unsure(
    examples: Examples,
    classes: tuple[str, ...],
    probs: NDArray[np.floating],
    policy: Policy,
    counts: NDArray[np.bool_],
    unjudged: Sequence[str],
) -> tuple[Unsure, ...]:
    """Photos nearest to turning, without those that the very model learnt from."""
    kind = examples.data.kind
    rows = np.flatnonzero(counts if unjudged else np.ones(len(probs), np.bool_))
    return unsure(
        kind,
        classes,
        probs[rows],
        [examples.data.names[i] for i in rows],
        policy,
        given=[label_in_words(kind, examples.photos[i].label) for i in rows],
        limit=N_UNSURE,
        scale=scale_of(classes) if kind == "score" else (),
    )


def find_suspects(
    examples: Examples,
    classes: tuple[str, ...],
    probs: NDArray[np.floating],
    given: NDArray[Any],
    limit: int = N_SUSPECTS,
) -> tuple[Suspect, ...]:
    """Labels most likely wrong, the likeliest first; see `listlens.evaluate.suspects`.

    Args:
        examples: today's labelled photos.
        classes: of the model.
        probs: `(n, k)` out of fold.
        given: `Examples.given` in terms of the model.
        limit: how many at most.
    """
    kind = examples.data.kind
    return suspects(
        kind,
        classes,
        probs,
        given,
        examples.data.names,
        [p.photo.sha256 or "" for p in examples.photos],
        limit=limit,
        tree=shape_of(classes).tree if kind == "tree" else None,
        scale=scale_of(classes) if kind == "score" else (),
        weights=examples.n_votes() if kind == "score" else None,
    )


def _unscored(
    names: Sequence[str], after_training: NDArray[np.bool_], unknown_test: NDArray[np.bool_]
) -> tuple[Check, ...]:
    """Labelled photos left out of the score."""
    after = [name for name, left in zip(names, after_training, strict=True) if left]
    test = [name for name, left in zip(names, unknown_test, strict=True) if left]
    return (
        *found("labelled_since_of_trained", "note", "Photos labelled since the training whose "
               "listing or picture was trained on: {n}. They are not scored, since the model has "
               "in effect seen them. Train again to use them.", after),
        *found("test_without_known", "warning", "Photos of the given test split: {n}, none with a "
               "class that was learned. The numbers are of the five folds instead.", test),
    )  # fmt: skip


def in_classes(
    kind: Kind, before: Sequence[str], after: Sequence[str], given: NDArray[Any]
) -> NDArray[Any]:
    """Re-index targets from the task's classes to those of a model; others are unknown.

    Args:
        kind: of the task.
        before: classes of `given`; tree: all its nodes.
        after: of the model; tree: its leaves, and the result are nodes of the tree they make. A
            node below one of these leaves, which the task has grown since, counts as the leaf.
        given: as `Examples.given`.
    """
    if kind in ("single", "tree"):
        where = _nodes_in(before, after) if kind == "tree" else _indices_in(before, after)
        indexed: NDArray[np.integer] = np.array([*where, -1])[given]
        return indexed
    column = {name: i for i, name in enumerate(before)}
    if kind == "score":
        shares = given[:, [column[name] for name in after if name in column]]
        left_out = ~(shares.sum(axis=1) > 1 - 1e-3)  # votes on a step that the model has not
        return np.where(left_out[:, None] | (shares.shape[1] < len(after)), np.nan, shares)
    missing = np.full(len(given), -1, np.int8)
    columns = [given[:, column[name]] if name in column else missing for name in after]
    return np.stack(columns, axis=1)


def _indices_in(before: Sequence[str], after: Sequence[str]) -> list[int]:
    where = {name: i for i, name in enumerate(after)}
    return [where.get(name, -1) for name in before]


def _nodes_in(before: Sequence[str], leaves: Sequence[str]) -> list[int]:
    """The node of the model's tree that each node of the task's is, -1 for one it has not."""
    tree = shape_of(tuple(leaves)).tree
    ends = set(leaves)
    found = []
    for path in before:
        line = ancestors(path)
        leaf = next((node for node in line if node in ends), path)
        found.append(tree.index.get(leaf, -1))
    return found


def _estimate(value: Estimate | None) -> dict[str, Any] | None:
    return None if value is None else {k: round(v, 6) for k, v in value.as_dict().items()}


def _sentence(evaluation: AnyEvaluation, where: str) -> str:
    """The headline with its interval and the baseline, in words."""
    value = evaluation.headline
    if not evaluation.n:
        return "Nothing could be held out, so how good it is nobody knows."
    if value is None:
        return f"Too few answers to score on {where}."
    return (
        f"{METRIC_NAMES[evaluation.metric]} {value.value:.3f} (95 % interval {value.low:.3f} to "
        f"{value.high:.3f}) on {evaluation.n} photos of {where}{_baseline(evaluation)}."
    )


def _baseline(evaluation: AnyEvaluation) -> str:
    """What the simplest thing there is would reach."""
    if isinstance(evaluation, ScoreEvaluation):
        mae, usual = evaluation.mae, evaluation.baseline_mae
        if mae is None or usual is None:
            return ""
        return (
            f"; its mean is off by {mae.value:.2f}, {evaluation.baseline_name} would be off by "
            f"{usual.value:.2f}"
        )
    baseline = evaluation.baseline
    return "" if baseline is None else f"; {evaluation.baseline_name}: {baseline.value:.3f}"
