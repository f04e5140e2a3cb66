"""Any sequence of promotions, rollbacks, shadows and the rest, against a plain list."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import EmbeddingSpace
from listlens.store.models import ModelRecord
from listlens.store.open import open_store

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)


class Stages(RuleBasedStateMachine):
    """What a person would keep on paper: who answered in turn, and where each model stands."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store("sqlite:///listlens.db", Path(self.folder.name))
        self.task = self.store.labels.add_task("room", "single", ["a", "b"]).task_id
        self.stage: dict[int, str] = {}
        self.share: dict[int, float] = {}
        self.line: list[int] = []  # who answered, in turn; the last one does, if one does
        self.stamp = self.store.stages.stamp()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @property
    def live(self) -> int | None:
        return next((m for m, stage in self.stage.items() if stage == "live"), None)

    def changed(self) -> None:
        now = self.store.stages.stamp()
        assert now > self.stamp
        self.stamp = now

    def _lead(self, model: int) -> None:
        """A model answers from now on."""
        if (before := self.live) is not None:
            self.stage[before], self.share[before] = "retired", 0.0
        self.line = [m for m in self.line if m != model] + [model]
        self.stage[model], self.share[model] = "live", 0.0

    @rule()
    def register(self) -> None:
        version = self.store.models.next_version(self.task)
        record = ModelRecord(self.task, version, "m", "a" * 64, SPACE, 1, {})
        model = self.store.models.register(record)
        first = not self.stage
        self.stage[model], self.share[model] = "candidate", 0.0
        if first:
            self._lead(model)
        self.changed()

    @precondition(lambda self: self.stage)
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(sorted(self.stage)))
        before = self.live
        told = self.store.stages.promote(model, who="ann")
        if model == before:
            assert told is None
            return
        assert (told.model_id if told else None) == before
        self._lead(model)
        self.changed()

    @precondition(lambda self: self.stage)
    @rule()
    def rollback(self) -> None:
        line = [m for m in self.line if m != self.live] if self.live else self.line
        if not line:
            with pytest.raises(NotFoundError):
                self.store.stages.rollback(self.task)
            return
        before, after = self.store.stages.rollback(self.task)
        assert (before.model_id if before else None) == self.live
        assert after.model_id == line[-1]
        if self.live is not None:
            self.stage[self.live] = "retired"
        self.line = line
        self.stage[after.model_id], self.share[after.model_id] = "live", 0.0
        self.changed()

    @precondition(lambda self: self.stage)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(sorted(self.stage)))
        self.store.stages.retire(model)
        self.stage[model], self.share[model] = "retired", 0.0
        self.line = [m for m in self.line if m != model]
        self.changed()

    @precondition(lambda self: self.stage)
    @rule(data=st.data())
    def shadow(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(sorted(self.stage)))
        if model == self.live:
            with pytest.raises(InputError):
                self.store.stages.shadow(model)
            return
        self.store.stages.shadow(model)
        self.stage[model], self.share[model] = "shadow", 0.0
        self.changed()

    @precondition(lambda self: self.stage)
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.05, 0.5]))
    def canary(self, data: st.DataObject, share: float) -> None:
        model = data.draw(st.sampled_from(sorted(self.stage)))
        if model == self.live or (share and self.live is None):
            with pytest.raises(InputError):
                self.store.stages.canary(model, share)
            return
        self.store.stages.canary(model, share)
        if share:
            self.share = dict.fromkeys(self.share, 0.0)
        self.stage[model], self.share[model] = "candidate", share
        self.changed()

    @invariant()
    def the_store_says_the_same(self) -> None:
        rows = self.store.models.list(self.task)
        assert {row.model_id: row.stage for row in rows} == self.stage
        assert {row.model_id: row.share for row in rows} == self.share
        live = self.store.models.live(self.task)
        assert (live.model_id if live else None) == self.live
        assert sum(bool(row.share) for row in rows) <= 1

    @invariant()
    def the_history_leads_to_where_each_model_stands(self) -> None:
        standing: dict[int, str | None] = {}
        for change in self.store.stages.history(self.task):
            assert standing.get(change.model_id) == change.from_stage
            standing[change.model_id] = change.to_stage
        assert standing == self.stage


TestStages = Stages.TestCase
TestStages.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
