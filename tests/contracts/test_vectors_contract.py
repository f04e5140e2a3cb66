"""Every adapter of the port Vectors: files beside SQLite, files beside PostgreSQL, memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from listlens.core.errors import InputError, NotFoundError
from listlens.core.ports import Vectors
from listlens.core.types import EmbeddingSpace, Status
from listlens.store.contents import ContentRecord
from listlens.store.memory_vectors import MemoryVectors
from listlens.store.open import open_store

DIM = 6
SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", DIM)
OTHER = EmbeddingSpace("tiny", "1" * 64, "squash8", "onnxruntime", "f32", DIM)


def numbered(ids: Sequence[int]) -> NDArray[np.float16]:
    return np.array([[pk + d / 8 for d in range(DIM)] for pk in ids], np.float16).reshape(-1, DIM)


def held(vectors: Vectors, space: EmbeddingSpace) -> list[int]:
    found: list[int] = []
    for ids, block in vectors.scan(space):
        assert ids.dtype == np.int64
        np.testing.assert_array_equal(block, numbered(ids.tolist()))
        found.extend(ids.tolist())
    return found


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def vectors(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path: Path
) -> Iterator[Vectors]:
    if request.param == "memory":
        yield MemoryVectors()
        return
    records = [
        ContentRecord(hashlib.sha256(bytes([i])).hexdigest(), 1, "JPEG", 1, 1, None, Status.OK)
        for i in range(60)
    ]
    with open_store(new_database(request.param), tmp_path / "shop") as store:
        assert sorted(store.contents.save(records)) == list(range(1, 61))
        yield store.vectors


def test_vectors_come_back_in_the_order_asked(vectors: Vectors) -> None:
    vectors.put(SPACE, [5, 3, 9], numbered([5, 3, 9]))
    vectors.put(SPACE, [7], numbered([7]))
    asked = [9, 7, 5, 9, 3]
    got = vectors.get(SPACE, asked)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, numbered(asked))


def test_nothing_in_nothing_out(vectors: Vectors) -> None:
    vectors.put(SPACE, [], np.empty((0, DIM), np.float16))
    assert vectors.get(SPACE, []).shape == (0, DIM)
    assert held(vectors, SPACE) == []
    assert vectors.delete([1, 2]) == 0


def test_a_content_that_has_a_vector_keeps_it(vectors: Vectors) -> None:
    vectors.put(SPACE, [1], numbered([1]))
    vectors.put(SPACE, [1, 2, 2], np.stack([numbered([9])[0], numbered([2])[0], numbered([8])[0]]))
    np.testing.assert_array_equal(vectors.get(SPACE, [1, 2]), numbered([1, 2]))


def test_absent_vectors_are_named(vectors: Vectors) -> None:
    vectors.put(SPACE, [1], numbered([1]))
    assert vectors.missing(SPACE, [4, 1, 3]) == [4, 3]
    with pytest.raises(NotFoundError, match="4, 3"):
        vectors.get(SPACE, [4, 1, 3])


def test_spaces_do_not_mix(vectors: Vectors) -> None:
    vectors.put(SPACE, [1, 2], numbered([1, 2]))
    vectors.put(OTHER, [2], numbered([2]))
    assert vectors.missing(OTHER, [1, 2]) == [1]
    assert held(vectors, OTHER) == [2]


def test_scan_yields_each_once_by_id(vectors: Vectors) -> None:
    for ids in ([8, 2], [1, 60], [30]):
        vectors.put(SPACE, ids, numbered(ids))
    assert held(vectors, SPACE) == [1, 2, 8, 30, 60]


def test_delete_removes_from_every_space_and_leaves_the_rest(vectors: Vectors) -> None:
    vectors.put(SPACE, [1, 2, 3], numbered([1, 2, 3]))
    vectors.put(OTHER, [2], numbered([2]))
    assert vectors.delete([2, 50]) == 2
    assert held(vectors, SPACE) == [1, 3]
    assert held(vectors, OTHER) == []
    vectors.put(SPACE, [2], numbered([2]))
    assert held(vectors, SPACE) == [1, 2, 3]


def test_compacting_changes_no_answer(vectors: Vectors) -> None:
    for pk in range(1, 41):
        vectors.put(SPACE, [pk], numbered([pk]))
    vectors.delete([4, 5])
    vectors.compact()
    assert held(vectors, SPACE) == [pk for pk in range(1, 41) if pk not in (4, 5)]
    assert vectors.compact() == 0


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, DIM), np.float32),
        np.zeros((1, DIM + 1), np.float16),
        np.zeros((2, DIM), np.float16),
        np.zeros(DIM, np.float16),
    ],
    ids=["float32", "dim", "count", "flat"],
)
def test_vectors_of_another_shape_or_type_are_refused(
    vectors: Vectors, array: NDArray[np.float16]
) -> None:
    with pytest.raises(InputError, match="float16"):
        vectors.put(SPACE, [1], array)
    assert held(vectors, SPACE) == []


def test_dropping_a_space_removes_all_of_it_and_nothing_else(vectors: Vectors) -> None:
    for space in (SPACE, OTHER):
        vectors.put(space, [1, 2, 3], numbered([1, 2, 3]))
    assert vectors.drop(OTHER) == 3
    assert vectors.missing(OTHER, [1, 2, 3]) == [1, 2, 3]
    assert held(vectors, SPACE) == [1, 2, 3]
    assert vectors.drop(OTHER) == 0
    vectors.put(OTHER, [2], numbered([2]))
    assert held(vectors, OTHER) == [2]
