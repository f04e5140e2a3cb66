"""The worker: each event has its effect once, in the right order, with a reason where it fails."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest

from listlens.core.errors import FetchError, PhotoError
from listlens.core.types import Reason
from listlens.store.models import ModelRecord
from listlens.stream.settling import PUT_OFF
from listlens.stream.work import MOST_LOST
from listlens.stream.worker import SLOW_S

Draw = Callable[..., Path]
Said = Callable[..., dict[str, Any]]


def test_a_new_photo_is_stored_answered_and_announced(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("a.jpg")
    store = line.project.store
    before = store.photos.counts()["ok"]
    line.put(said("a.jpg", position=2, attributes={"price": 7}, seller_id="S"))
    assert line.drain().outcomes == {"predicted": 1}
    (one,) = line.announced()
    assert (one["kind"], one["listing_id"], one["photo_id"]) == ("photo.predicted", "L1", "a.jpg")
    result = one["results"]["label"]
    assert (result["prediction"], result["model"]) == ("disc", "label/1")
    assert abs(sum(result["probabilities"].values()) - 1) < 1e-3
    assert store.photos.counts()["ok"] == before + 1
    (photo,) = [p for p in store.photos.scan() if p.photo_id == "a.jpg"]
    assert (photo.position, photo.seller_id, photo.sha256) == (2, "S", one["sha256"])
    assert store.thumbnails.get(photo.sha256) is not None
    assert store.photos.listing("L1")["attributes"] == {"price": 7}
    assert list(store.contents.without_vector(line.inference.backbone.space.id)) == []
    assert store.events.ledger().adds_up


def test_the_same_bytes_are_decoded_and_looked_at_once(
    line: Any, draw_file: Draw, said: Said
) -> None:
    data = draw_file("a.jpg", seed=2).read_bytes()
    for name in ("b.jpg", "c.jpg"):
        (line.project.root / "files" / name).write_bytes(data)
    before = line.inference.counters()
    line.put(said("a.jpg"), said("b.jpg"))
    report = line.drain()
    assert (report.looked, report.recognised) == (1, 1)
    line.put(said("c.jpg"), said("c.jpg"))  # the same event twice
    report = line.drain()
    assert (report.brought, report.looked, report.recognised) == (1, 0, 1)
    after = line.inference.counters()
    assert (after.decoded - before.decoded, after.embedded - before.embedded) == (1, 1)
    told = [one["results"] for one in line.announced()]
    assert told[0] == told[1] == told[2]
    assert len(told) == 3


def test_what_never_will_be_a_photo_is_dead_with_its_reason_and_the_rest_goes_on(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("fine.jpg")
    files = line.project.root / "files"
    (files / "text.jpg").write_text("<html>no photo</html>")
    (files / "cut.jpg").write_bytes(draw_file("whole.jpg", seed=3).read_bytes()[:1500])
    (line.project.root / "secret.jpg").write_bytes(b"x")
    (files / "link.jpg").symlink_to(line.project.root / "secret.jpg")
    line.pages.found["https://x/forbidden.jpg"] = PhotoError(Reason.FORBIDDEN, "403")
    names = ["fine.jpg", "text.jpg", "cut.jpg", "absent.jpg", "../secret.jpg", "link.jpg"]
    line.put(*[said(n) for n in names], said("f.jpg", url="https://x/forbidden.jpg"))
    report = line.drain()
    assert report.outcomes == {"predicted": 1, "failed": 6}
    expected = {
        "text.jpg": "not_an_image", "cut.jpg": "truncated", "absent.jpg": "missing",
        "../secret.jpg": "outside", "link.jpg": "outside", "f.jpg": "forbidden",
    }  # fmt: skip
    assert {d.photo_id: d.reason for d in line.project.store.dead.list()} == expected
    assert {k: v for k, v in line.photos().items() if k in expected} == expected
    told = {a["photo_id"]: a["reason"] for a in line.announced() if a["kind"] == "photo.failed"}
    assert told == expected
    before = line.inference.counters().decoded
    line.put(said("again.jpg", url="https://x/text"))
    line.pages.found["https://x/text"] = (files / "text.jpg").read_bytes()
    line.drain()  # bytes that are known to be no photo are not decoded again
    assert line.inference.counters().decoded == before
    assert line.photos()["again.jpg"] == "not_an_image"


def test_what_may_pass_is_tried_again_until_it_passes_or_its_tries_are_used_up(
    new_line: Callable[..., Any], draw_file: Draw, said: Said
) -> None:
    line = new_line("[worker]\nattempts = 3\nbackoff_s = 0.01\n")
    photo = draw_file("a.jpg").read_bytes()
    line.pages.found = {
        "https://x/a": FetchError(Reason.TIMEOUT, "10 s"),
        "https://x/b": FetchError(Reason.HOST_FAILED, "503"),
        "https://x/c": RuntimeError("a fault of ours"),
    }
    line.put(*[said(name, url=f"https://x/{name}") for name in "abc"])
    store = line.project.store
    worker = line.worker()
    assert worker.run(threading.Event(), "once").outcomes == {"put_off": 3}
    assert {store.events.get(f"photo.added-{n}-None").reason for n in "abc"} == {
        "timeout", "host_failed", "unexpected",
    }  # fmt: skip
    assert line.announced() == []
    line.pages.found["https://x/a"] = photo
    while store.events.next_due() is not None:
        line.drain()
    assert line.photos()["a"] == "ok"
    dead = {d.photo_id: (d.reason, d.attempts) for d in store.dead.list()}
    assert dead == {"b": ("host_failed", 3), "c": ("unexpected", 3)}
    assert "RuntimeError: a fault of ours" in store.events.get("photo.added-c-None").detail
    assert [one["kind"] for one in line.announced()].count("photo.failed") == 2


def test_an_older_event_that_arrives_later_does_not_bring_a_photo_back(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("a.jpg")
    line.put(said("a.jpg", at_s=1), said("a.jpg", "photo.deleted", at_s=3))
    report = line.drain()  # both in one batch
    assert report.outcomes == {"superseded": 1, "absent": 1}
    line.put(said("a.jpg", "photo.changed", at_s=2))
    assert line.drain().outcomes == {"superseded": 1}
    assert line.announced() == []
    assert "a.jpg" not in line.photos()
    line.put(said("a.jpg", at_s=4))
    assert line.drain().outcomes == {"predicted": 1}
    assert line.photos()["a.jpg"] == "ok"


def test_a_deleted_photo_takes_all_with_it_that_no_other_shows_and_may_come_back(
    line: Any, draw_file: Draw, said: Said
) -> None:
    data = draw_file("a.jpg", seed=5).read_bytes()
    (line.project.root / "files" / "same.jpg").write_bytes(data)
    draw_file("b.jpg", seed=6)
    names = ("a.jpg", "same.jpg", "b.jpg")
    line.put(*[said(name, at_s=1) for name in names])
    line.drain()
    store, space = line.project.store, line.inference.backbone.space
    shas = {p.photo_id: p.sha256 for p in store.photos.scan() if p.photo_id in names}
    ids = {n: store.contents.lookup([sha])[sha].content_id for n, sha in shas.items()}
    (model,) = [m.model_id for m in store.models.list() if m.task_id == 1]
    line.put(said("a.jpg", "photo.deleted", at_s=2), said("b.jpg", "photo.deleted", at_s=2))
    assert line.drain().outcomes == {"deleted": 2}
    store.forgetting.resume()
    assert set(store.contents.lookup(shas.values())) == {shas["same.jpg"]}
    assert store.vectors.missing(space, list(ids.values())) == [ids["b.jpg"]]
    assert store.predictions.missing(model, list(ids.values())) == [ids["b.jpg"]]
    assert store.thumbnails.get(shas["b.jpg"]) is None
    assert store.thumbnails.get(shas["same.jpg"]) is not None
    assert [a["photo_id"] for a in line.announced() if a["kind"] == "photo.deleted"] == [
        "a.jpg", "b.jpg",
    ]  # fmt: skip
    line.put(said("b.jpg", at_s=3))
    report = line.drain()
    assert (report.outcomes, report.looked) == ({"predicted": 1}, 1)
    store.forgetting.resume()
    assert store.thumbnails.get(shas["b.jpg"]) is not None


def test_what_is_newest_of_a_listing_stands_whoever_says_it(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("a.jpg")
    line.put(said("", "listing.changed", at_s=5, attributes={"price": 5}, seller_id="S"))
    line.drain()
    line.put(
        said("a.jpg", at_s=4, attributes={"price": 4}),
        said("", "listing.changed", at_s=3, attributes={"price": 3}),
    )
    assert line.drain().outcomes == {"predicted": 1, "superseded": 1}
    listing = line.project.store.photos.listing
    assert listing("L1")["attributes"] == {"price": 5}
    line.put(said("a.jpg", "photo.changed", at_s=6, attributes={"price": 6}))
    line.drain()
    assert listing("L1")["attributes"] == {"price": 6}
    assert listing("L1")["seller_id"] == "S"
    told = [a for a in line.announced() if a["kind"] == "listing.changed"]
    assert [one["attributes"] for one in told] == [{"price": 5}]


def test_what_was_forgotten_on_request_never_comes_in_again(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("a.jpg")
    draw_file("b.jpg", seed=7)
    line.put(said("a.jpg", seller_id="S"))
    line.drain()
    line.project.forget(listing="L1")
    line.put(said("a.jpg", "photo.changed"), said("b.jpg"))
    copy = {**said("copy.jpg", path="a.jpg"), "listing_id": "L2"}  # the same bytes elsewhere
    line.put(copy)
    assert line.drain().outcomes == {"forgotten": 3}
    ledger = line.project.store.events.ledger()
    assert (ledger.forgotten, ledger.adds_up) == (4, True)
    assert "L1" not in {p.listing_id for p in line.project.store.photos.scan()}
    assert line.announced() == []


def test_new_uploads_go_before_a_back_fill(
    new_line: Callable[..., Any], draw_file: Draw, said: Said
) -> None:
    line = new_line("[worker]\nin_flight = 1\n")
    for n in range(4):
        draw_file(f"{n}.jpg", seed=n)
    line.put(*[said(f"{n}.jpg", priority="backfill") for n in (0, 1)])
    line.put(*[said(f"{n}.jpg") for n in (2, 3)])
    line.drain()
    assert [a["photo_id"] for a in line.announced()] == ["2.jpg", "3.jpg", "0.jpg", "1.jpg"]


def test_a_back_fill_that_fills_the_worker_leaves_room_for_what_is_new(
    new_line: Callable[..., Any], draw_file: Draw, said: Said
) -> None:
    line = new_line("[worker]\nin_flight = 4\n")
    photo, may_go = line.pages.Got(draw_file("new.jpg").read_bytes()), threading.Event()

    class Slow:
        asked: ClassVar[list[str]] = []

        def fetch(self, url: str) -> Any:
            self.asked.append(url)
            assert may_go.wait(30)
            return photo

    line.pages = Slow()
    old = [f"old-{n}" for n in range(9)]
    line.put(*[said(n, url=f"http://{n}.example/", priority="backfill") for n in old])
    stop = threading.Event()
    thread = threading.Thread(target=line.worker().run, args=(stop,))
    thread.start()
    try:
        until(lambda: len(Slow.asked) == 3)
        line.put(said("new.jpg"))
        until(line.announced)
        assert [one["photo_id"] for one in line.announced()] == ["new.jpg"]
        assert len(Slow.asked) == 3  # one of four places is kept
        may_go.set()
        until(lambda: len(line.announced()) == 10)
    finally:
        may_go.set()
        stop.set()
        thread.join()


def until(true: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("slow_s", [0.0, SLOW_S])
def test_a_drain_waits_for_photos_that_it_put_off_since_their_host_was_slow(
    slow_s: float, new_line: Any, said: Said, draw_photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.stream.worker.AGAIN_S", 1.0)
    monkeypatch.setattr("listlens.stream.worker.SLOW_S", slow_s)
    line = new_line("[worker]\nin_flight = 8\nfetchers = 2")
    stream, urls = io.BytesIO(), [f"https://shop.example/{i}" for i in range(24)]
    draw_photo("disc", 1).save(stream, "JPEG")

    class Slow(type(line.pages)):  # type: ignore[misc]
        def fetch(self, url: str) -> Any:
            time.sleep(0.01)
            return super().fetch(url)

    line.pages = Slow(dict.fromkeys(urls, stream.getvalue()))
    line.put(*[said(f"p{i}", url=url) for i, url in enumerate(urls)])
    report = line.drain()
    assert (report.outcomes[PUT_OFF] > 0) == (slow_s == 0), "a quick host's photos stay in hand"
    assert line.project.store.events.ledger().states["done"] == len(urls)


def test_an_event_that_ends_its_workers_goes_to_the_dead_letters(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("a.jpg")
    draw_file("b.jpg", seed=8)
    line.put(said("a.jpg"), said("b.jpg"))
    events = line.project.store.events
    taken: list[list[str]] = []
    while events.get("photo.added-a.jpg-None").lost < MOST_LOST:
        taken.append([event.photo_id for event in events.claim("died", 10, 0.0)])
        if "a.jpg" not in taken[-1]:
            events.release("died")  # b harms nobody, but is under suspicion
    assert taken[:3] == [["a.jpg", "b.jpg"]] * 3
    assert all(len(names) == 1 for names in taken[3:])
    line.drain()
    line.drain()
    assert line.photos().get("b.jpg") == "ok"
    (dead,) = line.project.store.dead.list()
    assert (dead.photo_id, dead.reason) == ("a.jpg", "worker_died")
    assert {one["photo_id"]: one.get("reason") for one in line.announced()} == {
        "a.jpg": "worker_died",
        "b.jpg": None,
    }


def test_a_worker_that_is_told_to_stop_gives_back_what_it_has_not_done(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("a.jpg")
    line.put(said("a.jpg"))
    stop = threading.Event()
    stop.set()
    report = line.worker().run(stop)  # takes nothing any more
    assert report.outcomes == {}
    assert line.project.store.events.ledger().states["waiting"] == 1
    line.drain()
    assert line.photos()["a.jpg"] == "ok"


def test_a_shadow_is_stored_beside_and_a_canary_answers_its_share(
    line: Any, draw_file: Draw, said: Said
) -> None:
    store = line.project.store
    live = store.models.live(store.labels.task("label").task_id)
    values = {f.name: getattr(live, f.name) for f in fields(ModelRecord)}
    other = store.models.register(ModelRecord(**values | {"version": 2, "stage": ""}))
    store.models.add_policy(other, store.models.policy(live.model_id)[1])
    for n, change in enumerate(
        [lambda: store.stages.shadow(other), lambda: store.stages.canary(other, 0.999999)]
    ):
        change()
        draw_file(f"beside{n}.jpg", seed=50 + n)
        line.put(said(f"beside{n}.jpg"))
        assert line.drain().outcomes == {"predicted": 1}
        told = line.announced()[-1]
        assert told["photo_id"] == f"beside{n}.jpg"
        assert told["results"]["label"]["model"] == ("label/1", "label/2")[n]
        pk = store.contents.lookup([told["sha256"]])[told["sha256"]].content_id
        for model_id in (live.model_id, other):
            assert list(store.predictions.get(model_id, [pk])) == [pk]
