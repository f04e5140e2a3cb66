"""Bodies: bounded together, given up where nothing comes, and read into records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from listlens.serve import bodies
from listlens.serve.bodies import Budget, Share, parse_call, read_body
from listlens.serve.problems import Problem


def request_of(chunks: list[bytes], length: str = "", *, stall: bool = False) -> Request:
    """A request whose body comes in these chunks, and then perhaps no more."""

    async def messages() -> AsyncIterator[dict[str, Any]]:
        for chunk in chunks:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        if stall:
            await asyncio.sleep(60)
        yield {"type": "http.request", "body": b"", "more_body": False}

    stream = messages()
    headers = [(b"content-length", length.encode())] if length else []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    return Request(scope, lambda: anext(stream))


def read(request: Request, max_bytes: int, budget: Budget) -> bytes:
    async def go() -> bytes:
        with budget.share() as share:
            return await read_body(request, max_bytes, share)

    return asyncio.run(go())


def test_a_body_comes_whole_and_its_memory_is_handed_back() -> None:
    budget = Budget(100)
    assert read(request_of([b"ab", b"cd"], "4"), 10, budget) == b"abcd"
    assert budget.held == 0


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (request_of([b"x" * 11]), "too-large"),
        (request_of([], "11"), "too-large"),
        (request_of([b"x" * 6, b"x" * 6], "-1"), "too-large"),
    ],
    ids=["longer", "announced", "nonsense"],
)
def test_a_body_that_is_too_large_is_cut(request_: Request, kind: str) -> None:
    budget = Budget(100)
    with pytest.raises(Problem) as caught:
        read(request_, 10, budget)
    assert caught.value.kind == kind and budget.held == 0


def test_all_bodies_together_are_bounded() -> None:
    budget = Budget(10)
    with budget.share() as other:
        other.take(8)
        with pytest.raises(Problem) as caught:
            read(request_of([b"abc"]), 10, budget)
        assert caught.value.status == 429 and budget.held == 8
    assert budget.held == 0
    assert read(request_of([b"abc"]), 10, budget) == b"abc"


def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_S", 0.05)
    with pytest.raises(Problem) as caught:
        read(request_of([b"a"], stall=True), 10, Budget(100))
    assert caught.value.kind == "too-slow"


ids = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))


@given(st.lists(ids, min_size=1, max_size=5), st.one_of(st.none(), st.lists(st.text(min_size=1))))
def test_ids_and_tasks_come_through_as_they_are(
    given_ids: list[Any], tasks: list[str] | None
) -> None:
    body = json.dumps({"records": [{"id": i, "base64": "AAEC"} for i in given_ids], "tasks": tasks})
    call = asyncio.run(parse_call(body.encode(), "application/json; charset=utf-8", 64))
    assert [r.record_id for r in call.records] == [
        place if i is None else i for place, i in enumerate(given_ids)
    ]
    assert all(r.data == b"\0\1\2" for r in call.records)
    assert call.tasks == tasks


@given(
    st.binary(max_size=300), st.sampled_from(["application/json", "multipart/form-data;boundary=x"])
)
def test_any_bytes_are_a_call_or_a_problem(body: bytes, content_type: str) -> None:
    try:
        call = asyncio.run(parse_call(body, content_type, 4))
    except Problem as problem:
        assert 400 <= problem.status < 500
    else:
        assert call.records


def test_bytes_beyond_a_part_of_a_form_are_kept_exactly() -> None:
    photo = bytes(range(256)) * 9000  # larger than what goes to disk by default
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    body = head + photo + b"\r\n--x--\r\n"
    call = asyncio.run(parse_call(body, "multipart/form-data; boundary=x", 4))
    (one,) = call.records
    assert (one.record_id, one.data) == ("a.jpg", photo)


lengths = st.text("0123456789 ²-+.a_", max_size=30) | st.integers(0, 6000).map("9".__mul__)


@settings(deadline=None)
@given(lengths)
def test_any_announced_length_is_read_or_refused_and_never_an_error(length: str) -> None:
    budget, room = Budget(100), 10
    try:
        assert read(request_of([b"abc"], length), room, budget) == b"abc"
    except Problem as problem:
        assert problem.kind == "too-large"
        assert length.isascii() and length.strip("0").isdigit()
    assert budget.held == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.booleans()), max_size=40))
def test_a_budget_is_never_negative_never_passed_and_whole_in_the_end(
    steps: list[tuple[int, int, bool]],
) -> None:
    budget = Budget(100)
    shares = [Share(budget) for _ in range(4)]
    held = dict.fromkeys(range(4), 0)
    closed = set()
    for place, n_bytes, closes in steps:
        try:
            shares[place].take(n_bytes)
        except Problem as problem:
            assert problem.status == 429 and sum(held.values()) + n_bytes > 100
        else:
            held[place] += 0 if place in closed else n_bytes
        if closes:
            shares[place].close()
            held[place] = 0
            closed.add(place)
        assert budget.held == sum(held.values()) and 0 <= budget.held <= 100
    for share in shares:
        share.close()
    assert budget.held == 0


def test_a_photo_fetched_after_its_call_was_refused_is_held_by_nobody() -> None:
    budget = Budget(10)
    with budget.share() as share:
        share.take(4)
    share.take(6)  # one of its downloads ends only now
    assert budget.held == share.n_bytes == 0
