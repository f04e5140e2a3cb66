"""The second step: what the store knows of the bytes, and the network for those it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from listlens.core.errors import BusyError, PhotoError
from listlens.core.types import Reason, Status
from listlens.pipeline.contents import THUMBNAIL_PX, failed_content, usable_content
from listlens.pipeline.rows import RETRIED
from listlens.pipeline.waiting import Priority
from listlens.stream.bringing import trouble_of
from listlens.stream.work import Work

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.pipeline.inference import Inference, Looked
    from listlens.store.contents import KnownContent
    from listlens.store.open import Store


class Looking:
    """Looks at photos once a content, however many events show it at a time.

    Args:
        store: what is known.
        inference: the queue to the network, shared with whoever else asks.
        keep_thumbnails: whether to make thumbnails.
        done: called from another thread with a content's sha256 once it was looked at.
    """

    def __init__(
        self,
        store: Store,
        inference: Inference,
        *,
        keep_thumbnails: bool,
        done: Callable[[str, Future[Looked]], None],
    ) -> None:
        self._store, self._inference, self._done = store, inference, done
        self._thumbnail_px = THUMBNAIL_PX if keep_thumbnails else 0
        self._running: dict[str, list[Work]] = {}

    def settle_known(self, works: Sequence[Work], backbones: Sequence[Backbone]) -> list[Work]:
        """Note what the store knows of brought photos; return those that have to be looked at.

        A content that is known costs neither decoding nor inference: it has its embeddings, or
        is known to be no photo.
        """
        brought = [work for work in works if work.sha256]
        shas = {work.sha256 for work in brought}
        known = self._store.contents.lookup(sorted(shas))
        forgotten = self._store.contents.forgotten(shas)
        ready = self._embedded(known, backbones)
        for work in brought:
            content = known.get(work.sha256)
            work.again = content is not None
            work.forgotten = work.sha256 in forgotten
            if content is not None and failed_for_good(content):
                work.error = PhotoError(content.reason or Reason.DAMAGED, content.detail)
                work.content_id = content.content_id
            elif content is not None and content.content_id in ready:
                work.content_id = content.content_id
            if work.content_id is not None or work.forgotten:
                work.let_go()
        return [work for work in brought if work.content_id is None and not work.forgotten]

    def _embedded(self, known: dict[str, KnownContent], backbones: Sequence[Backbone]) -> set[int]:
        """Contents that have an embedding by each of the backbones."""
        ids = [content.content_id for content in known.values() if content.status is Status.OK]
        absent = {
            pk
            for backbone in (backbones if ids else ())
            for pk in self._store.vectors.missing(backbone.space, ids)
        }
        return set(ids) - absent

    def look(self, work: Work, backbones: Sequence[Backbone]) -> bool:
        """Queue a photo for the network; False where the queue is full for now."""
        if work.sha256 in self._running:
            self._running[work.sha256].append(work)
            work.let_go()
            return True
        try:
            future = self._inference.submit(
                work.data,
                priority=Priority(work.event.priority),
                backbones=backbones,
                thumbnail_px=self._thumbnail_px,
                measure=True,
                sha256=work.sha256,
                trace=work.trace,
            )
        except BusyError:
            return False
        self._running[work.sha256] = [work]
        work.let_go()  # the queue has them
        sha256 = work.sha256
        future.add_done_callback(lambda future: self._done(sha256, future))
        return True

    def collect(self, sha256: str, future: Future[Looked]) -> list[Work]:
        """Note what looking gave, for every event that shows this content."""
        works = self._running.pop(sha256, [])
        for work in works:
            try:
                looked = future.result()
                work.record = usable_content(sha256, work.n_bytes, looked.prepared)
                work.thumbnail = looked.prepared.thumbnail
                work.vectors = dict(looked.vectors)
            except PhotoError as error:
                work.error = error
                work.record = failed_content(sha256, work.n_bytes, error)
            except BaseException as error:
                work.trouble = trouble_of(error)
        return works


def failed_for_good(content: KnownContent) -> bool:
    """Whether bytes that the store knows are known to be no photo."""
    return content.status is Status.FAILED and content.reason not in RETRIED
