"""Drift in the worker: sums are kept with each batch of results, and alerts given once a day."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from listlens.core.errors import ModelError
from listlens.learn.reference import Reference
from listlens.pipeline.drift import findings
from listlens.store.drift import Key, Sums
from listlens.stream.announcing import drift_detected
from listlens.stream.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.watch_config import DriftConfig
    from listlens.store.open import Store
    from listlens.stream.answering import Answerer, Answers

log = logging.getLogger("listlens.stream")

Rows = dict[int, tuple[list[str], "NDArray[np.float64]"]]
"""model_id to contents by sha256 and a row of numbers for each."""


class Drifting:
    """Keeps sums of what models answer, and says when they are not what was trained on.

    Args:
        store: where they are kept.
        root: the project's folder.
        config: `[drift]`.
    """

    def __init__(self, store: Store, root: Path, config: DriftConfig) -> None:
        self._store, self._root, self._config = store, root, config
        self._references: dict[int, Reference | None] = {}
        self._blas = ThreadpoolController()  # see `listlens.stream.answering`

    # -- with each batch --------------------------------------------------------------------

    def rows(self, works: Sequence[Work], models: Sequence[Answerer], answers: Answers) -> Rows:
        """Return a row for each photo that was looked at just now, of each model that answered it.

        Contents that were known are left out: they were counted when they were new.
        """
        found: Rows = {}
        by_sha = {work.sha256: work for work in works}
        for one in models if self._config.enabled else ():
            live, space = one.live, one.backbone.space.id
            fresh = answers.fresh.get(live.model_id, {})
            told = {
                sha: result
                for sha, results in answers.results.items()
                if (result := results.get(live.task)) and result["model"] == live.name
            }
            shas = [s for s in fresh if s in told and s in by_sha and space in by_sha[s].vectors]
            reference = self._reference(one) if shas else None
            if reference is None:
                continue
            review = np.array([told[sha]["review"] for sha in shas], np.bool_)
            vectors = np.stack([by_sha[sha].vectors[space] for sha in shas])
            with self._blas.limit(limits=1):
                rows = reference.rows(vectors, np.stack([fresh[sha] for sha in shas]), review)
            found[live.model_id] = shas, rows
        return found

    def write(self, rows: Rows, works: Sequence[Work]) -> None:
        """Add the rows of these works to the sums, in the transaction of their results."""
        source = {work.sha256: work.event.source for work in works if work.record is not None}
        more: dict[Key, Sums] = {}
        for model_id, (shas, numbers) in rows.items():
            for name in set(source.values()):
                at = [i for i, sha in enumerate(shas) if source.get(sha) == name]
                if at:
                    more[model_id, name] = Sums(len(at), numbers[at].sum(axis=0))
        self._store.drift.add(more, self._today())

    def _reference(self, one: Answerer) -> Reference | None:
        """What the model was trained on; None where it does not say."""
        model_id, folder = one.live.model_id, one.live.folder
        if model_id not in self._references:
            found = None
            try:
                found = None if folder is None else Reference.load(folder)
            except ModelError as error:
                log.warning("drift of %s is not watched: %s", one.live.name, error)
            self._references[model_id] = found
        return self._references[model_id]

    # -- now and then -----------------------------------------------------------------------

    def tell(self) -> int:
        """Announce each source and task that has drifted, once a day; return how many."""
        if not self._config.enabled:
            return 0
        n, today = 0, self._today()
        for one in findings(self._store, self._root, self._config)[0]:
            if not one.drifted or one.days[1] != today:  # nothing new came in today
                continue
            row = self._store.models.get(self._store.labels.task(one.task).task_id, one.model)
            with self._store.together():
                if not self._store.drift.note_told(row.model_id, one.source, today):
                    continue
                said = one.as_dict()
                self._store.outbox.append([drift_detected(said, today, self._store.clock())])
            log.warning("source %r has drifted from what %s was trained on: %s",
                        one.source, said["model"], one.advice)  # fmt: skip
            n += 1
        return n

    def _today(self) -> str:
        return self._store.clock().astimezone(UTC).date().isoformat()
