"""The one queue to the network: bytes in, embeddings out, for all who ask at once.

API and worker share it, so that a person who waits goes before a back-fill, and so that photos of
different callers are embedded in one block. A few threads, one a core, do whatever is most useful
next: embed a whole block that is decoded, else decode, else embed what has waited long enough. No
thread is kept for one of these alone, so no core idles while there is work.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.backbones.registry import usable_cores
from listlens.core import tracing
from listlens.core.errors import BusyError, ModelError, PhotoError
from listlens.images.files import Limits
from listlens.images.prepare import Prepared, prepare
from listlens.pipeline.looked import Cost, Counters, Looked
from listlens.pipeline.waiting import Priority, Waiting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone

__all__ = ["Counters", "Inference", "Looked", "Priority"]

CAPACITY = 256
"""Photos that may wait a priority: 2 to 3 s of work for 2 cores. More would only wait longer."""

CAPACITY_BYTES = 256 * 2**20
"""Bytes of photos that may wait a priority."""

MAX_WAIT_S = 0.050
"""A decoded photo waits at most so long for others to fill its block, and only where enough others
are there to fill it. Decoding three more on two cores takes 10 to 20 ms."""


@dataclass(slots=True)
class _Job:
    data: bytes
    priority: Priority
    backbones: Sequence[Backbone]
    thumbnail_px: int
    measure: bool
    sha256: str
    n_bytes: int
    future: Future[Looked] = field(default_factory=Future)
    left: bool = False
    trace: Any = None
    queued_s: float = field(default_factory=time.monotonic)
    prepared: Prepared | None = None
    vectors: dict[str, NDArray[np.float16]] = field(default_factory=dict)


@dataclass(slots=True)
class _Ready:
    """Photos that are decoded for a backbone, the oldest first."""

    backbone: Backbone
    block: int
    photos: deque[tuple[_Job, NDArray[np.uint8], float]] = field(default_factory=deque)

    def since(self) -> float:
        """When the oldest became ready, in seconds of the monotonic clock."""
        return self.photos[0][2]

    def take(self) -> list[tuple[_Job, NDArray[np.uint8], float]]:
        """Remove a whole block, or one photo: these are the sizes that engines compile."""
        n = self.block if len(self.photos) >= self.block else 1
        return [self.photos.popleft() for _ in range(n)]


class Inference:
    """One bounded queue with priorities in front of the networks.

    Args:
        backbone: embeds photos for which no other is named.
        limits: bounds for the photos.
        n_threads: that decode and embed; None for one a core.
        capacity: photos that may wait a priority.
        capacity_bytes: bytes of photos that may wait a priority; one photo always fits.
        max_wait_s: how long a decoded photo may wait for others to share a block.

    Example:
        >>> from listlens.backbones.registry import load_backbone
        >>> inference = Inference(load_backbone(n_threads=1), Limits(), n_threads=1)
        >>> inference.submit(b"no photo", priority=Priority.NEW).exception().reason.value
        'not_an_image'
        >>> inference.close()
    """

    def __init__(
        self,
        backbone: Backbone,
        limits: Limits,
        *,
        n_threads: int | None = None,
        capacity: int = CAPACITY,
        capacity_bytes: int = CAPACITY_BYTES,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self.backbone, self.limits, self.max_wait_s = backbone, limits, max_wait_s
        self._waiting: Waiting[_Job] = Waiting(capacity, capacity_bytes)
        self._ready: dict[str, _Ready] = {}
        self._changed = threading.Condition()
        self._n_decoding = 0
        self._open = dict.fromkeys(Priority, 0)
        self._closing = False
        self._counters = Counters()
        self._cost = Cost()
        self._threads = [
            threading.Thread(target=self._work, name=f"inference-{i}", daemon=True)
            for i in range(n_threads or usable_cores())
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        data: bytes,
        *,
        priority: Priority,
        backbones: Sequence[Backbone] = (),
        thumbnail_px: int = 0,
        measure: bool = False,
        sha256: str = "",
        trace: Any = None,
    ) -> Future[Looked]:
        """Queue a photo; returns at once.

        Args:
            data: the file's bytes.
            priority: who waits for it.
            backbones: what embeds it; the one of the queue where none is named. The photo is
                decoded once for each preprocessing among them.
            thumbnail_px: long side of a thumbnail; 0 for none.
            measure: whether to measure the photo.
            sha256: of the bytes where it is known, to spare hashing them again.
            trace: the span that it belongs to; by default the one that is current.

        Returns:
            A future of `Looked`. It raises PhotoError for a broken photo, and ModelError where
            the network fails. Cancelling it takes the photo out of the queue.

        Raises:
            BusyError: the queue is full, or closing; says when to come again.
        """
        chosen = tuple({one.space.id: one for one in backbones or (self.backbone,)}.values())
        job = _Job(data, priority, chosen, thumbnail_px, measure, sha256, len(data))
        job.trace = trace or tracing.current()
        with self._changed:
            if self._closing:
                raise BusyError("listlens is shutting down", 1.0)
            if not self._waiting.put(job, priority):
                self._count(refused=1)
                n = self._waiting.count(priority)
                raise BusyError(f"{n} photos wait already", self._wait_s(n))
            self._count(accepted=1)
            self._open[priority] += 1
            self._changed.notify()
        return job.future

    def require_room(self, priority: Priority, within_s: float) -> None:
        """Refuse a call before its photos are queued, where the answer would come too late.

        A photo is never refused while there is an idle thread, however slow the machine.

        Args:
            priority: of the photos.
            within_s: by when an answer makes sense for the caller.

        Raises:
            BusyError: those ahead, being looked at or waiting, and the photo itself take longer.
        """
        with self._changed:
            n = sum(self._open[level] for level in Priority if level <= priority)
            wait_s = self._wait_s(n + 1)
            if n > len(self._threads) and wait_s > within_s and not self._closing:
                self._count(refused=1)
                raise BusyError(f"{n} photos come first, and take about {wait_s:.1f} s", wait_s)

    def warm_up(self, backbones: Sequence[Backbone] = ()) -> None:
        """Run each network once in each size that is used, so that no caller waits for it."""
        for backbone in backbones or (self.backbone,):
            size = backbone.preprocessing.size_px
            for n in {1, block_of(backbone)}:
                backbone.embed(np.zeros((n, size, size, 3), np.uint8))

    def counters(self) -> Counters:
        """Return what was done so far."""
        with self._changed:
            waiting = {level.name.lower(): self._waiting.count(level) for level in Priority}
            return replace(self._counters, waiting=waiting)

    def close(self, drain: bool = True) -> None:
        """Stop taking photos and wait for the threads to end.

        Args:
            drain: answer what was accepted first; otherwise its futures are cancelled.
        """
        with self._changed:
            self._closing = True
            for job in () if drain else list(self._waiting.drain()):
                job.future.cancel()
                self._leave(job)
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    # -- the threads ------------------------------------------------------------------------

    def _work(self) -> None:
        while (step := self._next_step()) is not None:
            step()

    def _next_step(self) -> Callable[[], None] | None:
        """Choose what is most useful now; None once all is done and the queue is closed."""
        with self._changed:
            while True:
                now = time.monotonic()
                if (ready := self._due(now)) is not None:
                    taken = ready.take()
                    return lambda: self._embed(ready.backbone, taken)
                if len(self._waiting):
                    job = self._waiting.take()
                    self._n_decoding += 1
                    return lambda: self._decode(job)
                oldest = [r.since() for r in self._ready.values() if r.photos]
                if self._closing and not oldest and not self._n_decoding:
                    return None
                wait_s = min(oldest) + self.max_wait_s - now if oldest else None
                self._changed.wait(wait_s)

    def _due(self, now: float) -> _Ready | None:
        """A backbone with a whole block, or with photos that need not or must not wait."""
        there = [ready for ready in self._ready.values() if ready.photos]
        whole = [ready for ready in there if len(ready.photos) >= ready.block]
        if whole or not there:
            return min(whole, key=_Ready.since, default=None)
        first = min(there, key=_Ready.since)
        coming = len(self._waiting) + self._n_decoding
        hopeless = len(first.photos) + coming < first.block
        return first if hopeless or now - first.since() >= self.max_wait_s else None

    def _decode(self, job: _Job) -> None:
        begun = time.monotonic()
        try:
            pixels = self._pixels(job) if job.future.set_running_or_notify_cancel() else None
        except BaseException as error:
            self._answer(job, error, failed=int(isinstance(error, PhotoError)))
            pixels = None
        took_s = time.monotonic() - begun
        tracing.note("queue", job.queued_s, begun, job.trace)
        tracing.note("decode", begun, begun + took_s, job.trace)
        with self._changed:
            self._n_decoding -= 1
            self._count(decoded=int(pixels is not None), decode_s=took_s)
            if pixels is None:  # broken, which was answered, or its caller went away
                self._leave(job)
            self._cost.decoded(took_s)
            for backbone, image in zip(job.backbones, pixels or (), strict=False):
                self._queue_of(backbone).photos.append((job, image, time.monotonic()))
            self._changed.notify_all()

    def _pixels(self, job: _Job) -> list[NDArray[np.uint8]]:
        """Prepare once for each preprocessing, and forget the bytes."""
        job.sha256 = job.sha256 or hashlib.sha256(job.data).hexdigest()
        made: dict[str, Prepared] = {}
        for backbone in job.backbones:
            way = backbone.preprocessing
            if way.id not in made:
                made[way.id] = prepare(
                    job.data,
                    way,
                    limits=self.limits,
                    thumbnail_px=0 if made else job.thumbnail_px,
                    measure=job.measure and not made,
                )
        job.prepared, job.data = next(iter(made.values())), b""
        return [made[backbone.preprocessing.id].pixels for backbone in job.backbones]

    def _queue_of(self, backbone: Backbone) -> _Ready:
        """Where photos wait for a backbone."""
        key = backbone.space.id
        if key not in self._ready:
            self._ready[key] = _Ready(backbone, block_of(backbone))
        return self._ready[key]

    def _embed(
        self, backbone: Backbone, taken: list[tuple[_Job, NDArray[np.uint8], float]]
    ) -> None:
        begun, n_batches = time.monotonic(), 1
        try:
            vectors = backbone.embed(np.stack([image for _, image, _ in taken]))
            if len(vectors) != len(taken):  # otherwise a photo would wait for its vector for ever
                raise ModelError(f"the network gave {len(vectors)} vectors for {len(taken)} photos")
        except BaseException as error:
            if len(taken) > 1:  # one photo must not take its neighbours with it
                for one in taken:
                    self._embed(backbone, [one])
                return
            self._answer(taken[0][0], error)
            n_batches, vectors = 0, np.empty((0, 0), np.float16)
        took_s = time.monotonic() - begun
        for job, _, ready_s in taken:
            tracing.note("gather", ready_s, begun, job.trace)
            tracing.note("network", begun, begun + took_s, job.trace, photos=len(taken))
        with self._changed:
            self._count(embedded=len(vectors), batches=n_batches, embed_s=took_s)
            self._cost.embedded(took_s, len(taken))
            done = [
                job
                for (job, _, _), vector in zip(taken, vectors, strict=False)
                if self._is_whole(job, backbone.space.id, vector)
            ]
        for job in done:
            self._answer(job)

    def _is_whole(self, job: _Job, space_id: str, vector: NDArray[np.float16]) -> bool:
        """Note a photo's embedding; whether it was the last one asked for."""
        job.vectors[space_id] = vector
        return len(job.vectors) == len(job.backbones)

    def _answer(self, job: _Job, error: BaseException | None = None, *, failed: int = 0) -> None:
        with self._changed:
            self._count(failed=failed)
            self._leave(job)
        try:
            if error is not None:
                job.future.set_exception(error)
                return
            assert job.prepared is not None
            ordered = {b.space.id: job.vectors[b.space.id] for b in job.backbones}
            job.future.set_result(Looked(job.prepared, ordered, job.sha256))
        except InvalidStateError:  # another of its networks failed before
            return

    def _leave(self, job: _Job) -> None:
        """Count a photo out, once; the lock is held."""
        if not job.left:
            job.left = True
            self._open[job.priority] -= 1

    def _count(self, **more: float) -> None:
        """Add to the counters; the lock is held."""
        now = {name: getattr(self._counters, name) + value for name, value in more.items()}
        self._counters = replace(self._counters, **now)

    def _wait_s(self, n: int) -> float:
        """How long so many photos take at today's cost, in seconds."""
        return n * self._cost.seconds / len(self._threads)


def block_of(backbone: Backbone) -> int:
    """Return how many photos a backbone embeds in one run; 1 where it does not say."""
    return int(getattr(backbone, "block", 1))
