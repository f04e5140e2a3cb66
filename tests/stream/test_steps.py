"""The steps by themselves: bring a photo, look at it, answer for it, and say so."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import BusyError, FetchError, InputError, PhotoError
from listlens.core.types import Reason, Status
from listlens.images.files import Limits
from listlens.pipeline.inference import Inference
from listlens.store.event_rows import EventState, EventView
from listlens.stream.announcing import announcement
from listlens.stream.answering import answer
from listlens.stream.bringing import Bringing, trouble_of
from listlens.stream.looking import Looking
from listlens.stream.running import InForce
from listlens.stream.work import Trouble, Work

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Got:
    lease = None

    def __init__(self, data: bytes) -> None:
        self.data = data


class Answers:
    """A fetcher that gives one answer, or raises it."""

    def __init__(self, answer: bytes | Exception = b"photo") -> None:
        self.answer, self.asked = answer, list[str]()

    def fetch(self, url: str) -> Got:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Got(self.answer)


def work_of(kind: str = "photo.added", priority: int = 1, **body: Any) -> Work:
    event = EventView(
        "e1", kind, "L1", "" if kind == "listing.changed" else "p", NOW, body,
        priority=priority, event_id=1, state=EventState.LEASED, attempts=1,
    )  # fmt: skip
    return Work(event)


def brought(bringing: Bringing, **body: Any) -> Work:
    work = work_of(**body)
    bringing.place(work)
    bringing.bring(work)
    return work


# -- bringing -----------------------------------------------------------------------------------


def test_an_address_is_fetched_and_its_bytes_are_named_by_their_hash() -> None:
    fetcher = Answers(b"bytes")
    work = brought(Bringing(fetcher, None, Limits()), url="https://Shop.Example:8443/ä b.jpg")
    assert fetcher.asked == ["https://Shop.Example:8443/ä b.jpg"]
    assert (work.data, work.n_bytes) == (b"bytes", 5)
    assert work.sha256 == hashlib.sha256(b"bytes").hexdigest()
    assert (work.host, work.location) == ("shop.example", "https://Shop.Example:8443/ä b.jpg")
    assert work.error is None
    assert work.trouble is None


@pytest.mark.parametrize("url", ["http://[::1", "x" * 10, "https://", "file:///etc/passwd", "\n"])
def test_an_address_that_is_none_has_no_host_and_is_asked_all_the_same(url: str) -> None:
    fetcher = Answers(PhotoError(Reason.BAD_URL, "no URL"))
    work = brought(Bringing(fetcher, None, Limits()), url=url)
    assert work.host == ""
    assert work.error is not None and work.error.reason is Reason.BAD_URL
    assert "\n" not in work.location


def test_what_may_pass_is_told_from_what_never_will() -> None:
    def outcome(error: Exception) -> Work:
        return brought(Bringing(Answers(error), None, Limits()), url="https://x/a")

    passes = outcome(FetchError(Reason.BUSY, "429", retry_after_s=9.0)).trouble
    assert passes == Trouble(Reason.BUSY, "429", 9.0)
    assert outcome(FetchError(Reason.TIMEOUT, "10 s")).trouble == Trouble(Reason.TIMEOUT, "10 s")
    never = outcome(PhotoError(Reason.FORBIDDEN, "403"))
    assert never.trouble is None and never.error is not None
    ours = outcome(ZeroDivisionError("division by zero")).trouble
    assert ours == Trouble(Reason.UNEXPECTED, "ZeroDivisionError: division by zero")
    assert trouble_of(BusyError("full", 3.0)).retry_after_s == 3.0
    assert trouble_of(InputError("")).detail == "InputError: InputError"


def test_files_are_read_from_the_folder_that_the_settings_name_and_from_nowhere_else(
    tmp_path: Path,
) -> None:
    inside, outside = tmp_path / "photos", tmp_path / "private"
    (inside / "a").mkdir(parents=True)
    outside.mkdir()
    (inside / "a" / "1.jpg").write_bytes(b"one")
    (outside / "2.jpg").write_bytes(b"two")
    (inside / "link").symlink_to(outside)
    bringing = Bringing(Answers(), inside, Limits(max_bytes=10))
    assert brought(bringing, path="a/1.jpg").data == b"one"
    assert brought(bringing, path="./a/../a/1.jpg").data == b"one"
    assert brought(bringing, path=str(inside / "a" / "1.jpg")).data == b"one"
    for path, reason in [
        ("../private/2.jpg", "outside"), ("link/2.jpg", "outside"), ("/etc/passwd", "outside"),
        ("a", "unreadable"), ("a/absent.jpg", "missing"), ("\0", "unreadable"),
    ]:  # fmt: skip
        work = brought(bringing, path=path)
        assert work.error is not None, path
        assert work.error.reason.value == reason, path
        assert work.data == b""
    (inside / "large.jpg").write_bytes(b"x" * 11)
    large = brought(bringing, path="large.jpg")
    assert large.error is not None and large.error.reason is Reason.TOO_MANY_BYTES
    none = brought(Bringing(Answers(), None, Limits()), path="a/1.jpg")
    assert none.error is not None and "[events] photos" in none.error.detail


# -- looking ------------------------------------------------------------------------------------


@pytest.fixture
def opened(project: Path) -> Iterator[Any]:
    with listlens.open(project) as found:
        yield found


class Desk:
    """A `Looking` with its finished contents."""

    def __init__(self, store: Any, inference: Inference) -> None:
        self.done: dict[str, Future[Any]] = {}
        self.there = threading.Event()
        self.looking = Looking(store, inference, keep_thumbnails=True, done=self._done)

    def _done(self, sha256: str, future: Future[Any]) -> None:
        self.done[sha256] = future
        self.there.set()

    def collected(self) -> list[Work]:
        assert self.there.wait(60)
        self.there.clear()
        return [w for sha in list(self.done) for w in self.looking.collect(sha, self.done.pop(sha))]


def shown(data: bytes) -> Work:
    work = work_of(url="https://x/a")
    work.data, work.n_bytes = data, len(data)
    work.sha256 = hashlib.sha256(data).hexdigest()
    return work


def test_one_content_is_looked_at_once_for_all_who_show_it(
    opened: Any, inference: Inference, draw_photo: Callable[..., Any], tmp_path: Path
) -> None:
    draw_photo("stripes", 71).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    desk, works = Desk(opened.store, inference), [shown(data) for _ in range(3)]
    before = inference.counters().accepted
    assert all(desk.looking.look(work, [inference.backbone]) for work in works)
    assert all(work.data == b"" for work in works)  # the queue alone holds the bytes
    assert desk.collected() == works
    assert inference.counters().accepted == before + 1
    space = inference.backbone.space
    for work in works:
        assert work.record is not None and work.record.status is Status.OK
        assert (work.record.format, work.record.width_px) == ("JPEG", 160)
        assert work.record.measures is not None and work.thumbnail is not None
        assert work.vectors[space.id].shape == (space.dim,)


def test_bytes_that_are_no_photo_are_told_to_all_who_show_them(
    opened: Any, inference: Inference
) -> None:
    desk, works = Desk(opened.store, inference), [shown(b"<html>") for _ in range(2)]
    for work in works:
        assert desk.looking.look(work, [inference.backbone])
    for work in desk.collected():
        assert work.error is not None and work.error.reason is Reason.NOT_AN_IMAGE
        assert work.record is not None and work.record.status is Status.FAILED


def test_a_full_queue_is_come_back_to_and_the_bytes_are_kept(opened: Any) -> None:
    queue = Inference(opened.backbone, opened.limits, n_threads=1)
    queue.close()
    desk, work = Desk(opened.store, queue), shown(b"x")
    assert not desk.looking.look(work, [opened.backbone])
    assert work.data == b"x"
    assert not desk.looking.look(work, [opened.backbone])


def test_what_the_store_knows_is_not_looked_at(
    opened: Any, inference: Inference, shop: Any
) -> None:
    desk, backbones = Desk(opened.store, inference), [inference.backbone]
    known = shown((shop.photos / "home-00" / "0.jpg").read_bytes())
    new, empty = shown(b"never seen"), work_of(url="x")
    assert desk.looking.settle_known([known, new, empty], backbones) == [new]
    assert known.content_id is not None
    assert known.data == b""
    assert new.data == b"never seen"
    opened.store.vectors.delete([known.content_id])
    again = shown((shop.photos / "home-00" / "0.jpg").read_bytes())
    assert desk.looking.settle_known([again], backbones) == [again]  # its embedding is gone
    opened.forget(photo="home-00/0.jpg")
    gone = shown((shop.photos / "home-00" / "0.jpg").read_bytes())
    assert desk.looking.settle_known([gone], backbones) == []
    assert gone.forgotten
    assert gone.data == b""


# -- answering and announcing -------------------------------------------------------------------


def test_stored_answers_are_told_again_and_new_ones_are_made_of_embeddings(
    opened: Any, inference: Inference
) -> None:
    opened.tag()
    models = InForce(opened)()
    (first, second) = list(opened.store.contents.scan())[:2]
    stored, fresh = work_of(url="x"), work_of(url="y")
    stored.sha256, stored.content_id = first.sha256, first.content_id
    fresh.sha256 = "f" * 64
    vector = opened.store.vectors.get(inference.backbone.space, [second.content_id])[0]
    fresh.vectors = {inference.backbone.space.id: vector}
    found = answer(opened.store, models, [stored, fresh], top=2)
    assert set(found.results) == {first.sha256, fresh.sha256}
    (model_id,) = found.fresh
    assert list(found.fresh[model_id]) == [fresh.sha256]
    known = opened.store.predictions.get(model_id, [second.content_id])[second.content_id]
    assert np.allclose(found.fresh[model_id][fresh.sha256], known, atol=1e-4)
    for results in found.results.values():
        assert len(results["label"]["probabilities"]) == 2
        assert results["label"]["probability"] == max(results["label"]["probabilities"].values())
    assert answer(opened.store, models, [], top=2).results == {}


def test_each_kind_of_news_says_what_a_receiver_needs() -> None:
    deleted = announcement(work_of("photo.deleted"), {}, NOW)
    assert deleted.body == {
        "id": "e1/photo.deleted", "kind": "photo.deleted", "at": NOW.isoformat(),
        "listing_id": "L1", "photo_id": "p", "source": "events", "event_id": "e1",
    }  # fmt: skip
    listing = announcement(work_of("listing.changed", attributes={"price": 1}), {}, NOW)
    assert listing.body["attributes"] == {"price": 1}
    assert "photo_id" not in listing.body
    failed = work_of(url="https://x/a", position=0)
    failed.error, failed.location = PhotoError(Reason.MISSING, "404"), "https://x/a"
    news = announcement(failed, {}, NOW)
    assert (news.kind, news.tasks) == ("photo.failed", ())
    assert (news.body["reason"], news.body["detail"]) == ("missing", "404")
    assert (news.body["location"], news.body["position"]) == ("https://x/a", 0)
    told = announcement(work_of(url="x"), {"room": {"prediction": "bath"}}, NOW)
    assert (told.kind, told.tasks) == ("photo.predicted", ("room",))
    assert told.body["results"]["room"] == {"prediction": "bath"}
