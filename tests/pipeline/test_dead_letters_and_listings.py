"""Letters chosen, read again and shown; listings told with names that have to be escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import InputError, NotFoundError
from listlens.core.stream_config import EventsConfig
from listlens.core.types import EmbeddingSpace, PhotoRow, Policy, Status
from listlens.pipeline.dead_letters import REREAD, as_dict, chosen, replay
from listlens.pipeline.event_door import BATCH, let_in, understood
from listlens.pipeline.listings import MOST_PHOTOS, events_of, listing_view, tell
from listlens.pipeline.models import LiveModel
from listlens.pipeline.moved import Moved
from listlens.pipeline.upgrading import _candidates, _drawn
from listlens.store.contents import ContentRecord
from listlens.store.event_rows import EventRecord, EventState, EventView, Finished
from listlens.store.models import ModelRecord
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS = EventsConfig()
SPACE = EmbeddingSpace("tiny", "0" * 64, "p", "onnxruntime", "f32", 4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path, clock=lambda: NOW) as opened:
        yield opened


def put(store: Store, *said: Any) -> None:
    let_in(store, [one for event in said for one in understood(event, OURS, NOW)])


def photo(name: str) -> dict[str, Any]:
    return {"kind": "photo.added", "listing_id": "L", "photo_id": name, "id": name, "url": "x"}


def bury(store: Store, reason: str, *names: str) -> None:
    """Let events come in, be tried, and die."""
    put(store, *[photo(name) for name in names])
    taken = [one for one in store.events.claim("me", 100, 60) if one.photo_id in names]
    with store.together():
        store.events.finish([Finished(one.event_id, "", reason, f"why {reason}") for one in taken])


def content(name: str) -> ContentRecord:
    return ContentRecord(name * 64, 9, "JPEG", 4, 3, None, Status.OK)


def answered(store: Store, names: str) -> LiveModel:
    """A live model that says bed of these contents."""
    task = store.labels.add_task("room", "single", ["bath", "bed"])
    record = ModelRecord(task.task_id, 1, "m/1", "a" * 64, SPACE, 1, {})
    model_id = store.models.register(record)
    ids = store.contents.save([content(name) for name in names])
    store.predictions.save(model_id, ids, np.array([[0.1, 0.9]] * len(ids), np.float32))
    policy = Policy((0.5, 0.5), (0.5, 0.5), (0.5, 0.5))
    return LiveModel(
        "room", "single", ("bath", "bed"), model_id, 1, policy, SPACE, lambda vectors: vectors
    )


# -- dead letters -------------------------------------------------------------------------------


def test_letters_are_chosen_by_id_by_reason_or_all(store: Store) -> None:
    bury(store, "missing", "a", "b")
    bury(store, "timeout", "c")
    put(store, photo("alive"))
    names = [[one.photo_id for one in found] for found in (
        chosen(store), chosen(store, reason="missing"), chosen(store, ["c", "a"]),
        chosen(store, []), chosen(store, reason="damaged"),
    )]  # fmt: skip
    assert names == [["a", "b", "c"], ["a", "b"], ["c", "a"], [], []]
    with pytest.raises(InputError, match="'alive' is not among the dead letters"):
        chosen(store, ["a", "alive"])
    with pytest.raises(NotFoundError, match="no event 'nobody'"):
        chosen(store, ["a", "nobody"])
    with pytest.raises(
        InputError, match=r"Did you mean 'missing'\? .*: missing \(2\), timeout \(1"
    ):
        chosen(store, reason="mising")
    for never in ("\0", "\ud800"):
        with pytest.raises(NotFoundError):
            chosen(store, [never])


def test_more_letters_than_a_batch_are_replayed_each_once(store: Store) -> None:
    bury(store, "missing", *[f"p{n}" for n in range(99)])
    wrong = [{"kind": n} for n in range(2 * BATCH)]
    put(store, *wrong)
    letters = list(chosen(store))
    assert len(letters) == 99 + 2 * BATCH
    done = replay(store, OURS, letters)
    assert (done.again, done.left) == (99, 2 * BATCH)
    twice = replay(store, OURS, letters[:99])
    assert (twice.again, twice.left) == (0, 0), "who waits already is left alone"
    ledger = store.events.ledger()
    assert ledger.adds_up and ledger.states["waiting"] == 99


def test_replaying_all_may_be_stopped_at_any_letter_and_goes_on_with_the_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.pipeline.dead_letters.PORTION", 5)
    bury(store, "missing", *[f"p{n}" for n in range(12)])
    stopped = islice(chosen(store), 8)

    def killed() -> Iterator[EventView]:
        yield from stopped
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(store, OURS, killed())
    assert store.events.ledger().states["waiting"] == 5, "what was put back stays so"
    assert replay(store, OURS, chosen(store)).again == 7
    ledger = store.events.ledger()
    assert ledger.adds_up and ledger.states["dead"] == 0
    assert ledger.replayed == 12


def test_a_letter_that_dies_again_meanwhile_comes_once(store: Store) -> None:
    bury(store, "missing", "a", "b")
    seen = []
    for letter in chosen(store):
        seen.append(letter.photo_id)
        assert store.dead.replay([(letter.event_id, letter)]) == 1
        (again,) = store.events.claim("w", 1, 60)
        store.events.finish([Finished(again.event_id, reason="missing")])
        bury(store, "missing", f"{letter.photo_id}-new")
    assert seen == ["a", "b"]


def test_a_letter_of_which_a_part_is_still_wrong_stays_whole(store: Store) -> None:
    shops = {"ad": 1, "pics": [{"n": "a", "u": "x"}, {"n": "b"}]}
    put(store, shops)
    (letter,) = chosen(store)
    paths = {"kind": "=photo.added", "listing_id": "ad", "photo_id": "@.n", "url": "@.u"}
    config = EventsConfig(mapping=paths, each="pics")
    assert replay(store, config, [letter]).left == 1
    assert store.order.waiting("1") == 0, "not even the photo that is understood"
    fixed = EventsConfig(mapping={**paths, "url": "=https://shop.example/"}, each="pics")
    assert replay(store, fixed, chosen(store)).again == 1
    assert store.order.waiting("1") == 2
    after = store.events.get(letter.event_key)
    assert (after.state, after.outcome) == (EventState.DONE, REREAD)
    assert store.events.ledger().adds_up


def test_letters_are_chosen_by_the_beginnings_of_their_ids_each_once(store: Store) -> None:
    bury(store, "missing", "first", "second")
    ids = [letter.event_key for letter in chosen(store)]
    assert len({one[: len("first") + 2] for one in ids}) == 2
    found = chosen(store, [ids[1], ids[1][:-1], ids[0]])
    assert [letter.event_key for letter in found] == [ids[1], ids[0]]


def test_a_letter_is_shown_whole_and_json_can_carry_it(store: Store) -> None:
    put(store, {"kind": "nö", "at": float("nan"), "attributes": ["\0", {"a": None}]})
    bury(store, "missing", "a")
    unread, failed = (json.loads(json.dumps(as_dict(one))) for one in chosen(store))
    assert unread.keys() == failed.keys()
    assert (unread["kind"], unread["listing_id"], unread["photo_id"]) == (None, None, None)
    assert unread["body"]["raw"]["kind"] == "nö" and "there is no 'nö'" in unread["detail"]
    assert (failed["kind"], failed["reason"], failed["detail"], failed["attempts"]) == (
        "photo.added", "missing", "why missing", 1,
    )  # fmt: skip
    assert failed["finished_at"] == failed["received_at"] == NOW.isoformat()


# -- listings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listing", "source"),
    [("L", None), ("a/b ü", ""), ("a\nb", "feed"), ("\x1b[31m", "f\teed"), ("a\u241bb", None)],
    ids=["plain", "empty-source", "line-break", "controls", "escape-sign"],
)
def test_what_complete_leaves_out_is_deleted_whatever_it_is_called(
    store: Store, listing: str, source: str | None
) -> None:
    names = ["a", "b\n", "ü\u241b", "7"]
    said = {"source": source, "photos": [{"id": name, "url": "x"} for name in names]}
    assert tell(store, listing, said, NOW).new == 4
    view = listing_view(store, [], listing)
    assert view is not None and view["waiting"] == 4
    added = {one.photo_id: one for one in store.events.claim("me", 9, 60)}
    left = {**said, "photos": [{"id": 7, "url": "x"}], "complete": True}
    later = NOW + timedelta(seconds=1)
    found = [one for one in events_of(store, listing, left, later) if isinstance(one, EventRecord)]
    gone = [one for one in found if one.kind == "photo.deleted"]
    assert {one.subject for one in gone} == {
        one.subject for name, one in added.items() if name != "7"
    }
    assert all(one.order > added[one.photo_id].order for one in gone)


def test_a_listing_shows_its_photos_by_position_and_each_with_its_answers(store: Store) -> None:
    source = store.photos.source("s", "stream", "s")
    ingest = store.photos.begin_ingest(source)
    model, (a, b) = answered(store, "a"), store.contents.save([content("a"), content("b")])
    rows = [("last", None, a), ("second", 2, b), ("first", 0, None)]
    store.photos.save(source, ingest, [
        PhotoRecord(PhotoRow("L", name, f"/{name}", position, "S", {"price": 1}), 1, 1, content,
                    Status.OK if content else Status.PENDING)
        for name, position, content in rows
    ])  # fmt: skip
    view = listing_view(store, [model], "L", top=1)
    assert view is not None
    assert [one["id"] for one in view["photos"]] == ["first", "second", "last"]
    assert (view["seller_id"], view["attributes"], view["waiting"]) == ("S", {"price": 1}, 0)
    assert [one["sha256"] for one in view["photos"]] == [None, "b" * 64, "a" * 64]
    *without, told = (one["results"] for one in view["photos"])
    assert without == [{}, {}]
    assert told["room"]["prediction"] == "bed" and len(told["room"]["probabilities"]) == 1
    assert told["room"]["model"] == "room/1" and not told["room"]["review"]
    assert json.loads(json.dumps(view)) == view
    many = [
        PhotoRecord(PhotoRow("M", f"{n}", f"/{n}", n), 1, 1, None, Status.PENDING)
        for n in range(MOST_PHOTOS + 3)
    ]
    store.photos.save(source, ingest, many)
    bounded = listing_view(store, [], "M")
    assert bounded is not None and len(bounded["photos"]) == MOST_PHOTOS


# -- the registry's words and choices -----------------------------------------------------------


@pytest.mark.parametrize(
    ("moved", "words", "never"),
    [
        (Moved("room", "restored", 1, "live", 2, 1), "instead of model 2.", "None"),
        (Moved("room", "restored", 1, "live", None, 1), "answers again.", "instead"),
        (Moved("room", "shadowed", 1, "shadow", None, None), "beside no other model", "None"),
        (Moved("{x}", "canary", 2, "candidate", 1, 1, share=0.05), "5 % of the pictures", "0.05"),
        (Moved("room", "promoted", 1, "live", 1, 1), "nothing changed", "rollback"),
        (Moved("room", "promoted", 1, "live", None, 1, answered=3), "answered 3 stored", "nothing"),
        (Moved("room", "retired", 1, "retired", None, None, dry_run=True,
               swept={"n_predictions": 4, "n_vectors": 0}), "4 stored answers", "None"),
    ],
)  # fmt: skip
def test_a_change_is_told_in_whole_sentences(moved: Moved, words: str, never: str) -> None:
    text = moved.text()
    assert words in text and never not in text
    assert all(line.endswith((".", ":")) or "listlens models" in line for line in text.split("\n"))
    assert text.startswith("Nothing was changed") == moved.dry_run
    assert moved.task in text
    assert moved.as_dict()["version"] == moved.version


def test_recent_answers_are_those_of_the_days_however_many(store: Store) -> None:
    model = answered(store, "ab")
    store.contents.save([content("c"), replace(content("d"), status=Status.FAILED)])
    assert _candidates(store, model, None, lambda: NOW).tolist() == [1, 2, 3]
    later = NOW + timedelta(days=10)
    for days, found in ((9.9, []), (10.1, [1, 2]), (1e12, [1, 2]), (float("inf"), [1, 2])):
        ids = _candidates(store, model, days, lambda: later)
        assert ids.dtype == np.int64 and ids.tolist() == found


def test_a_sample_is_drawn_of_all_alike_and_the_same_each_time() -> None:
    ids = np.arange(100, 200)
    assert _drawn(ids, None, 0) is ids and _drawn(ids, 100, 0) is ids
    one, again, other = _drawn(ids, 10, 1), _drawn(ids, 10, 1), _drawn(ids, 10, 2)
    assert one.tolist() == again.tolist() != other.tolist()
    assert len(set(one.tolist()) & set(ids.tolist())) == 10
    assert one.tolist() == sorted(one.tolist())
    hits = sum(int(n) for seed in range(200) for n in _drawn(ids, 10, seed) < 150)
    assert 850 < hits < 1150, "the first half is drawn as often as the second"


def test_a_project_without_events_has_nothing_to_replay(tmp_path: Path) -> None:
    with listlens.init(tmp_path / "new") as project:
        assert project.dead_letters() == []
        assert project.replay().again == project.replay(reason="missing").left == 0
        with pytest.raises(NotFoundError):
            project.replay(["e1"])
        assert project.ledger()["received"] == 0


def test_a_project_shows_and_replays_a_letter_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    with listlens.init(tmp_path / "new") as project:
        alive = {"id": "waits", "kind": "listing.changed", "listing_id": "L"}
        project.put_events([{"kind": "no"}, alive])
        (letter,) = project.dead_letters()
        short = letter["id"].removeprefix("sha256:")[:6]
        assert project.event(short) == project.event(letter["id"]) == letter
        assert project.event("waits")["state"] == "waiting"
        with pytest.raises(NotFoundError, match="no dead letter whose id begins so"):
            project.event("wai")
        assert project.replay([short]).left == 1
