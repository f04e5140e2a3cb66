"""What answers now, for those who run for years: loaded once, again only when something changed.

A server or worker asks `LiveModels.current()` for every request or batch and answers the whole of
it by what it got. A promotion, a rollback, a new policy or a renamed class anywhere, in this
process or another, shows within `CHECK_S`, without a restart.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from listlens.core.errors import ListlensError, NotFoundError, StoreError, suggest
from listlens.pipeline.models import LiveModel, load_model_row, stands_beside

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.learn.model import Model
    from listlens.store.models import ModelView
    from listlens.store.open import Store

CHECK_S = 0.5
"""Seconds between two looks at the stamp. A look took 0.13 ms on SQLite and from 1.2 ms on
PostgreSQL, on one busy machine, so it costs nothing; and no person sees a change faster."""

RETRY_S = 5.0
"""How often a shadow or canary that could not be loaded is tried again."""

LOADS = 10
"""Loads in a row that may meet a change in their midst before that is called an error."""


@dataclass(frozen=True)
class Answering:
    """What answers at one moment. Never changes; whoever holds it answers by it to the end.

    Args:
        stamp: of the store, when it was loaded.
        live: task to the model whose answers are given out.
        beside: the models whose answers are stored beside: shadows and canaries.
    """

    stamp: int
    live: Mapping[str, LiveModel]
    beside: tuple[LiveModel, ...] = ()

    def of(self, task: str) -> LiveModel:
        """Return the live model of a task.

        Raises:
            NotFoundError: none is live; names those that there are.
        """
        if task not in self.live:
            raise NotFoundError(f"no model answers task {task!r}. {suggest(task, self.live)}")
        return self.live[task]

    def chosen(self, task: str, sha256: str) -> LiveModel:
        """Return the model that answers a content: the live one, or for its share the canary.

        Args:
            task: its name.
            sha256: of the content, 64 hex digits. The same content always gets the same model.

        Raises:
            NotFoundError: no model of the task is live.
        """
        live = self.of(task)
        return next(
            (m for m in self.beside if m.task == task and in_share(task, sha256, m.share)), live
        )

    def all_of(self, task: str) -> tuple[LiveModel, ...]:
        """Return every model whose answers are stored, the live one first."""
        return (self.of(task), *(model for model in self.beside if model.task == task))


def gives_out(model: LiveModel, models: Sequence[LiveModel], sha256: str) -> bool:
    """Whether a model's answer for a content is given out, or only stored.

    Args:
        model: one of `models`.
        models: all that answer, those beside the live ones too.
        sha256: of the content.
    """
    if model.stage != "live":
        return in_share(model.task, sha256, model.share)
    return not any(
        other.task == model.task and in_share(model.task, sha256, other.share)
        for other in models
        if other.stage != "live"
    )


def in_share(task: str, sha256: str, share: float) -> bool:
    """Whether a content is among a share of all, the same ones each time and others for each task.

    Args:
        task: its name.
        sha256: of the content.
        share: in [0, 1].

    Example:
        >>> sum(in_share("room", f"{n:064x}", 0.05) for n in range(10_000)) / 10_000
        0.052
    """
    if not share:
        return False
    drawn = hashlib.sha256(f"{task}\0{sha256}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") / 2**64 < share


class LiveModels:
    """The models that answer, loaded again only when the store says that something changed.

    Args:
        store: of the project.
        root: the project's folder.
        check_s: seconds between two looks at the store; 0: at every call.
        clock: seconds, monotonic.

    Attributes:
        problem: why the newest change could not be loaded (a folder that is not on this host,
            say); empty where all is well. What was loaded before goes on answering meanwhile. A
            shadow or canary that cannot be loaded is left out, and keeps no other from answering.
        on_change: called with what answers now, after each change.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        *,
        check_s: float = CHECK_S,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Answering], None] = lambda now: None,
    ) -> None:
        self._store, self._root = store, root
        self._check_s, self._clock = check_s, clock
        self.on_change = on_change
        self.problem = ""
        self._left_out = ""
        self._loaded_at = float("-inf")
        self._now: Answering | None = None
        self._checked = float("-inf")
        self._loading = threading.Lock()
        self._folders: dict[int, Model] = {}

    def current(self) -> Answering:
        """Return what answers now. Any thread may call it, as often as it likes.

        One thread at a time looks whether it changed; others do not wait for it.

        Raises:
            ListlensError: at the first call only, where a model or the store cannot be read.
        """
        now = self._now
        if now is None:
            with self._loading:
                return self._now or self._look()
        if self._clock() - self._checked >= self._check_s and self._loading.acquire(blocking=False):
            try:
                return self._look()
            except ListlensError as error:
                self.problem = str(error)
            finally:
                self._loading.release()
        return self._now or now

    def _look(self) -> Answering:
        """Load again where the stamp is another; under the lock."""
        self._checked = self._clock()
        before = self._now
        retry = bool(self._left_out) and self._checked - self._loaded_at >= RETRY_S
        same = before is not None and self._store.stages.stamp() == before.stamp
        if before is not None and same and not retry:
            self.problem = self._left_out
            return before
        loaded = self._whole()
        self._loaded_at, self.problem = self._checked, self._left_out
        if before is not None and same and len(loaded.beside) == len(before.beside):
            return before  # still left out
        self._now = loaded
        self.on_change(loaded)
        return loaded

    def _whole(self) -> Answering:
        """Load once more where something changed meanwhile, so that nothing is mixed."""
        for _ in range(LOADS):
            stamp = self._store.stages.stamp()
            loaded = self._load(stamp)
            if self._store.stages.stamp() == stamp:
                return loaded
        raise StoreError("models change faster than they can be loaded: try again.")

    def _load(self, stamp: int) -> Answering:
        tasks = {task.task_id: task for task in self._store.labels.tasks()}
        rows = [row for row in self._store.models.list() if row.task_id in tasks]
        loaded = [self._model(tasks[row.task_id], row) for row in rows if row.stage == "live"]
        beside, wrong = [], []
        for row in filter(stands_beside, rows):
            try:
                beside.append(self._model(tasks[row.task_id], row))
            except ListlensError as error:
                wrong.append(f"{tasks[row.task_id].name}/{row.version} is left out: {error}")
        self._left_out = " ".join(wrong)
        every = [*loaded, *beside]
        self._folders = {one.model_id: one.model for one in every if one.model is not None}
        return Answering(stamp, {model.task: model for model in loaded}, tuple(beside))

    def _model(self, task: Task, row: ModelView) -> LiveModel:
        """A folder never changes, so one that was read is not read again."""
        return load_model_row(self._store, self._root, task, row, self._folders.get(row.model_id))
