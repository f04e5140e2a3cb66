"""The report of a trained task: what was judged, pictures, facts of the model, all findings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import PhotoError
from listlens.evaluate.pdf import renew_pdf
from listlens.evaluate.report import ReportData, write_report
from listlens.explain.asked import quick_map
from listlens.explain.heatmaps import overlay
from listlens.explain.pictures import seen_part
from listlens.explain.target import target_of
from listlens.pipeline.contents import THUMBNAIL_PX, prepare_bytes, read_file
from listlens.pipeline.explaining import asked_of
from listlens.pipeline.places import place_photos

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.evaluate.robustness import Robustness
    from listlens.evaluate.scores import ScoredPhoto
    from listlens.images.decode import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.checks import Check
    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.heldout import Heldout
    from listlens.pipeline.judging import Judged
    from listlens.store.models import ModelView
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

TOLD_APART = ("fine_tuning", "search")
"""Of how a model was trained, what has a section of its own."""

MOST_PLACES = 200
"""Photos of a score task that report.json names at either end; predictions.csv has them all."""


def write_task_report(
    store: Store,
    examples: Examples,
    judged: Judged,
    heldout: Heldout,
    model: Model,
    record: ModelView,
    backbone: Backbone,
    checks: Sequence[Check],
    reports: Path,
    limits: Limits,
    pdf: bool = False,
    robustness: Robustness | None = None,
) -> dict[str, str]:
    """Write report.html, report.json and perhaps report.pdf; return name to path."""
    html, as_json = reports / "report.html", reports / "report.json"
    placed = _placed(store, examples, heldout, model) if model.kind == "score" else ()
    scored = placed if len(placed) <= 2 * MOST_PLACES else _both_ends(placed)
    photos = _by_name(store, examples, scored)
    shown = _Pictures(store, photos, model, backbone, limits)
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
        scored=scored,
        search=model.training.get("search", {}),
        fine_tuning=model.training.get("fine_tuning", {}),
        n_ranked=len(placed),
        robustness=robustness,
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
        "policy": _policy(model),
        **{k: v for k, v in model.training.items() if k not in TOLD_APART},
    }  # fmt: skip


def _policy(model: Model) -> dict[str, Any]:
    """What is decided, and from where on; the nodes of a tree have one threshold together."""
    if model.kind == "score":
        return {}
    thresholds = model.policy.thresholds
    if model.kind == "tree":
        return {"target": model.policy.target, "threshold": thresholds[0]}
    named = dict(zip(model.classes, thresholds, strict=True))
    return {"target": model.policy.target, "thresholds": named}


def _placed(
    store: Store, examples: Examples, heldout: Heldout, model: Model
) -> tuple[ScoredPhoto, ...]:
    """The photos of the shop in the order of their places, the best first."""

    def answers(content_ids: Sequence[int]) -> dict[int, Any]:
        absent = set(store.vectors.missing(model.space, content_ids))
        there = [content_id for content_id in content_ids if content_id not in absent]
        found = model.probs(store.vectors.get(model.space, there))
        return dict(zip(there, found, strict=True))

    pks = [p.photo.photo_pk for p in examples.photos]
    given = dict(zip(pks, examples.given, strict=True))
    return tuple(place_photos(store, model.classes, answers, heldout, given).values())


def _both_ends(placed: tuple[ScoredPhoto, ...]) -> tuple[ScoredPhoto, ...]:
    return placed[:MOST_PLACES] + placed[-MOST_PLACES:]


def _by_name(
    store: Store, examples: Examples, scored: Sequence[ScoredPhoto]
) -> dict[str, PhotoView]:
    """The photos that the report may show, by their id."""
    found = {p.photo.photo_id: p.photo for p in examples.photos}
    others = [photo.image for photo in scored if photo.image not in found]
    return found | {name: views[0] for name, views in store.photos.by_photo_id(others).items()}


class _Pictures:
    """Thumbnails and heat-maps of photos by their id, made when the report asks for them."""

    def __init__(
        self,
        store: Store,
        photos: dict[str, PhotoView],
        model: Model,
        backbone: Backbone,
        limits: Limits,
    ) -> None:
        self._store, self._photos, self._backbone = store, photos, backbone
        self._limits = limits
        self._asked = asked_of(model, model.classes, backbone)

    def thumbnail(self, name: str) -> bytes | None:
        """The stored thumbnail, or one made from the original where it is still there."""
        photo = self._photos.get(name)
        if photo is None or photo.sha256 is None:
            return None
        return self._store.thumbnails.get(photo.sha256) or self._prepared(photo, "thumbnail")

    def heatmap(self, name: str) -> bytes | None:
        """The thumbnail with what speaks for the class, the node or a high score tinted."""
        photo, thumbnail = self._photos.get(name), self.thumbnail(name)
        pixels = self._prepared(photo, "pixels") if photo is not None else None
        if thumbnail is None or pixels is None:
            return None
        probs = self._asked.answers(pixels[None])[0].astype(np.float64)
        target = target_of(self._asked.kind, self._asked.classes, None, probs)
        seen = seen_part(thumbnail, self._backbone.preprocessing)
        return overlay(seen, quick_map(pixels, self._asked, target))

    def _prepared(self, photo: PhotoView, part: str) -> Any:
        """One part of the prepared photo; None where its file is gone or changed."""
        read = read_file(photo.location, self._limits)
        if read.error is not None or read.sha256 != photo.sha256:
            return None
        prepared = prepare_bytes(
            read.data,
            self._backbone.preprocessing,
            self._limits,
            thumbnail_px=THUMBNAIL_PX,
            measure=False,
        )
        return None if isinstance(prepared, PhotoError) else getattr(prepared, part)
