"""Judge a trained task on what it had not seen, and write the report of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from listlens.core.errors import InputError, PhotoError, TrainingError
from listlens.evaluate.evaluation import Evaluation, Predicted, evaluate
from listlens.evaluate.learning_curve import LearningCurve, learning_curve
from listlens.evaluate.pdf import renew_pdf
from listlens.evaluate.report import ReportData, write_report
from listlens.evaluate.suspects import Suspect, Unsure, suspects, unsure
from listlens.explain.heatmaps import class_activation, contrast, overlay
from listlens.images.decode import Limits
from listlens.learn.heads import fit
from listlens.learn.objectives import balanced, encode
from listlens.pipeline.checks import Check, found
from listlens.pipeline.contents import THUMBNAIL_PX, prepare_bytes, read_file
from listlens.pipeline.labelling import label_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Estimate, Kind, Policy
    from listlens.learn.model import Model
    from listlens.learn.recipe import Trained
    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.heldout import Heldout
    from listlens.store.models import ModelView
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

N_SUSPECTS = 100
N_UNSURE = 24


@dataclass(frozen=True)
class Judged:
    """All that is known of how good a model is.

    Args:
        test: on the given test split; None where there was none, or none with a known answer.
        cross_validation: grouped five-fold over all photos that training had.
        since: of photos labelled since the training, those that share no listing or picture with a
            photo trained on, by the model itself; None where there are none.
        suspects: labels most likely wrong, the likeliest first.
        unsure: photos whose answer is nearest to turning.
        curve: what more labels would bring; None where it was not measured.
        split: `(n,)` of the examples; `new` for those labelled since the training.
        checks: labelled photos that could not be scored, and why.
    """

    test: Evaluation | None
    cross_validation: Evaluation
    since: Evaluation | None
    suspects: tuple[Suspect, ...]
    unsure: tuple[Unsure, ...]
    curve: LearningCurve | None
    split: NDArray[np.str_]
    checks: tuple[Check, ...] = ()

    @property
    def held_out(self) -> Evaluation:
        """What the headline rests on: the test split, or else the five folds."""
        return self.test or self.cross_validation

    def metrics(self) -> dict[str, Any]:
        """The headline numbers, for the model's card."""
        name = "accuracy" if self.held_out.kind == "single" else "macro_ap"
        return {
            part: {name: _estimate(evaluation.headline), "n": evaluation.n}
            for part, evaluation in (("test", self.test),
                                     ("cross_validation", self.cross_validation),
                                     ("labelled_since", self.since))
            if evaluation is not None
        }  # fmt: skip

    def summary(self, set_aside: dict[str, str]) -> dict[str, Any]:
        """The headline numbers, with sentences for a person."""
        lines = [_sentence(self.held_out, "its own test split" if self.test else "five folds")]
        if self.test is not None:
            lines.append(_sentence(self.cross_validation, "five folds over all labelled photos"))
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
) -> Judged:
    """Score held-out probabilities against the labels as they are now.

    Args:
        examples: today's labelled photos.
        heldout: probabilities that training gave for photos it had not seen, or of photos that
            came later.
        classes: of the model, in the order of the probabilities.
        policy: thresholds, as shipped.
        curve: passed on.

    Raises:
        TrainingError: no photo that training had has a known answer any more.
    """
    kind, data = examples.data.kind, examples.data
    pks = [p.photo.photo_pk for p in examples.photos]
    rows = heldout.rows_of(pks)
    given = in_classes(kind, data.classes, classes, examples.given)
    split = heldout.split[rows]
    probs, oof = heldout.probs[rows], heldout.oof_probs[rows]
    decided, oof_decided = heldout.decided.rows(rows), heldout.oof_decided.rows(rows)
    held = Predicted(kind, classes, probs, given, data.listings, policy, decided)
    folds = Predicted(kind, classes, oof, given, data.listings, policy, oof_decided)
    known = given >= 0 if kind == "single" else (given >= 0).any(axis=1)
    new, test = split == "new", split == "test"
    if not (known & ~new).any():
        raise TrainingError(
            "no photo of the last training has a label any more that the model knows, so nothing "
            "can be scored: train again"
        )
    seen = np.isin(data.groups, data.groups[~new & ~test])
    since = new & known & ~seen
    return Judged(
        test=_test(held, split, data.groups) if (test & known).any() else None,
        cross_validation=evaluate(folds.rows(~new)),
        since=evaluate(held.rows(since), train_targets=given[~new]) if since.any() else None,
        suspects=suspects(
            kind,
            classes,
            oof,
            given,
            data.names,
            [p.photo.sha256 or "" for p in examples.photos],
            limit=N_SUSPECTS,
        ),
        unsure=unsure(
            kind,
            classes,
            probs,
            data.names,
            policy,
            given=[label_text(kind, p.label) for p in examples.photos],
            limit=N_UNSURE,
        ),
        curve=curve,
        split=split,
        checks=_unscored(data.names, new & known & seen, test & ~(test & known).any()),
    )


def _test(held: Predicted, split: NDArray[np.str_], groups: NDArray[np.int64]) -> Evaluation:
    """The evaluation on the given test split, with and without leaking photos."""
    rows, trained = split == "test", np.isin(split, ("train", "val"))
    leaking = np.isin(groups, groups[trained])
    return evaluate(held.rows(rows), train_targets=held.targets[trained], leaking=leaking[rows])


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
    kind: Kind, before: Sequence[str], after: Sequence[str], given: NDArray[np.integer]
) -> NDArray[np.integer]:
    """Re-index targets from the task's classes to those of a model; others are unknown (-1)."""
    where = {name: i for i, name in enumerate(after)}
    if kind == "single":
        table: NDArray[np.integer] = np.array([where.get(c, -1) for c in before] + [-1])
        indexed: NDArray[np.integer] = table[given]
        return indexed
    column = {name: i for i, name in enumerate(before)}
    missing = np.full(len(given), -1, np.int8)
    columns = [given[:, column[name]] if name in column else missing for name in after]
    return np.stack(columns, axis=1)


def measure_learning_curve(examples: Examples, trained: Trained, seed: int) -> LearningCurve:
    """Train on ever more listings and measure on the same held-out ones."""
    targets, data = trained.targets, examples.data
    labelled = targets >= 0 if trained.kind == "single" else (targets >= 0).any(axis=1)
    own = trained.protocol == "own split"
    held = (trained.split == "test") if own else (trained.fold == 0)
    rows = np.flatnonzero(labelled & ~held)
    test = np.flatnonzero(labelled & held)
    encoded = encode(targets, len(trained.classes), trained.kind)
    strength = float(trained.selection["C"])
    weigh = balanced if trained.selection["class_weight"] == "balanced" else (lambda same: same)

    def score(some: NDArray[np.int64]) -> float:
        if not _learnable(targets[some], trained.kind, len(trained.classes)) or not len(test):
            return float("nan")
        head = fit(data.embeddings[some], weigh(encoded.rows(some)), [strength])
        return _quick_score(head.logits(data.embeddings[test]), targets[test], trained.kind)

    metric = "accuracy" if trained.kind == "single" else "macro_ap"
    with threadpool_limits(limits=1):  # these products are too small for BLAS threads to pay
        return learning_curve(rows, data.groups[rows], score, metric=metric, seed=seed)


def _learnable(targets: NDArray[np.integer], kind: Kind, n_classes: int) -> bool:
    """Whether every class (multi: a yes and a no of it) is among the targets."""
    if kind == "single":
        return len(np.unique(targets)) == n_classes
    return bool(((targets == 1).any(axis=0) & (targets == 0).any(axis=0)).all())


def _quick_score(logits: NDArray[np.floating], targets: NDArray[np.integer], kind: Kind) -> float:
    """Accuracy, or macro average precision over the classes with a known yes and no."""
    if kind == "single":
        return float((logits.argmax(axis=1) == targets).mean())
    from sklearn.metrics import average_precision_score

    scores = []
    for column in range(targets.shape[1]):
        known = targets[:, column] >= 0
        answers = targets[known, column]
        if answers.size and answers.min() < answers.max():
            scores.append(average_precision_score(answers, logits[known, column]))
    return float(np.mean(scores)) if scores else float("nan")


def write_task_report(
    store: Store,
    examples: Examples,
    judged: Judged,
    model: Model,
    record: ModelView,
    backbone: Backbone,
    checks: Sequence[Check],
    reports: Path,
    pdf: bool = False,
) -> dict[str, str]:
    """Write report.html, report.json and perhaps report.pdf; return name to path."""
    html, as_json = reports / "report.html", reports / "report.json"
    photos = {p.photo.photo_id: p.photo for p in examples.photos}
    shown = _Pictures(store, photos, model, backbone)
    data = ReportData(
        title=model.task,
        kind=model.kind,
        classes=model.classes,
        checks=[check.as_dict() for check in checks],
        n_photos=len(examples.photos),
        n_listings=len(np.unique(examples.data.listings)),
        test=judged.test,
        cross_validation=judged.cross_validation,
        suspects=judged.suspects,
        unsure=judged.unsure,
        learning_curve=judged.curve,
        set_aside=dict(model.training.get("set_aside", {})),
        model=_facts(model, record) | {"labels": examples.fingerprint},
        created=model.created,
    )
    pictures = {"thumbnail": cache(shown.thumbnail), "heatmap": cache(shown.heatmap)}
    write_report(html, as_json, data, **pictures)
    files = {"report": str(html), "report as JSON": str(as_json)}
    return files | renew_pdf(html, data, pdf, **pictures)


def _facts(model: Model, record: ModelView) -> dict[str, Any]:
    """How the model was made, for the end of the report."""
    return {
        "task": model.task,
        "version": record.version,
        "folder": record.folder,
        "sha256": record.sha256,
        "backbone": model.space.backbone,
        "engine": model.space.engine,
        "precision": model.space.precision,
        "preprocessing": model.space.preprocessing,
        "taxonomy_version": model.taxonomy_version,
        "fingerprint": model.fingerprint,
        "created": model.created,
        "policy": {"target": model.policy.target, "thresholds": dict(
            zip(model.classes, model.policy.thresholds, strict=True))},
        **dict(model.training),
    }  # fmt: skip


class _Pictures:
    """Thumbnails and heat-maps of photos by their id, made when the report asks for them."""

    def __init__(
        self, store: Store, photos: dict[str, PhotoView], model: Model, backbone: Backbone
    ) -> None:
        self._store, self._photos, self._model, self._backbone = store, photos, model, backbone

    def thumbnail(self, name: str) -> bytes | None:
        """The stored thumbnail, or one made from the original where it is still there."""
        photo = self._photos.get(name)
        if photo is None or photo.sha256 is None:
            return None
        return self._store.thumbnails.get(photo.sha256) or self._prepared(photo, "thumbnail")

    def heatmap(self, name: str) -> bytes | None:
        """The thumbnail with what speaks for the likeliest class tinted."""
        photo, thumbnail = self._photos.get(name), self.thumbnail(name)
        pixels = self._prepared(photo, "pixels") if photo is not None else None
        if thumbnail is None or pixels is None:
            return None
        try:
            features = self._backbone.feature_maps(pixels[None])[0]
        except InputError:  # an own backbone that offers none: the photo goes without
            return None
        logits = self._model.head.logits(features.mean(axis=(1, 2))[None])[0]
        best = int(np.argmax(logits))
        weights = self._model.head.weights
        chosen = contrast(weights, best) if self._model.kind == "single" else weights[best]
        return overlay(thumbnail, class_activation(features, chosen))

    def _prepared(self, photo: PhotoView, part: str) -> Any:
        """One part of the prepared photo; None where its file is gone or changed."""
        read = read_file(photo.location, Limits())
        if read.error is not None or read.sha256 != photo.sha256:
            return None
        prepared = prepare_bytes(
            read.data,
            self._backbone.preprocessing,
            Limits(),
            thumbnail_px=THUMBNAIL_PX,
            measure=False,
        )
        return None if isinstance(prepared, PhotoError) else getattr(prepared, part)


def _estimate(value: Estimate | None) -> dict[str, Any] | None:
    return None if value is None else {k: round(v, 6) for k, v in value.as_dict().items()}


def _sentence(evaluation: Evaluation, where: str) -> str:
    """The headline with its interval and the baseline, in words."""
    value, baseline = evaluation.headline, evaluation.baseline
    if value is None:
        return f"Too few answers to score on {where}."
    name = "Accuracy" if evaluation.kind == "single" else "Macro average precision"
    floor = "" if baseline is None else f"; {evaluation.baseline_name}: {baseline.value:.3f}"
    return (
        f"{name} {value.value:.3f} (95 % interval {value.low:.3f} to {value.high:.3f}) on "
        f"{evaluation.n} photos of {where}{floor}."
    )
