"""`listlens models diff`: what promoting a model would change, before it is promoted.

Two models answer the same stored photos: all of them, a sample, or those that were answered lately.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import InputError, ListlensError, NotFoundError
from listlens.core.types import Status
from listlens.evaluate.upgrade import Said, Tally, Upgrade
from listlens.evaluate.upgrade_page import in_words, write_upgrade
from listlens.learn.policies import answers
from listlens.pipeline.apply import require_same_backbone
from listlens.pipeline.comparing import compare_records
from listlens.pipeline.contents import batched
from listlens.pipeline.model_saving import folder_name
from listlens.pipeline.models import load_model_row
from listlens.pipeline.tagging import PREDICT_BLOCK, embed_missing
from listlens.store.database import utc_now

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import EmbeddingSpace, Task
    from listlens.evaluate.comparison import Comparison
    from listlens.images.files import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.models import LiveModel
    from listlens.store.models import ModelView
    from listlens.store.open import Store

PAGE = "upgrade.html"

MOST_DAYS = 36_500.0
"""A longer time is everything there is; no calendar reaches back without end."""

OWN_NETWORK_SAMPLE = 500
"""Photos looked at by default where a model's own network has to embed them first: about 10 s on
2 cores. All others are answered from stored embeddings."""


@dataclass(frozen=True)
class UpgradeResult:
    """What a diff gave.

    Args:
        facts: JSON-able, as upgrade.json holds it.
        page: the HTML file.
        upgrade: the numbers.
        labelled: the two models on labelled photos; None where they cannot be compared.
    """

    facts: dict[str, Any]
    page: Path
    upgrade: Upgrade
    labelled: Comparison | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        files = {"page": str(self.page), "JSON": str(self.page.with_suffix(".json"))}
        return {**self.facts, "files": files}

    def text(self) -> str:
        """For a person."""
        return "\n".join([*in_words(self.facts), f"Look at {self.page}."])


def diff_models(
    store: Store,
    root: Path,
    task: Task,
    records: Sequence[ModelView],
    backbone: Backbone,
    backbone_for: Callable[[Model | None], Backbone],
    limits: Limits,
    *,
    sample: int | None = None,
    days: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    now: Callable[[], datetime] = utc_now,
    progress: Callable[[str, int, int | None], None] = lambda step, done, total: None,
) -> UpgradeResult:
    """Say what would change if the second model answered instead of the first; write a page.

    Nothing that answers is changed. Photos that the second model's own network has to embed first
    keep their embeddings.

    Args:
        store: photos, embeddings, answers.
        root: the project's folder.
        task: whose models.
        records: of the two models: the one that answers, and the one that might.
        backbone: the project's.
        backbone_for: what embeds for a model.
        limits: bounds for the photos, where they are embedded.
        sample: how many photos, drawn at random; None: all, or `OWN_NETWORK_SAMPLE` where the
            second model brings a network of its own.
        days: only photos that the first model answered in so many days; None: all.
        out: folder for upgrade.html and upgrade.json; default ``reports/TASK``.
        seed: of the sample.
        now: the present moment.
        progress: called with the step, photos done and their number.

    Raises:
        InputError: a sample or number of days that is not above 0.
        NotFoundError: no photo to answer.
        ModelError: a model is damaged, or of another backbone than there is.
    """
    if (sample is not None and sample < 1) or (days is not None and not days > 0):
        raise InputError("a sample has at least 1 photo, and days are above 0.")
    models = [load_model_row(store, root, task, record) for record in records]
    spaces = [_space(model, backbone_for) for model in models]
    own = models[1].model is not None and models[1].model.own_backbone is not None
    every = _candidates(store, models[0], days, now)
    some = _drawn(every, sample or (OWN_NETWORK_SAMPLE if own else None), seed)
    cost = _embedded(store, some, spaces[1], backbone_for(models[1].model), own, limits, progress)
    tally, spent = Tally(models[0].kind), 0.0
    for block in batched(some.tolist(), PREDICT_BLOCK):
        ids, both, seconds = _answer(store, models, spaces, block)
        spent += seconds
        if ids:
            tally.add(ids, *both)
        progress("answering", tally.n, len(some))
    if not tally.n:
        raise NotFoundError(
            f"no photo that both models of {task.name!r} can answer: bring photos in first "
            "(listlens ingest)" + (", or name more --days" if days else "")
        )
    found = tally.result()
    labelled, by_name, why_not = _labelled(store, root, task, backbone, records)
    cost |= _cost(store, models[1].model_id, spaces[1], every, spent / tally.n)
    facts = {
        "task": task.name,
        "models": [record.version for record in records],
        "photos": _which(days, len(some), len(every)),
        **found.as_dict(),
        "cost": cost,
        "labelled": _brief(labelled),
        "not_compared": why_not,
    }
    place = Path(out) if out is not None else root / "reports" / folder_name(task)
    place.mkdir(parents=True, exist_ok=True)
    _name_examples(store, facts)
    write_upgrade(place / PAGE, facts, labelled, _thumbnails(store), by_name)
    return UpgradeResult(facts, place / PAGE, found, labelled)


def _space(model: LiveModel, backbone_for: Callable[[Model | None], Backbone]) -> EmbeddingSpace:
    """The space to read a model's embeddings in: of what there is, as `tag` does."""
    here = backbone_for(model.model).space
    require_same_backbone(model.space, here)
    return here


def _candidates(
    store: Store, first: LiveModel, days: float | None, now: Callable[[], datetime]
) -> NDArray[np.int64]:
    """Ids of the contents that may be looked at."""
    if days is None:
        ids: Iterator[int] = (c.content_id for c in store.contents.scan() if c.status is Status.OK)
        return np.fromiter(ids, np.int64)
    since = now() - timedelta(days=min(days, MOST_DAYS))
    blocks = [np.array(block, np.int64) for block in store.predictions.since(first.model_id, since)]
    return np.concatenate([np.empty(0, np.int64), *blocks])


def _drawn(ids: NDArray[np.int64], sample: int | None, seed: int) -> NDArray[np.int64]:
    if sample is None or sample >= len(ids):
        return ids
    return np.sort(np.random.default_rng(seed).choice(ids, sample, replace=False))


def _embedded(
    store: Store,
    ids: NDArray[np.int64],
    space: EmbeddingSpace,
    backbone: Backbone,
    own: bool,
    limits: Limits,
    progress: Callable[[str, int, int | None], None],
) -> dict[str, Any]:
    """Embed what a model's own network has not seen yet; say what a photo took."""
    todo = set(store.vectors.missing(space, ids.tolist())) if own else set()
    if not todo:
        return {"embed_s_per_photo": None}
    started = time.perf_counter()
    done, _ = embed_missing(
        store, backbone, limits, lambda n: progress("embedding", n, len(todo)), only=todo
    )
    taken = time.perf_counter() - started
    return {"embed_s_per_photo": taken / done if done else None}


def _answer(
    store: Store,
    models: Sequence[LiveModel],
    spaces: Sequence[EmbeddingSpace],
    block: Sequence[int],
) -> tuple[list[int], list[Said], float]:
    """What both models say of those contents of a block that both can answer.

    The first model's stored answers are taken where they are: they are what was given out.
    """
    stored = store.predictions.get(models[0].model_id, block)
    absent = set(store.vectors.missing(spaces[1], block))
    lacking = [pk for pk in block if pk not in stored and pk not in absent]
    unseen = set(store.vectors.missing(spaces[0], lacking))
    ids = [pk for pk in block if pk not in absent and pk not in unseen]
    if not ids:
        return [], [], 0.0
    fresh = [pk for pk in ids if pk not in stored]
    if fresh:
        made = models[0].probs(store.vectors.get(spaces[0], fresh))
        stored |= dict(zip(fresh, made, strict=True))
    started = time.perf_counter()
    second = models[1].probs(store.vectors.get(spaces[1], ids))
    spent = time.perf_counter() - started
    first = np.stack([stored[pk] for pk in ids])
    return ids, [_said(models[0], first), _said(models[1], second)], spent


def _said(model: LiveModel, probs: NDArray[np.floating]) -> Said:
    return Said(model.classes, probs, answers(probs, model.policy, model.kind, model.classes))


def _cost(
    store: Store, model_id: int, space: EmbeddingSpace, every: NDArray[np.int64], per_photo_s: float
) -> dict[str, Any]:
    """What promoting would take, from what the diff took."""
    to_predict = len(store.predictions.missing(model_id, every.tolist()))
    to_embed = len(store.vectors.missing(space, every.tolist()))
    return {
        "to_predict": to_predict,
        "predict_s_per_photo": per_photo_s,
        "predict_s": to_predict * per_photo_s,
        "to_embed": to_embed,
    }


def _labelled(
    store: Store, root: Path, task: Task, backbone: Backbone, records: Sequence[ModelView]
) -> tuple[Comparison | None, Callable[[str], bytes | None], str]:
    """The two on labelled photos with what finds their thumbnails, or why that cannot be said."""
    try:
        _, found, by_name = compare_records(store, root, task, backbone, records)
    except ListlensError as error:
        return None, lambda name: None, str(error)
    return found, by_name, ""


def _brief(labelled: Comparison | None) -> dict[str, Any] | None:
    """A comparison without its photos, which compare.json lists."""
    if labelled is None:
        return None
    return {k: v for k, v in labelled.as_dict().items() if k not in ("mended", "broken")}


def _which(days: float | None, n: int, of: int) -> str:
    """Which photos were looked at, in words."""
    stock = "stored pictures" if days is None else f"pictures answered in the last {days:g} days"
    return f"all {of:,} {stock}" if n == of else f"{n:,} drawn from {of:,} {stock}"


def _name_examples(store: Store, facts: dict[str, Any]) -> None:
    """Say of each example which photo it is: a content may be several photos' by now, or none's."""
    examples = [one for flip in facts["flips"] for one in flip["examples"]]
    ids = {one["content_id"] for one in examples}
    photos, contents = store.photos.by_content(ids), store.contents.get(ids)
    for one in examples:
        shown = next(iter(photos.get(one["content_id"], ())), None)
        held = contents.get(one["content_id"])
        one["image"] = shown.photo_id if shown else None
        one["listing_id"] = shown.listing_id if shown else None
        one["sha256"] = held.sha256 if held else None


def _thumbnails(store: Store) -> Callable[[str | None], bytes | None]:
    return lambda sha256: store.thumbnails.get(sha256 or "")
