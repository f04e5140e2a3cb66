"""Waits, shares of hosts, and shares of canaries: what holds for every number."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from listlens.cli.models import parse_share
from listlens.core.errors import FetchError, InputError
from listlens.core.types import EmbeddingSpace, Policy, Reason
from listlens.pipeline.live import Answering, gives_out, in_share
from listlens.pipeline.models import LiveModel
from listlens.sources import hosts as hosts_module
from listlens.sources.hosts import Hosts, retry_after_s
from listlens.stream.hosts import HostLimits
from listlens.stream.retrying import Backoff

QUICK = settings(max_examples=50, deadline=None)
SECONDS = st.floats(0.001, 1e6)
SHARES = st.floats(0, 1, exclude_max=True)


@given(SECONDS, SECONDS, st.integers(1, 10**9), st.floats(0, 1, exclude_max=True), SECONDS)
@QUICK
def test_a_wait_is_between_half_and_all_of_what_doubling_says(
    first: float, longest: float, tried: int, dice: float, asked: float
) -> None:
    backoff = Backoff(first, longest, 5, lambda: dice)
    whole = first
    for _ in range(min(tried, 100) - 1):  # the slow way
        whole = min(2 * whole, longest)
    whole = min(whole, longest)
    assert 0.5 * whole * 0.999 <= backoff.seconds(tried) <= whole * 1.001
    assert backoff.seconds(tried + 1) >= backoff.seconds(tried) * 0.999
    assert backoff.seconds(tried, asked) == max(asked, backoff.seconds(tried))
    assert backoff.gives_up(tried) == (tried >= 5)


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.booleans())))
@QUICK
def test_no_host_runs_more_than_its_share_whatever_starts_and_ends(
    per_host: int, steps: list[tuple[str, bool]]
) -> None:
    limits, running = HostLimits(per_host), Counter[str]()
    for host, starts in steps:
        if starts:
            bears = host == "" or running[host] < per_host
            assert limits.full(host) is not bears
            assert limits.start(host) is bears
            running[host] += bears
        elif running[host]:
            limits.end(host)
            running[host] -= 1
        assert limits.running == running.total()


@given(st.text() | st.none(), SECONDS)
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 60.0)
@example("Mon, 01 Jan 2026 00:00:00 +9999999999999999999999", 60.0)
@example("9" * 5000, 60.0)
@QUICK
def test_any_retry_after_is_a_bounded_wait_or_nothing(value: str | None, cap_s: float) -> None:
    wait_s = retry_after_s(value, cap_s)
    assert wait_s is None or 0 <= wait_s <= cap_s


@given(st.integers(-10_000, 10_000))
@QUICK
def test_a_date_to_come_back_at_is_a_wait_from_now(seconds: int) -> None:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    for text in (format_datetime(at, usegmt=True), format_datetime(at.replace(tzinfo=None))):
        wait_s = retry_after_s(text, 1e6)
        assert wait_s is not None and abs(wait_s - max(seconds, 0)) <= 3


def test_a_turn_that_is_not_had_in_time_says_when_to_come_back() -> None:
    hosts = Hosts(per_host=2, max_wait_s=0.01)
    with hosts.turn("a"), hosts.turn("a"), hosts.turn("b"):
        with pytest.raises(FetchError, match="a: 2 requests at once") as full, hosts.turn("a"):
            raise AssertionError
        assert (full.value.reason, full.value.retry_after_s) == (Reason.BUSY, 1.0)
    with hosts.turn("a"), hosts.turn("a"):
        pass  # whoever waited in vain took no slot with him


def test_a_turn_that_ends_in_an_error_is_given_back() -> None:
    hosts = Hosts(per_host=1, max_wait_s=0.01)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), hosts.turn("a"):
            raise ZeroDivisionError
    inside, most = Counter[str](), [0]
    lock = threading.Lock()

    def ask() -> None:
        with patient.turn("a"):
            with lock:
                inside["a"] += 1
                most[0] = max(most[0], inside["a"])
            with lock:
                inside["a"] -= 1

    patient = Hosts(per_host=2, max_wait_s=30)
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 2


def test_the_longest_pause_that_a_host_asked_for_counts() -> None:
    now = [0.0]
    hosts = Hosts(2, 0.01, clock=lambda: now[0])
    with hosts.turn("a"):
        hosts.leave_alone("a", 30)
        hosts.leave_alone("a", 10)
    for now[0], left in ((0.0, 30.0), (29.0, 1.0)):
        with (
            pytest.raises(FetchError, match=f"asked to wait: {left:.0f} s") as why,
            hosts.turn("a"),
        ):
            raise AssertionError
        assert why.value.retry_after_s == left
    with hosts.turn("b"):
        pass  # another host is asked meanwhile
    now[0] = 30.0
    with hosts.turn("a"):
        pass


def test_strangers_do_not_fill_the_memory_and_a_pause_outlives_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosts_module, "MAX_HOSTS", 8)
    hosts = Hosts(1, 0.01, clock=lambda: 0.0)
    with hosts.turn("quiet"):
        hosts.leave_alone("quiet", 60)
    with hosts.turn("used"):
        for n in range(100):
            with hosts.turn(f"h{n}"):
                assert len(hosts._hosts) <= 8
        with pytest.raises(FetchError, match="1 requests at once"), hosts.turn("used"):
            raise AssertionError
    with pytest.raises(FetchError, match="asked to wait"), hosts.turn("quiet"):
        raise AssertionError
    for n in range(100):  # where all are quiet, the memory is bounded all the same
        with ExitStack() as stack:
            stack.enter_context(hosts.turn(f"q{n}"))
            hosts.leave_alone(f"q{n}", 60)
        assert len(hosts._hosts) <= 8


def model(version: int, stage: str, share: float = 0.0, task: str = "room") -> LiveModel:
    space = EmbeddingSpace("tiny", "0" * 64, "p", "onnxruntime", "f32", 4)

    def never(vectors: Any) -> Any:
        raise AssertionError

    return LiveModel(
        task,
        "single",
        ("a", "b"),
        version,
        version,
        Policy((0.5, 0.5), (0.5, 0.5), (0.5, 0.5)),
        space,
        never,
        None,
        stage,
        share,
    )


@given(SHARES, st.text("0123456789abcdef", min_size=64, max_size=64), st.booleans())
@QUICK
def test_of_each_task_one_model_is_given_out_and_server_and_worker_choose_the_same(
    share: float, sha256: str, shadowed: bool
) -> None:
    live, canary = model(1, "live"), model(2, "candidate", share)
    shadow = [model(3, "shadow")] if shadowed else []
    other = model(1, "live", task="view")
    beside = (*shadow, *([canary] if share else []))
    models = [live, other, *beside]
    now = Answering(1, {"room": live, "view": other}, tuple(beside))
    given_out = {one.name for one in models if gives_out(one, models, sha256)}
    assert given_out == {"view/1", now.chosen("room", sha256).name}
    assert (now.chosen("room", sha256) is canary) == in_share("room", sha256, share)


@given(SHARES, SHARES, st.text(max_size=9), st.text())
@QUICK
def test_whoever_is_in_a_share_is_in_every_larger_one(
    one: float, other: float, task: str, sha256: str
) -> None:
    small, large = sorted((one, other))
    assert in_share(task, sha256, small) <= in_share(task, sha256, large)
    assert in_share(task, sha256, 1.0)


@given(st.decimals(0, 1, places=6).filter(lambda d: d < 1))
@QUICK
def test_a_share_is_read_in_both_spellings(share: Any) -> None:
    assert parse_share(f"{share}") == pytest.approx(float(share))
    assert parse_share(f" {100 * share} % ") == pytest.approx(float(share))


@given(st.text() | st.floats(1).map(str) | st.floats(100).map("{}%".format))
@example("9" * 400)
@QUICK
def test_what_is_no_share_is_refused_with_what_is_allowed(text: str) -> None:
    try:
        share = parse_share(text)
    except InputError as error:
        assert "such as 5% or 0.05" in str(error)
    else:
        assert 0 <= share < 1 and all(c.isdecimal() or c.isspace() or c in ".%" for c in text)
