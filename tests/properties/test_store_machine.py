"""Whatever is done to a store in whatever order, it holds what a dict would (SQLite)."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from listlens.core.types import Answer, EmbeddingSpace, PhotoRow, Status
from listlens.store.contents import ContentRecord
from listlens.store.labels import NewAnnotation
from listlens.store.models import ModelRecord
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

SPACES = [EmbeddingSpace("tiny", d * 64, "squash8", "onnxruntime", "f32", 4) for d in "01"]
SELLERS = {"L1": "ann", "L2": "ann", "L3": "bob"}
listings = st.sampled_from(sorted(SELLERS))
photos = st.sampled_from(["1", "2"])
names = st.sampled_from("abcd")


@dataclass
class Expected:
    """What the store should hold, in plain dicts."""

    shows: dict[tuple[str, str], str] = field(default_factory=dict)
    showed: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)
    vectors: set[tuple[int, str]] = field(default_factory=set)
    predictions: dict[str, float] = field(default_factory=dict)
    answers: dict[tuple[str, str], str] = field(default_factory=dict)
    dead_listings: set[str] = field(default_factory=set)
    dead_photos: set[tuple[str, str]] = field(default_factory=set)

    def forget(self, keys: set[tuple[str, str]]) -> None:
        touched = set()
        for key in keys:
            touched |= {self.shows.pop(key), *self.showed.pop(key, set())}
            self.gone.discard(key)
            self.answers.pop(key, None)
        kept = {*self.shows.values(), *(n for names in self.showed.values() for n in names)}
        for name in touched - kept:
            self.contents.discard(name)
            self.predictions.pop(name, None)
            self.vectors = {(s, n) for s, n in self.vectors if n != name}


class StoreMachine(RuleBasedStateMachine):
    """Random saves, runs, answers, compactions, re-openings and forgettings."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.expected = Expected()
        self.store = self.open()
        self.source = self.store.photos.source("s", "folder", "/")
        self.ingest = self.store.photos.begin_ingest(self.source)
        self.task = self.store.labels.add_task("room", "single", ["x", "y"]).task_id
        self.who = self.store.labels.annotator("eve")
        record = ModelRecord(self.task, 1, "m", "0" * 64, SPACES[0], 1, {})
        self.model = self.store.models.register(record)
        self.pks: dict[tuple[str, str], int] = {}

    def open(self) -> Store:
        return open_store("sqlite:///listlens.db", self.folder)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    def content_id(self, name: str) -> int | None:
        sha = hashlib.sha256(name.encode()).hexdigest()
        found = self.store.contents.lookup([sha]).get(sha)
        return None if found is None else found.content_id

    @rule(listing=listings, photo=photos, name=names)
    def save(self, listing: str, photo: str, name: str) -> None:
        key = (listing, photo)
        dead = self.store.photos.forgotten([key], [SELLERS[listing]])
        wanted = listing in self.expected.dead_listings or key in self.expected.dead_photos
        assert bool(dead) == wanted
        if dead:
            return
        sha = hashlib.sha256(name.encode()).hexdigest()
        (pk,) = self.store.contents.save(
            [ContentRecord(sha, 1, "JPEG", 1, 1, {"m": ord(name)}, Status.OK)]
        )
        row = PhotoRow(listing, photo, f"/{listing}/{photo}", seller_id=SELLERS[listing])
        record = PhotoRecord(row, 1, 1, pk, Status.OK)
        (self.pks[key],) = self.store.photos.save(self.source, self.ingest, [record])
        before = self.expected.shows.get(key)
        if before not in (None, name):
            self.expected.showed.setdefault(key, set()).add(str(before))
        self.expected.shows[key] = name
        self.expected.gone.discard(key)
        self.expected.contents.add(name)

    @rule(space=st.sampled_from([0, 1]))
    def embed(self, space: int) -> None:
        found = list(self.store.contents.without_vector(SPACES[space].id))
        live = {
            n for key, n in self.expected.shows.items()
            if key not in self.expected.gone and (space, n) not in self.expected.vectors
        }  # fmt: skip
        assert {u.content_id for u in found} == {self.content_id(n) for n in live}
        ids = [u.content_id for u in found]
        rows = [np.full(4, self.store.contents.get([pk])[pk].measures["m"]) for pk in ids]  # type: ignore[index]
        if ids:
            self.store.vectors.put(SPACES[space], ids, np.array(rows, np.float16))
        self.expected.vectors |= {(space, n) for n in live}

    @rule(name=names, p=st.floats(0, 1, width=16))
    def predict(self, name: str, p: float) -> None:
        pk = self.content_id(name)
        if pk is not None:
            self.store.predictions.save(self.model, [pk], np.array([[p, 1 - p]], np.float32))
            self.expected.predictions[name] = p

    @precondition(lambda self: self.expected.shows)
    @rule(data=st.data(), answer=st.sampled_from("xy"))
    def annotate(self, data: st.DataObject, answer: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.expected.shows)))
        pk = self.content_id(self.expected.shows[key])
        assert pk is not None
        row = NewAnnotation(
            self.task, "content", (pk,), Answer((answer,)), self.who, self.pks[key]
        )  # fmt: skip
        self.store.labels.annotate([row])
        assert self.store.labels.annotate([row]) == 0
        self.expected.answers[key] = answer

    @rule(data=st.data())
    def run_over_the_source(self, data: st.DataObject) -> None:
        """See some photos again, all others are gone."""
        keys = sorted(self.expected.shows)
        seen = set(data.draw(st.lists(st.sampled_from(keys), unique=True))) if keys else set()
        self.ingest = self.store.photos.begin_ingest(self.source)
        self.store.photos.touch(self.ingest, [self.pks[key] for key in sorted(seen)])
        n_gone = self.store.photos.finish_ingest(self.ingest)
        assert n_gone == len(set(keys) - seen - self.expected.gone)
        self.expected.gone = set(keys) - seen

    @rule(listing=listings)
    def forget_listing(self, listing: str) -> None:
        if self.store.photos.listing(listing) is None:
            return
        self.store.forgetting.execute(self.store.forgetting.plan(listing=listing))
        self.expected.forget({key for key in self.expected.shows if key[0] == listing})
        self.expected.dead_listings.add(listing)

    @precondition(lambda self: self.expected.shows)
    @rule(data=st.data())
    def forget_photo(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.expected.shows)))
        plan = self.store.forgetting.plan(listing=key[0], photo=key[1])
        assert self.store.forgetting.execute(plan) == plan
        self.expected.forget({key})
        self.expected.dead_photos.add(key)

    @rule()
    def compact(self) -> None:
        self.store.vectors.compact(grace_s=-60)

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = self.open()

    @invariant()
    def photos_are_as_expected(self) -> None:
        if not hasattr(self, "store"):
            return
        found = {(v.listing_id, v.photo_id): v for v in self.store.photos.scan(batch=2)}
        assert set(found) == set(self.expected.shows)
        for key, view in found.items():
            name = self.expected.shows[key]
            assert view.sha256 == hashlib.sha256(name.encode()).hexdigest()
            gone = key in self.expected.gone
            assert view.status is (Status.GONE if gone else Status.OK)
        assert self.store.photos.counts()["gone"] == len(self.expected.gone)

    @invariant()
    def what_hangs_on_contents_is_as_expected(self) -> None:
        if not hasattr(self, "store"):
            return
        ids = {n: pk for n in "abcd" if (pk := self.content_id(n)) is not None}
        assert set(ids) == self.expected.contents
        for at, space in enumerate(SPACES):
            held = {
                pk: row[0] for block, rows in self.store.vectors.scan(space)
                for pk, row in zip(block.tolist(), rows, strict=True)
            }  # fmt: skip
            assert held == {ids[n]: ord(n) for s, n in self.expected.vectors if s == at}
        probs = self.store.predictions.get(self.model, list(ids.values()))
        assert set(probs) == {ids[n] for n in self.expected.predictions}
        for name, p in self.expected.predictions.items():
            assert abs(float(probs[ids[name]][0]) - p) < 1e-5
        answers = {v.photo_pk: v.answer.yes[0] for v in self.store.labels.annotations(self.task)}
        assert answers == {self.pks[key]: a for key, a in self.expected.answers.items()}


class TestStoreHoldsWhatADictWould(StoreMachine.TestCase):
    settings = settings(max_examples=6, stateful_step_count=20, deadline=None)


@pytest.mark.slow
class TestStoreHoldsWhatADictWouldForLong(StoreMachine.TestCase):
    settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
