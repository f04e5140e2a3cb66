"""The cache of results: bounded in bytes, the longest unused goes first, and nothing gets old."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from listlens.serve.cache import MAX_AGE_S, OVERHEAD_BYTES, Cache


class Clock:
    """Seconds that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_longest_unused_goes_first() -> None:
    cache: Cache[bytes] = Cache(3 * (OVERHEAD_BYTES + 10), len)
    for name in "abc":
        cache.put(name, b"0123456789")
    assert cache.get("a") is not None
    cache.put("d", b"0123456789")
    assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache: Cache[bytes] = Cache(500, len)
    cache.put("a", b"x" * 1000)
    assert cache.get("a") is None and len(cache) == cache.n_bytes == 0


def test_an_old_entry_is_forgotten() -> None:
    clock = Clock()
    cache: Cache[bytes] = Cache(10_000, len, clock)
    cache.put("a", b"1")
    clock.now = MAX_AGE_S
    assert cache.get("a") == b"1"
    clock.now = MAX_AGE_S + 1
    assert cache.get("a") is None and cache.n_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 900)), max_size=60))
def test_bytes_are_counted_right_and_bounded(puts: list[tuple[int, int]]) -> None:
    cache: Cache[bytes] = Cache(5_000, len)
    last: dict[int, bytes] = {}
    for key, size in puts:
        value = bytes(size)
        cache.put(key, value)
        last[key] = value
        assert cache.n_bytes <= 5_000
    kept = {key: value for key, value in last.items() if cache.get(key) is not None}
    assert all(cache.get(key) == value for key, value in kept.items())
    assert cache.n_bytes == sum(len(v) + OVERHEAD_BYTES for v in kept.values())
