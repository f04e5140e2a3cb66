"""Work is cut into chunks that bound memory, and no item is lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.types import Reason
from listlens.images.files import Limits
from listlens.pipeline.contents import (
    CHUNK_BYTES,
    CHUNK_FILES,
    batched,
    bounded_chunks,
    read_file,
    worker_pool,
)

sizes = st.lists(st.integers(0, 3 * CHUNK_BYTES // 2), max_size=300)


@given(sizes)
def test_chunks_are_bounded_in_files_and_bytes_and_lose_nothing(some: list[int]) -> None:
    chunks = list(bounded_chunks(range(len(some)), some))
    assert [item for chunk in chunks for item in chunk] == list(range(len(some)))
    for chunk in chunks:
        assert 1 <= len(chunk) <= CHUNK_FILES
        assert len(chunk) == 1 or sum(some[item] for item in chunk) <= CHUNK_BYTES


@given(sizes)
def test_no_chunk_could_have_taken_the_next_item(some: list[int]) -> None:
    chunks = list(bounded_chunks(range(len(some)), some))
    for chunk, following in pairwise(chunks):
        total = sum(some[item] for item in chunk)
        assert len(chunk) == CHUNK_FILES or total + some[following[0]] > CHUNK_BYTES


@given(st.lists(st.integers(), max_size=50), st.integers(1, 20))
def test_batches_are_full_but_the_last(items: list[int], n: int) -> None:
    batches = list(batched(items, n))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == n for batch in batches[:-1])
    assert all(batches)


def test_batches_take_no_more_than_they_give() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    batches = batched(endless(), 10)
    next(batches)
    next(batches)
    assert taken == 20


def test_a_file_is_read_and_hashed_or_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    read = read_file(str(tmp_path / "a"), Limits())
    assert (read.data, read.n_bytes, read.error) == (b"abc", 3, None)
    assert read.sha256.startswith("ba7816bf")  # FIPS 180-2, appendix B.1
    assert read.without_data().data == b""
    assert read.without_data().sha256 == read.sha256
    for location, reason in (
        (tmp_path / "none", Reason.MISSING),
        (tmp_path, Reason.UNREADABLE),
    ):
        refused = read_file(str(location), Limits())
        assert refused.error is not None
        assert refused.error.reason is reason
        assert refused.data == b""
    small = read_file(str(tmp_path / "a"), Limits(max_bytes=2))
    assert small.error is not None
    assert small.error.reason is Reason.TOO_MANY_BYTES


def test_one_thread_a_core_unless_told() -> None:
    with worker_pool() as pool:
        assert list(pool.map(abs, [-1])) == [1]
    with worker_pool(3) as pool:
        assert sum(pool.map(abs, [-1, -2])) == 3
    with pytest.raises(ValueError, match="max_workers"):
        worker_pool(-1)
