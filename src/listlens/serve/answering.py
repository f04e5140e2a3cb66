"""Photos to answers: caches first, then the store, then the one queue to the network."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from anyio import to_thread

from listlens.core.errors import ListlensError, ModelError, PhotoError
from listlens.pipeline.inference import Priority
from listlens.pipeline.known import Known, Seen, known_contents
from listlens.serve.cache import Cache

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.learn.policies import Decision
    from listlens.pipeline.inference import Inference, Looked
    from listlens.serve.counting import Counting
    from listlens.serve.live import Served
    from listlens.store.open import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one task says of one photo: calibrated probabilities `(k,)`, and the decision."""

    served: Served
    probs: NDArray[np.float32]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one photo.

    Args:
        how: how the answers came about, see `listlens.serve.counting.HOW`; empty with an error.
        answers: one a task, in the order asked.
        error: why there is none.
    """

    how: str = ""
    answers: tuple[Answer, ...] = ()
    error: ListlensError | None = None


class Answering:
    """Answers tasks for bytes. All of it runs in one event loop; only looking up and looking at
    photos is done by threads.

    Args:
        store: of the project; its embeddings of known contents are used.
        inference: the queue.
        counting: what is counted.
        cache_bytes: memory for results.
        max_queue_s: a call is refused where it would have to wait for longer.
    """

    def __init__(
        self,
        store: Store,
        inference: Inference,
        counting: Counting,
        *,
        cache_bytes: int,
        max_queue_s: float,
    ) -> None:
        self._store, self._inference, self._counting = store, inference, counting
        self._max_queue_s = max_queue_s
        self.seen = Seen(store)
        self._probs: Cache[NDArray[np.float32]] = Cache(cache_bytes // 4, _n_bytes)
        self._vectors: Cache[NDArray[np.float16]] = Cache(cache_bytes // 2, _n_bytes)
        self._errors: Cache[PhotoError] = Cache(cache_bytes // 4, lambda e: len(e.detail))
        self._running: dict[tuple[str, frozenset[str]], asyncio.Future[Looked]] = {}

    def require_room(self, priority: Priority = Priority.INTERACTIVE) -> None:
        """Raise BusyError where new photos would have to wait for too long."""
        self._inference.require_room(priority, self._max_queue_s)

    async def answer(
        self, photos: Sequence[bytes], models: Sequence[Served], *, interactive: bool = True
    ) -> list[Answered]:
        """Answer every task for every photo; a broken one has its error, in its place.

        Args:
            photos: the bytes of each.
            models: the tasks to answer.
            interactive: somebody waits for it; otherwise it goes with the new uploads.

        Raises:
            BusyError: the photos that have to be looked at would wait too long.
        """
        shas = [hashlib.sha256(data).hexdigest() for data in photos]
        known = await self._known(dict.fromkeys(shas), [m for one in models for m in one.both])
        mine = {sha: [one.of(sha) for one in models] for sha in shas}  # a canary takes its share
        new = {sha for sha in shas if known[sha].error is None and self._spaces(sha, mine[sha])}
        if new:
            self.require_room(_priority(interactive))
        looks = [
            self._one(sha, data, known[sha], mine[sha], _priority(interactive))
            for sha, data in zip(shas, photos, strict=True)
        ]
        return await in_order(looks)

    async def _one(
        self, sha: str, data: bytes, known: Known, models: Sequence[Served], priority: Priority
    ) -> Answered:
        how = "stored" if known.vectors else "cached"
        error: ListlensError | None = known.error
        spaces = self._spaces(sha, models)
        probs, vectors = self._held(
            sha, models
        )  # they may leave the caches while others are awaited
        if error is None and spaces:
            how = "shared" if self._key(sha, spaces) in self._running else "computed"
            try:
                vectors |= (await self._look(sha, data, spaces, priority)).vectors
            except PhotoError as broken:
                error = broken
            except ModelError as failed:
                error = failed
        if error is not None:
            return Answered(error=error)
        self._counting.photo(how)
        return Answered(how, tuple(self._answer(sha, one, probs, vectors) for one in models))

    def _held(
        self, sha: str, models: Sequence[Served]
    ) -> tuple[dict[tuple[int, str], NDArray[np.float32]], dict[str, NDArray[np.float16]]]:
        """What is in memory of a content: probabilities by model, vectors by space."""
        probs = {one.key: self._probs.get((sha, one.key)) for one in models}
        spaces = {one.backbone.space.id for one in models}
        vectors = {space_id: self._vectors.get((sha, space_id)) for space_id in spaces}
        return (
            {key: found for key, found in probs.items() if found is not None},
            {key: found for key, found in vectors.items() if found is not None},
        )

    async def _known(self, shas: Mapping[str, None], models: Sequence[Served]) -> dict[str, Known]:
        """What is in memory of these contents, and for the others what the store knows."""
        found = {sha: Known(self._errors.get(sha)) for sha in shas}
        todo = [sha for sha in shas if found[sha].error is None and self._spaces(sha, models)]
        todo = [sha for sha in todo if self.seen.may_be(sha)]
        if not todo:
            return found
        spaces = {one.backbone.space.id: one.backbone.space for one in models}
        stored = await to_thread.run_sync(known_contents, self._store, list(spaces.values()), todo)
        for sha, known in stored.items():
            if known.error is not None:
                self._errors.put(sha, known.error)
            for space_id, vector in known.vectors.items():
                self._vectors.put((sha, space_id), vector)
        return found | stored

    def _spaces(self, sha: str, models: Sequence[Served]) -> dict[str, Backbone]:
        """The backbones that still have to look at a content."""
        return {
            one.backbone.space.id: one.backbone
            for one in models
            if self._probs.get((sha, one.key)) is None
            and self._vectors.get((sha, one.backbone.space.id)) is None
        }

    @staticmethod
    def _key(sha: str, spaces: Mapping[str, Backbone]) -> tuple[str, frozenset[str]]:
        return sha, frozenset(spaces)

    async def _look(
        self, sha: str, data: bytes, spaces: Mapping[str, Backbone], priority: Priority
    ) -> Looked:
        """Queue a photo, or wait with those who asked for the same content first."""
        key = self._key(sha, spaces)
        if key not in self._running:
            future = self._inference.submit(
                data, priority=priority, backbones=list(spaces.values()), sha256=sha
            )
            running = asyncio.wrap_future(future)
            running.add_done_callback(lambda done: self._finish(key, done))
            self._running[key] = running
        return await asyncio.shield(self._running[key])

    def _finish(self, key: tuple[str, frozenset[str]], done: asyncio.Future[Looked]) -> None:
        """Keep what was found at the moment it stops running, so that nobody looks again."""
        del self._running[key]
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._keep(key[0], done.result())
        elif isinstance(error, PhotoError):
            self._errors.put(key[0], error)

    def _keep(self, sha: str, looked: Looked) -> None:
        for space_id, vector in looked.vectors.items():
            self._vectors.put((sha, space_id), vector)

    def _answer(
        self,
        sha: str,
        served: Served,
        held: Mapping[tuple[int, str], NDArray[np.float32]],
        vectors: Mapping[str, NDArray[np.float16]],
    ) -> Answer:
        probs = held.get(served.key)
        if probs is None:
            probs = served.live.probs(vectors[served.backbone.space.id][None])[0]
            self._probs.put((sha, served.key), probs)
        return Answer(served, probs, served.live.decide(probs[None])[0])


async def in_order(steps: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all at once; a single one, the usual case, without the cost of a task."""
    return [await steps[0]] if len(steps) == 1 else list(await asyncio.gather(*steps))


def _priority(interactive: bool) -> Priority:
    return Priority.INTERACTIVE if interactive else Priority.NEW


def _n_bytes(array: NDArray[np.floating]) -> int:
    return array.nbytes
