"""The last step: results, announcements and the ends of the events, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import NotFoundError
from listlens.core.types import ListingRow, Reason, Status
from listlens.store.event_rows import EventRecord, Finished, PutOff
from listlens.store.photos import PhotoRecord
from listlens.stream.announcing import announcement
from listlens.stream.answering import Answers, answer
from listlens.stream.traces import Laps
from listlens.stream.work import Trouble, Work

if TYPE_CHECKING:
    from listlens.core.types import EmbeddingSpace
    from listlens.store.contents import ContentRecord
    from listlens.store.open import Store
    from listlens.stream.answering import Answerer
    from listlens.stream.capping import Capping
    from listlens.stream.drifting import Drifting
    from listlens.stream.retrying import Backoff

_LOST = Trouble(Reason.MISSING, "its content was deleted meanwhile", counts=False)

PREDICTED, FAILED, DELETED, ABSENT = "predicted", "failed", "deleted", "absent"
LISTING, SUPERSEDED, FORGOTTEN, PUT_OFF = "listing", "superseded", "forgotten", "put_off"
EMBEDDED = "embedded"
PUT_OFF_AGAIN = "put_off_again"
"""An event counts as put off once; each further time it waits counts as this."""


@dataclass
class _Batch:
    """What one transaction writes."""

    works: list[Work]
    answers: Answers
    ids: dict[str, int] = field(default_factory=dict)  # sha256 to content_id
    ended: list[Finished] = field(default_factory=list)
    later: list[PutOff] = field(default_factory=list)
    announced: list[Any] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Settling:
    """Writes what became of events.

    Args:
        store: where to.
        owner: whose leases they are.
        backoff: when to try again.
        spaces: `EmbeddingSpace.id` to space, of all embeddings that works carry.
        top: classes whose probabilities are announced.
        capping: counts what was looked at; None: nobody does.
        drifting: keeps sums of what was answered; None: nobody does.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        backoff: Backoff,
        spaces: dict[str, EmbeddingSpace],
        top: int,
        capping: Capping | None = None,
        drifting: Drifting | None = None,
    ) -> None:
        self._store, self._owner, self._backoff, self._top = store, owner, backoff, top
        self.spaces, self._capping, self._drifting = spaces, capping, drifting
        self._sources: dict[str, tuple[int, int]] = {}
        self.reasons: Counter[str] = Counter()  # of the events that went to the dead letters

    def settle(self, works: Sequence[Work], models: Sequence[Answerer]) -> Counter[str]:
        """Write results, announcements and ends; all of it, or nothing where it raises.

        Events whose lease was lost are left to whoever has them now.

        Returns:
            How many events ended how.
        """
        laps = Laps(works)
        usable = [work for work in works if work.usable]
        try:
            answers = answer(self._store, models, _asked(usable), self._top)
        except NotFoundError:  # a content was deleted since it was looked up
            self._send_back_lost(works)
            usable = [work for work in works if work.usable]
            answers = answer(self._store, models, _asked(usable), self._top)
        laps.lap("answer")
        for work in usable:
            if work.thumbnail is not None:
                self._store.thumbnails.put(work.sha256, work.thumbnail)
        for source in {work.event.source for work in works}:
            self._source(source)
        rows = self._drifting.rows(usable, models, answers) if self._drifting else {}
        with self._store.together():
            held = self._store.events.held(self._owner, [work.event.event_id for work in works])
            self._send_back_lost(works)
            batch = _Batch([work for work in works if work.event.event_id in held], answers)
            looked = self._capping.looked_at(batch.works) if self._capping else {}
            self._apply(batch)
            if self._capping is not None:
                batch.announced += self._capping.spend(looked)
            if self._drifting is not None and rows:
                self._drifting.write(rows, batch.works)
            laps.lap("settle")
            self._store.outbox.append(batch.announced)
            laps.lap("announce")
            self._store.events.finish(batch.ended)
            self._store.events.put_off(self._owner, batch.later)
        laps.lap("commit")
        self._note(batch.ended)
        return batch.counts

    def set_aside(self, works: Sequence[Work], trouble: Trouble, *, for_good: bool) -> None:
        """Put off events whose results cannot be written, or bury them, and write nothing else.

        Args:
            works: leased by this worker.
            trouble: why.
            for_good: whether they go to the dead letters however often they were tried.
        """
        with self._store.together():
            held = self._store.events.held(self._owner, [work.event.event_id for work in works])
            mine = [work for work in works if work.event.event_id in held]
            last = [work for work in mine if for_good or self._is_last(work, trouble)]
            ended = [
                Finished(w.event.event_id, reason=trouble.reason.value, detail=trouble.detail)
                for w in last
            ]
            self._store.events.finish(ended)
            later = [self._put_off(work, trouble) for work in mine if work not in last]
            self._store.events.put_off(self._owner, later)
        self._note(ended)

    def _note(self, ended: Iterable[Finished]) -> None:
        self.reasons.update(one.reason for one in ended if one.reason)

    def _send_back_lost(self, works: Iterable[Work]) -> None:
        """Contents that were deleted meanwhile have to be looked at again."""
        known = [work for work in works if work.content_id is not None]
        there = self._store.contents.hold([work.content_id or 0 for work in known])
        for work in known:
            if work.content_id not in there:
                work.trouble = _LOST

    def _apply(self, batch: _Batch) -> None:
        now = self._store.clock()
        for work in batch.works:
            if work.trouble is not None and not self._is_last(work, work.trouble):
                batch.later.append(self._put_off(work, work.trouble))
                batch.counts[PUT_OFF if work.event.reason is None else PUT_OFF_AGAIN] += 1
            elif work.forgotten:
                batch.ended.append(Finished(work.event.event_id, FORGOTTEN, erase=True))
                batch.counts[FORGOTTEN] += 1
        off = {one.event_id for one in batch.later} | {one.event_id for one in batch.ended}
        rest = [work for work in batch.works if work.event.event_id not in off]
        applied = self._newest(rest)
        for work in rest:
            if work not in applied:
                batch.ended.append(Finished(work.event.event_id, SUPERSEDED))
                batch.counts[SUPERSEDED] += 1
        self._save_contents(batch, applied)
        self._save_photos(batch, applied)
        self._save_listings(batch, [work for work in applied if work.event.photo_id == ""])
        self._delete(batch, [work for work in applied if work.deletes])
        batch.announced = [
            announcement(work, batch.answers.results.get(work.sha256, {}), now)
            for work in applied
            if not (work.deletes and _outcome(batch, work) == ABSENT)
        ]

    # -- which events count -----------------------------------------------------------------

    def _newest(self, works: Sequence[Work]) -> list[Work]:
        """Note the newest event of each subject as applied; return those that may be."""
        best: dict[tuple[str, str, str], Work] = {}
        for work in works:
            before = best.get(work.event.subject)
            if before is None or _rank(work) >= _rank(before):
                best[work.event.subject] = work
        chosen = list(best.values())
        applied = self._store.order.advance(
            [work.event for work in chosen], [work.deletes for work in chosen]
        )
        return [work for work, counts in zip(chosen, applied, strict=True) if counts]

    def _is_last(self, work: Work, trouble: Trouble) -> bool:
        return trouble.counts and self._backoff.gives_up(work.event.attempts)

    def _put_off(self, work: Work, trouble: Trouble) -> PutOff:
        wait_s = self._backoff.seconds(max(work.event.attempts, 1), trouble.retry_after_s)
        if not trouble.counts:
            wait_s = trouble.retry_after_s
        then = self._store.clock() + timedelta(seconds=wait_s)
        return PutOff(
            work.event.event_id, then, trouble.reason.value, trouble.detail,
            uncounted=not trouble.counts,
        )  # fmt: skip

    # -- results ----------------------------------------------------------------------------

    def _save_contents(self, batch: _Batch, applied: Sequence[Work]) -> None:
        """Contents, embeddings and predictions of what was looked at or asked just now."""
        shown = [work for work in applied if work.shows_photo]
        new: dict[str, ContentRecord] = {w.sha256: w.record for w in shown if w.record}
        ids = self._store.contents.save(list(new.values()))
        batch.ids = dict(zip(new, ids, strict=True))
        batch.ids |= {w.sha256: w.content_id for w in shown if w.content_id is not None}
        for space_id, space in self.spaces.items():
            made = {w.sha256: w.vectors[space_id] for w in shown if space_id in w.vectors}
            if made:
                known = [batch.ids[sha] for sha in made]
                self._store.vectors.put(space, known, np.stack(list(made.values())))
        for model_id, fresh in batch.answers.fresh.items():
            told = {sha: probs for sha, probs in fresh.items() if sha in batch.ids}
            if told:
                known = [batch.ids[sha] for sha in told]
                self._store.predictions.save(model_id, known, np.stack(list(told.values())))

    def _save_photos(self, batch: _Batch, applied: Sequence[Work]) -> None:
        shown = [work for work in applied if work.shows_photo]
        speaks = self._speak_for_listing(shown)
        by_source: dict[str, list[PhotoRecord]] = {}
        for work in shown:
            record = _record(work, batch.ids.get(work.sha256), with_listing=work in speaks)
            by_source.setdefault(work.event.source, []).append(record)
            batch.ended.append(end := _photo_end(work))
            batch.counts[end.outcome or FAILED] += 1
        for source, records in by_source.items():
            self._store.photos.save(*self._source(source), records)

    def _speak_for_listing(self, works: Sequence[Work]) -> list[Work]:
        """Those whose words on their listing are the newest that were heard."""
        best: dict[tuple[str, str], Work] = {}
        for work in works:
            listing = work.event.listing_id, work.event.source
            says = "attributes" in work.event.body or "seller_id" in work.event.body
            before = best.get(listing)
            if says and (before is None or work.event.order >= before.event.order):
                best[listing] = work
        chosen = list(best.values())
        about = [_about_listing(work) for work in chosen]
        applied = self._store.order.advance(about, [False] * len(about))
        return [work for work, counts in zip(chosen, applied, strict=True) if counts]

    def _save_listings(self, batch: _Batch, works: Sequence[Work]) -> None:
        rows = [
            ListingRow(
                work.event.listing_id,
                work.event.body.get("seller_id"),
                work.event.body.get("attributes", {}),
                f"event {work.event.event_key}",
            )
            for work in works
        ]
        if rows:
            self._store.photos.save_listings(rows)
            batch.ended += [Finished(work.event.event_id, LISTING) for work in works]
            batch.counts[LISTING] += len(works)

    def _delete(self, batch: _Batch, works: Sequence[Work]) -> None:
        by_source: dict[str, list[Work]] = {}
        for work in works:
            by_source.setdefault(work.event.source, []).append(work)
        for source, deleted in by_source.items():
            keys = [(work.event.listing_id, work.event.photo_id) for work in deleted]
            gone = self._store.forgetting.remove(self._source(source)[0], keys)
            for work, key in zip(deleted, keys, strict=True):
                outcome = DELETED if key in gone else ABSENT
                batch.ended.append(Finished(work.event.event_id, outcome))
                batch.counts[outcome] += 1

    def _source(self, name: str) -> tuple[int, int]:
        """The row of a source and of its endless run."""
        if name not in self._sources:
            source_id = self._store.photos.source(name, "Stream", name)
            self._sources[name] = (source_id, self._store.photos.open_ingest(source_id))
        return self._sources[name]


def _asked(works: Sequence[Work]) -> list[Work]:
    return [work for work in works if not work.embed_only]


def _rank(work: Work) -> tuple[Any, ...]:
    return *work.event.order, work.deletes


def _about_listing(work: Work) -> EventRecord:
    """The same event as one of its listing."""
    event = work.event
    return EventRecord(
        event.event_key, event.kind, event.listing_id, "", event.at, {}, event.source,
        event.priority, event.sequence,
    )  # fmt: skip


def _record(work: Work, content_id: int | None, *, with_listing: bool) -> PhotoRecord:
    row = work.row(with_listing=with_listing)
    error, trouble = work.error, work.trouble
    if error is not None:
        return PhotoRecord(
            row, work.n_bytes or None, None, content_id, Status.FAILED, error.reason, error.detail
        )
    if trouble is not None:
        return PhotoRecord(row, None, None, None, Status.FAILED, trouble.reason, trouble.detail)
    return PhotoRecord(row, work.n_bytes, None, content_id, Status.OK)


def _photo_end(work: Work) -> Finished:
    """Done where there is a photo; dead, with the reason, where there will never be one."""
    why = work.error or work.trouble
    if why is None:
        return Finished(work.event.event_id, EMBEDDED if work.embed_only else PREDICTED)
    return Finished(work.event.event_id, reason=why.reason.value, detail=why.detail)


def _outcome(batch: _Batch, work: Work) -> str:
    return next(e.outcome for e in batch.ended if e.event_id == work.event.event_id)
