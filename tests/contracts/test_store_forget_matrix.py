"""What every way of forgetting removes and keeps, cell by cell, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from listlens.core.errors import NotFoundError
from listlens.core.text import Reading, TextLine
from listlens.core.types import Answer, EmbeddingSpace, ListingRow, PhotoRow, Status
from listlens.store.contents import ContentRecord
from listlens.store.labels import NewAnnotation
from listlens.store.models import ModelRecord
from listlens.store.open import Store
from listlens.store.photos import PhotoRecord
from listlens.store.schema import tombstone

SPACES = [EmbeddingSpace("tiny", digit * 64, "squash8", "onnxruntime", "f32", 8) for digit in "01"]
NAMES = "abcdef"


class Market:
    """Three listings of two sellers.

    `a` is shown by N1/1 alone, `b` was shown by N1/1 before, `c` is shared by N1/2 and S1/1, `d` is
    shown by S1/2, `e` was shown by S1/2 and is shown by T1/1, `f` by T1/1's twin of another source.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.source = store.photos.source("one", "folder", "/one")
        self.ingest = store.photos.begin_ingest(self.source)
        shas = {n: hashlib.sha256(n.encode()).hexdigest() for n in NAMES}
        records = [ContentRecord(s, 1, "JPEG", 1, 1, {"m": 1}, Status.OK) for s in shas.values()]
        self.shas = shas
        self.ids = dict(zip(NAMES, store.contents.save(records), strict=True))
        self.pks: dict[str, int] = {}
        self.show(("N1", "1", "b", "ann"), ("N1", "2", "c", "ann"), ("S1", "1", "c", "bob"),
                  ("S1", "2", "e", "bob"), ("T1", "1", "e", "bob"))  # fmt: skip
        self.show(("N1", "1", "a", "ann"), ("S1", "2", "d", "bob"))
        self.second = store.photos.source("two", "folder", "/two")
        second_ingest = store.photos.begin_ingest(self.second)
        store.photos.save(self.second, second_ingest, [self.record("T1", "1", "f", "bob")])
        ids = list(self.ids.values())
        for space in SPACES:
            store.vectors.put(space, ids, np.outer(ids, np.ones(8)).astype(np.float16))
        for name in NAMES[:4]:
            store.thumbnails.put(shas[name], name.encode())
        self.task = store.labels.add_task("room", "single", ["x", "y"]).task_id
        self.models = [
            store.models.register(ModelRecord(self.task, v, f"m{v}", "0" * 64, SPACES[0], 1, {}))
            for v in (1, 2)
        ]
        for model in self.models:
            store.predictions.save(model, ids, np.full((len(ids), 2), 0.5, np.float32))
        line = TextLine("sale", 1.0, (0, 0, 1, 0, 1, 1, 0, 1))
        store.readings.save({pk: Reading("r", (line,)) for pk in ids})
        self.ann, self.eve = store.labels.annotator("Ann"), store.labels.annotator("Eve")
        self.annotate()

    def record(self, listing: str, photo: str, name: str, seller: str) -> PhotoRecord:
        row = PhotoRow(listing, photo, f"/p/{listing}/{photo}", seller_id=seller)
        return PhotoRecord(row, 1, 1, self.ids[name], Status.OK)

    def show(self, *rows: tuple[str, str, str, str]) -> None:
        records = [self.record(*row) for row in rows]
        pks = self.store.photos.save(self.source, self.ingest, records)
        self.pks |= {f"{row[0]}/{row[1]}": pk for row, pk in zip(rows, pks, strict=True)}

    def annotate(self) -> None:
        def says(kind: str, ids: list[int], who: int, photo: str | None = None) -> NewAnnotation:
            pk = None if photo is None else self.pks[photo]
            return NewAnnotation(self.task, kind, ids, Answer(("x",)), who, pk, at=f"{kind}{ids}")  # type: ignore[arg-type]

        ids = self.ids
        self.store.labels.annotate(
            [
                says("content", [ids["a"]], self.ann, "N1/1"),
                says("content", [ids["c"]], self.ann, "N1/2"),
                says("content", [ids["c"]], self.eve, "S1/1"),
                says("content", [ids["d"]], self.eve, "S1/2"),
                says("content", [ids["b"]], self.eve),
                says("pair", [ids["a"], ids["d"]], self.ann),
                says("pair", [ids["c"], ids["e"]], self.ann),
                says("listing", [self.listing("N1")], self.ann),
                says("listing", [self.listing("S1")], self.eve),
            ]
        )

    def listing(self, name: str) -> int:
        found = self.store.photos.listing(name)
        assert found is not None
        return int(found["listing_pk"])

    def contents(self) -> str:
        """Names of the contents that are whole; asserts that nothing is there by half."""
        whole = ""
        for name, pk in self.ids.items():
            there = {bool(self.store.contents.get([pk]))}
            there |= {not self.store.vectors.missing(space, [pk]) for space in SPACES}
            there |= {not self.store.predictions.missing(model, [pk]) for model in self.models}
            there |= {not self.store.readings.missing("r", [pk])}
            if name in NAMES[:4]:
                there.add(self.store.thumbnails.get(self.shas[name]) is not None)
            assert len(there) == 1, name
            whole += name if there == {True} else ""
        return whole

    def photos(self) -> list[str]:
        return sorted(f"{v.listing_id}/{v.photo_id}" for v in self.store.photos.scan())

    def answers(self) -> list[str]:
        """Subjects that still have an answer, in letters."""
        letters = {pk: name for name, pk in self.ids.items()}
        found = []
        for view in self.store.labels.annotations(self.task):
            if view.subject_kind == "listing":
                found.append("listing")
            else:
                found.append("".join(letters[pk] for pk in view.subject_ids))
        return sorted(found)


@pytest.fixture
def market(store: Store) -> Market:
    return Market(store)


ALL = ["N1/1", "N1/2", "S1/1", "S1/2", "T1/1", "T1/1"]
ANSWERS = sorted(["a", "c", "c", "d", "b", "ad", "ce", "listing", "listing"])
MATRIX: dict[str, tuple[dict[str, str], str, list[str], list[str]]] = {
    # what is asked: contents, photos and answers that stay
    "listing": ({"listing": "N1"}, "cdef", ALL[2:], ["c", "ce", "d", "listing"]),
    "listing-with-former-content-shown-elsewhere": (
        {"listing": "S1"}, "abcef", ["N1/1", "N1/2", "T1/1", "T1/1"],
        ["a", "b", "c", "ce", "listing"],
    ),
    "listing-of-two-sources": (
        {"listing": "T1"}, "abcde", ALL[:4], ANSWERS,
    ),
    "photo-in-every-listing": (
        {"photo": "1"}, "cde", ["N1/2", "S1/2"], ["c", "ce", "d", "listing", "listing"],
    ),
    "photo-in-one-listing": (
        {"photo": "2", "listing": "S1"}, "abcef", ["N1/1", "N1/2", "S1/1", "T1/1", "T1/1"],
        ["a", "b", "c", "c", "ce", "listing", "listing"],
    ),
    "photo-with-shared-content": (
        {"photo": "2", "listing": "N1"}, "abcdef", ["N1/1", *ALL[2:]],
        ["a", "ad", "b", "c", "ce", "d", "listing", "listing"],
    ),
    "seller-of-one-listing": ({"seller": "ann"}, "cdef", ALL[2:], ["c", "ce", "d", "listing"]),
    "seller-of-two-listings": (
        {"seller": "bob"}, "abc", ["N1/1", "N1/2"], ["a", "b", "c", "listing"],
    ),
    "annotator": ({"annotator": "Eve"}, "abcdef", ALL, ANSWERS),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "contents", "photos", "answers"), MATRIX.values(), ids=MATRIX)
def test_forgetting_removes_exactly_what_belongs_to_it(
    market: Market, asked: dict[str, str], contents: str, photos: list[str], answers: list[str]
) -> None:
    plan = market.store.forgetting.plan(**asked)  # type: ignore[arg-type]
    assert (market.contents(), market.photos(), market.answers()) == (NAMES, ALL, ANSWERS)
    done = market.store.forgetting.execute(plan)
    assert done == plan
    assert market.contents() == contents
    assert market.photos() == photos
    assert market.answers() == answers
    gone = [name for name in NAMES if name not in contents]
    assert set(done.contents) == {market.ids[name] for name in gone}
    assert (done.n_vectors, done.n_predictions) == (2 * len(gone), 2 * len(gone))
    assert done.n_texts == len(gone)
    assert done.n_thumbnails == sum(name in NAMES[:4] for name in gone)
    assert len(done.photos) == len(ALL) - len(photos)
    if done.what != "annotator":
        assert done.n_annotations == len(ANSWERS) - len(answers)


@pytest.mark.parametrize("order", [("ann", "bob"), ("bob", "ann")], ids=["ann first", "bob first"])
def test_forgetting_everybody_leaves_nothing_whatever_the_order(
    market: Market, order: tuple[str, str]
) -> None:
    for seller in order:
        market.store.forgetting.execute(market.store.forgetting.plan(seller=seller))
    assert (market.contents(), market.photos(), market.answers()) == ("", [], [])
    assert sum(market.store.photos.counts().values()) == 0
    assert list(market.store.contents.scan()) == []
    for space in SPACES:
        assert list(market.store.vectors.scan(space)) == []


COMES_BACK: dict[str, tuple[dict[str, str], list[tuple[str, str, str | None]], list[bool]]] = {
    # what was forgotten; rows of (listing, photo, seller) that come later; which are kept out
    "listing": (
        {"listing": "N1"},
        [("N1", "1", "ann"), ("N1", "new", None), ("N2", "1", "ann")], [True, True, False],
    ),
    "photo": (
        {"photo": "1", "listing": "S1"},
        [("S1", "1", "bob"), ("S1", "2", "bob"), ("N1", "1", "ann")], [True, False, False],
    ),
    "seller": (
        {"seller": "bob"},
        [("S1", "1", None), ("T1", "9", None), ("Z9", "1", "bob"), ("Z9", "1", "ann")],
        [True, True, True, False],
    ),
    "annotator": ({"annotator": "Eve"}, [("N1", "1", "Eve"), ("Eve", "Eve", None)], [False] * 2),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "rows", "out"), COMES_BACK.values(), ids=COMES_BACK)
def test_what_was_forgotten_is_known_again(
    market: Market,
    asked: dict[str, str],
    rows: list[tuple[str, str, str | None]],
    out: list[bool],
) -> None:
    market.store.forgetting.execute(market.store.forgetting.plan(**asked))  # type: ignore[arg-type]
    found = [
        bool(market.store.photos.forgotten([(listing, photo)], [seller]))
        for listing, photo, seller in rows
    ]
    assert found == out


def test_of_two_rows_about_one_photo_either_seller_keeps_it_out(market: Market) -> None:
    market.store.forgetting.execute(market.store.forgetting.plan(seller="ann"))
    keys = [("Z", "1"), ("Z", "1")]
    for sellers in (["ann", "zoe"], ["zoe", "ann"], ["ann", None]):
        assert market.store.photos.forgotten(keys, sellers) == {("Z", "1")}


def test_sellers_that_do_not_line_up_with_the_photos_are_a_mistake(market: Market) -> None:
    with pytest.raises(ValueError, match="2 sellers for 1 photos"):
        market.store.photos.forgotten([("a", "b")], ["x", "y"])
    assert market.store.photos.forgotten([], []) == set()


def test_forgotten_bytes_are_known_again_and_shared_ones_are_free(market: Market) -> None:
    shas = list(market.shas.values())
    assert market.store.contents.forgotten(shas) == set()
    plan = market.store.forgetting.plan(seller="ann")
    assert market.store.contents.forgotten(shas) == set()  # a plan bars nothing
    gone = {sha for name, sha in market.shas.items() if market.ids[name] in plan.contents}
    assert gone
    market.store.forgetting.execute(plan)
    assert market.store.contents.forgotten(shas) == gone
    assert market.store.contents.forgotten([]) == set()
    with market.store.photos._db.read() as connection:
        for kind, value in connection.execute(sa.select(tombstone.c.kind, tombstone.c.keyed_hash)):
            assert bytes(value).hex() not in gone, kind  # only a keyed hash is kept


def test_what_forgotten_bytes_were_is_not_found_under_their_old_id(market: Market) -> None:
    market.store.forgetting.execute(market.store.forgetting.plan(seller="ann"))
    (again,) = market.store.contents.save(
        [ContentRecord(market.shas["a"], 1, "JPEG", 1, 1, None, Status.OK)]
    )
    assert again not in market.ids.values()  # an id is never given twice
    assert market.store.vectors.missing(SPACES[0], [again]) == [again]


def test_a_listing_without_photos_can_be_forgotten(store: Store) -> None:
    store.photos.save_listings([ListingRow("bare", "zoe", {"text": "mine"})])
    plan = store.forgetting.execute(store.forgetting.plan(listing="bare"))
    assert (plan.listings, plan.photos, plan.contents) == (("bare",), (), ())
    assert store.photos.listing("bare") is None
    assert store.photos.forgotten([("bare", "x")]) == {("bare", "x")}


def test_a_plan_that_grew_old_removes_what_is_there_when_it_is_executed(market: Market) -> None:
    plan = market.store.forgetting.plan(listing="N1")
    market.show(("N1", "3", "d", "ann"))
    done = market.store.forgetting.execute(plan)
    assert len(done.photos) == len(plan.photos) + 1
    assert "N1/3" not in market.photos()
    assert "d" in market.contents()


def test_two_annotators_keep_their_answers_apart_under_their_pseudonyms(market: Market) -> None:
    labels, forgetting = market.store.labels, market.store.forgetting
    for name in ("Ann", "Eve"):
        forgetting.execute(forgetting.plan(annotator=name))
    assert labels.annotator("Ann") == market.ann
    assert labels.annotator("Eve") == market.eve
    assert market.answers() == ANSWERS


MISSING: list[dict[str, Any]] = [
    {"listing": "N9"}, {"photo": "9"}, {"photo": "1", "listing": "N9"}, {"seller": "zoe"},
    {"annotator": "Zoe"},
]  # fmt: skip


def test_what_is_not_there_is_said_and_leaves_no_tombstone(market: Market) -> None:
    for asked in MISSING:
        with pytest.raises(NotFoundError, match=f"no {next(iter(asked))} "):
            market.store.forgetting.plan(**asked)
    keys = [("N9", "1"), ("N1", "1")]
    assert market.store.photos.forgotten(keys, ["zoe", "Zoe"]) == set()
