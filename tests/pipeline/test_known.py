"""What a store knows of bytes: nothing, why they are no photo, or their embedding."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from listlens.core.errors import PhotoError
from listlens.core.types import EmbeddingSpace, Reason, Status
from listlens.pipeline import known
from listlens.pipeline.known import Seen, known_contents
from listlens.store.contents import ContentRecord
from listlens.store.open import Store, open_store

SPACE = EmbeddingSpace("b", "ab" * 32, "p", "onnxruntime", "f32", 4)


def sha(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def save(store: Store, *numbers: int, error: PhotoError | None = None) -> list[int]:
    status = Status.OK if error is None else Status.FAILED
    why = (None, "") if error is None else (error.reason, error.detail)
    records = [ContentRecord(sha(n), 1, "JPEG", 1, 1, None, status, *why) for n in numbers]
    return store.contents.save(records)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with open_store("sqlite:///listlens.db", tmp_path) as opened:
        yield opened  # type: ignore[misc]


def test_what_is_known_is_an_embedding_or_a_reason(store: Store) -> None:
    first, _ = save(store, 1, 2)
    save(store, 3, error=PhotoError(Reason.TRUNCATED, "ends early"))
    store.vectors.put(SPACE, [first], np.arange(4, dtype=np.float16)[None])
    found = known_contents(store, [SPACE], [sha(n) for n in (1, 2, 3, 4)])
    assert set(found) == {sha(1), sha(2), sha(3)}
    assert found[sha(1)].vectors[SPACE.id].tolist() == [0, 1, 2, 3]
    assert found[sha(2)].vectors == {} and found[sha(2)].error is None
    error = found[sha(3)].error
    assert error is not None and (error.reason, error.detail) == (Reason.TRUNCATED, "ends early")


def test_new_bytes_are_known_to_be_new(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_PAGE", 3)
    save(store, *range(10))
    seen = Seen(store)
    assert seen.may_be(sha(99)), "before the first look nothing is certain"
    seen.refresh()
    assert all(seen.may_be(sha(n)) for n in range(10))
    assert not any(seen.may_be(sha(n)) for n in range(10, 200))
    save(store, 50)
    assert not seen.may_be(sha(50))
    seen.refresh()
    assert seen.may_be(sha(50)) and seen.may_be(sha(3)) and not seen.may_be(sha(51))


def test_a_store_that_is_too_large_to_remember_is_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_PAGE", 2)
    save(store, *range(8))
    seen = Seen(store, most=5)
    seen.refresh()
    assert seen.may_be(sha(3)) and seen.may_be(sha(99))
