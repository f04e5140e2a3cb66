"""What the waiting events will take, measured on some of them before a back-fill begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from listlens.backbones.registry import usable_cores
from listlens.pipeline.budget import runs_into
from listlens.pipeline.contents import THUMBNAIL_PX
from listlens.pipeline.waiting import Priority
from listlens.store.database import chunks
from listlens.stream.bringing import Bringing, Fetches
from listlens.stream.looking import failed_for_good
from listlens.stream.work import Work

if TYPE_CHECKING:
    from listlens.pipeline.inference import Inference
    from listlens.project import Project

SAMPLE = 48
"""Photos that are fetched and looked at for a forecast, unless others are asked."""

BLOCK = 16
"""Looked at together."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected.

    Args:
        waiting: events that bring a photo.
        sampled: of them, brought and looked at for this; nothing of it was stored.
        usable: of those, photos.
        known: of those, whose content the store knows, or is that of another one that was sampled:
            they cost no looking.
        bytes_a_photo: mean of what was brought.
        core_s_a_photo: processor seconds a waiting event, bringing it included; storing and
            announcing come on top.
        core_hours: for all.
        hours: on the cores of this machine, if nothing else runs and photos come fast enough.
        cost: by `[budget] core_hour`; None where it names no price.
        currency: of the cost.
        capped: sources that run into a cap; see `listlens.pipeline.budget.runs_into`.
    """

    waiting: int
    sampled: int
    usable: int
    known: int
    bytes_a_photo: float
    core_s_a_photo: float
    core_hours: float
    hours: float
    cost: float | None
    currency: str
    capped: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def forecast(
    project: Project,
    inference: Inference,
    fetcher: Fetches,
    n_sample: int = SAMPLE,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Forecast:
    """Measure what some waiting events take, and say what all of them will.

    Args:
        project: opened; nothing is written to it.
        inference: the queue to the network.
        fetcher: what asks URLs.
        n_sample: events to measure, drawn by chance.
        cpu_clock: processor seconds of this process, all threads together.
    """
    waiting, events = project.store.order.photos_ahead(n_sample)
    config = project.config
    folder = project.root / config.events.photos if config.events.photos else None
    bringing = Bringing(fetcher, folder, project.limits)
    inference.warm_up()
    works = [Work(event) for event in events]
    thumbnails, good = config.store.keep == "thumbnails", dict[str, bool]()
    usable = n_known = 0
    began = cpu_clock()
    for block in chunks(works, BLOCK):
        for work in block:
            bringing.place(work)
            bringing.bring(work)
            work.lease = None  # one by one: few are held, and none waits for another
        here = [work for work in block if work.sha256]
        known = project.store.contents.lookup(sorted({work.sha256 for work in here}))
        good |= {sha: not failed_for_good(content) for sha, content in known.items()}
        new = {work.sha256: work.data for work in here if work.sha256 not in good}
        good |= dict(zip(new, _looked(inference, list(new.values()), thumbnails), strict=True))
        usable += sum(good[work.sha256] for work in here)
        n_known += sum(good[work.sha256] for work in here) - sum(good[sha] for sha in new)
        for work in block:
            work.let_go()
    core_s = (cpu_clock() - began) / max(len(works), 1)
    core_hours = waiting * core_s / 3600
    price = config.budget.core_hour
    return Forecast(
        waiting=waiting,
        sampled=len(works),
        usable=usable,
        known=n_known,
        bytes_a_photo=sum(work.n_bytes for work in works) / max(len(works), 1),
        core_s_a_photo=core_s,
        core_hours=core_hours,
        hours=core_hours / usable_cores(),
        cost=core_hours * price if price else None,
        currency=config.budget.currency,
        capped=runs_into(project.store, config.budget, core_s),
    )


def _looked(inference: Inference, photos: Sequence[bytes], thumbnails: bool) -> list[bool]:
    """Look at photos as the worker does, so many at once that they fill blocks; which are good?"""
    futures = [
        inference.submit(
            data,
            priority=Priority.BACKFILL,
            thumbnail_px=THUMBNAIL_PX if thumbnails else 0,
            measure=True,
        )
        for data in photos
    ]
    return [future.exception() is None for future in futures]
