"""An event's way as a trace: what it waited for, how long each step took, and why it failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from listlens.core.errors import FetchError
from listlens.core.types import Reason

Draw = Callable[..., Path]
Said = Callable[..., dict[str, Any]]

STEPS = {"fetch", "queue", "decode", "gather", "network", "answer", "settle", "announce", "commit"}


def trees(spans: Any) -> dict[str, dict[str, Any]]:
    """Event id to its spans by name; each event is a trace of its own."""
    found = spans.get_finished_spans()
    roots = {one.context.trace_id: one for one in found if one.parent is None}
    named: dict[str, dict[str, Any]] = {}
    for one in found:
        root = roots[one.context.trace_id]
        steps = named.setdefault(root.attributes["listlens.event_id"], {})
        assert one.name not in steps, "each step once"
        assert one is root or one.parent.span_id == root.context.span_id
        steps["event" if one is root else one.name] = one
    return named


def test_every_step_of_an_event_is_a_span_under_it(
    line: Any, draw_file: Draw, said: Said, spans: Any
) -> None:
    draw_file("a.jpg", seed=31)
    line.put(said("a.jpg", source="upload"))
    assert line.drain().outcomes == {"predicted": 1}
    ((event_id, steps),) = trees(spans).items()
    assert event_id == "photo.added-a.jpg-None" and steps.keys() == STEPS | {"event"}
    root = steps["event"]
    assert root.name == "event photo.added" and root.attributes["listlens.source"] == "upload"
    assert root.attributes["listlens.attempt"] == 1 and root.attributes["listlens.waited_s"] >= 0
    assert root.status.status_code.name == "UNSET"
    order = ["fetch", "queue", "decode", "gather", "network", "answer", "settle", "announce"]
    begins = [steps[name].start_time for name in order]
    assert begins == sorted(begins)
    slack = 50e6  # two clocks: those of spans in a block, and those noted after it
    assert all(root.start_time - slack <= one.start_time <= one.end_time for one in steps.values())
    assert all(one.end_time <= root.end_time + slack for one in steps.values())


def test_a_known_photo_is_traced_without_looking(
    line: Any, draw_file: Draw, said: Said, spans: Any
) -> None:
    draw_file("a.jpg", seed=32)
    line.put(said("a.jpg"))
    line.drain()
    spans.clear()
    line.put(said("a.jpg", "photo.changed"))
    line.drain()
    (steps,) = trees(spans).values()
    assert steps.keys() == {"event", "fetch", "answer", "settle", "announce", "commit"}


def test_a_failure_is_named_where_it_happened_and_on_the_event(
    line: Any, said: Said, spans: Any
) -> None:
    line.pages.found["https://x.example/b.jpg"] = FetchError(Reason.TIMEOUT, "too slow")
    line.put(
        said("none.jpg"),
        said("a.jpg", url="https://x.example/a.jpg?key=secret"),
        said("b.jpg", url="https://x.example/b.jpg"),
    )
    line.worker().run(threading.Event(), "once")
    found = trees(spans)
    reasons = {
        name.split("-")[1]: (steps["event"].attributes["listlens.reason"], steps["fetch"].status)
        for name, steps in found.items()
    }
    assert {name: reason for name, (reason, _) in reasons.items()} == {
        "none.jpg": "missing",
        "a.jpg": "missing",
        "b.jpg": "timeout",
    }
    assert not any(status.is_ok for _, status in reasons.values())
    fetch = found["photo.added-a.jpg-None"]["fetch"]
    assert fetch.attributes["host"] == "x.example"
    assert "secret" not in str([one.to_json() for one in spans.get_finished_spans()])


def test_a_batch_is_told_on_each_of_its_events(
    line: Any, draw_file: Draw, said: Said, spans: Any
) -> None:
    for seed in range(3):
        draw_file(f"{seed}.jpg", seed=40 + seed)
    line.put(*(said(f"{seed}.jpg") for seed in range(3)), said("", "listing.changed"))
    line.drain()
    found = trees(spans)
    assert len(found) == 4
    assert all("commit" in steps for steps in found.values())
    listing = found["listing.changed--None"]
    assert "fetch" not in listing and listing["event"].name == "event listing.changed"


def test_without_traces_an_event_carries_none(line: Any, draw_file: Draw, said: Said) -> None:
    draw_file("a.jpg", seed=33)
    line.put(said("a.jpg"))
    worker = line.worker()
    kept: list[Any] = []
    drop = worker._drop
    worker._drop = lambda works: (kept.extend(works), drop(works))[1]
    worker.run(threading.Event(), "drained")
    assert [work.trace for work in kept] == [None]
