"""Readings on SQLite and PostgreSQL: kept, replaced, searched literally, gone with the content."""

from __future__ import annotations

import hashlib

import pytest

from listlens.core.text import Reading, TextLine
from listlens.core.types import Status
from listlens.store.contents import ContentRecord
from listlens.store.open import Store

BOX = (0.0, 0.0, 0.5, 0.0, 0.5, 0.25, 0.0, 0.25)


def contents(store: Store, n: int) -> list[int]:
    shas = [hashlib.sha256(bytes([i])).hexdigest() for i in range(n)]
    return store.contents.save([ContentRecord(s, 1, "JPEG", 1, 1, None, Status.OK) for s in shas])


def reading(*texts: str, reader: str = "r1") -> Reading:
    return Reading(reader, tuple(TextLine(t, 0.5, BOX) for t in texts), {"text_area": 0.125})


def test_what_was_read_comes_back(store: Store) -> None:
    first, second = contents(store, 2)
    saved = {first: reading("Großer SALE", "日本語"), second: reading()}
    assert store.readings.save(saved) == 2
    assert store.readings.get([first, second, 99]) == saved
    assert store.readings.counts() == (2, 1)
    assert [pk for pk, _ in store.readings.scan()] == [first]


def test_another_reader_reads_again(store: Store) -> None:
    (one,) = contents(store, 1)
    store.readings.save({one: reading("old")})
    assert store.readings.missing("r1", [one]) == []
    assert store.readings.missing("r2", [one]) == [one]
    store.readings.save({one: reading("new", reader="r2")})
    assert store.readings.get([one])[one].words == "new"
    assert store.readings.counts() == (1, 1)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("sale", "a"), ("SALE big", "a"), ("ale", "a"), ("50%", "b"), ("%", "b"), ("5_", ""),
        ("_", "c"), ("\\", "c"), ("straße", "c"), ("STRASSE", "c"), ("sale 50%", ""), ("", "abc"),
    ],
    ids=str,
)  # fmt: skip
def test_words_are_taken_literally_in_any_case(store: Store, words: str, found: str) -> None:
    texts = [reading("Big", "SALE!"), reading("50% off"), reading("a_b\\c", "Straße")]
    ids = dict(zip(contents(store, 3), "abc", strict=True))
    store.readings.save(dict(zip(ids, texts, strict=True)))
    hits = [ids[pk] for pk, _ in store.readings.scan(words, batch=1)]
    assert "".join(sorted(hits)) == found


def test_text_that_no_database_keeps_is_kept_without_it(store: Store) -> None:
    (one,) = contents(store, 1)
    store.readings.save({one: reading("a\0b\ud800c")})
    assert store.readings.get([one])[one].lines[0].text == "a?b?c"


def test_a_content_that_was_forgotten_meanwhile_is_left_out(store: Store) -> None:
    (one,) = contents(store, 1)
    assert store.readings.save({one: reading("x"), one + 7: reading("y")}) == 1
