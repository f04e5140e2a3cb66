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


def test_one_that_is_too_large_takes_nobody_s_place() -> None:
    cache: Cache[bytes] = Cache(1000, len)
    cache.put("a", b"1")
    cache.put("b", b"2" * 1000)
    assert cache.get("a") == b"1" and cache.get("b") is None
    cache.put("a", b"3" * 1000)
    assert cache.get("a") is None and cache.n_bytes == 0, "the value before it is no answer"


steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 6), st.integers(0, 1200)),
    st.tuples(st.just("get"), st.integers(0, 6), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.sampled_from([1, 1800, 3600])),
)


@given(st.lists(steps, max_size=50))
def test_it_keeps_what_a_slow_list_would_keep(given_steps: list[tuple[str, int, int]]) -> None:
    clock, most = Clock(), 3000
    cache: Cache[bytes] = Cache(most, len, clock)
    used: list[tuple[int, float, bytes]] = []  # key, moment and value, the longest unused first
    for what, key, number in given_steps:
        entry = next((one for one in used if one[0] == key), None)
        if what == "wait":
            clock.now += number
        elif what == "put":
            value = bytes(number)
            used = [one for one in used if one is not entry]
            if number + OVERHEAD_BYTES <= most:
                used.append((key, clock.now, value))
            while sum(len(one[2]) + OVERHEAD_BYTES for one in used) > most:
                used.pop(0)
            cache.put(key, value)
        else:
            used = [one for one in used if one is not entry]
            fresh = entry is not None and clock.now - entry[1] <= MAX_AGE_S
            used += [entry] if entry is not None and fresh else []
            assert cache.get(key) == (entry[2] if entry is not None and fresh else None)
        assert len(cache) == len(used)
