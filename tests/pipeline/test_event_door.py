"""The door of the stream: a usable event, or a dead letter that says why and can be mended."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.config import parse_config, render_config
from listlens.core.errors import ConfigError
from listlens.core.stream_config import EventsConfig
from listlens.pipeline.dead_letters import replay
from listlens.pipeline.event_door import (
    MAX_LINE_BYTES,
    MOST_DEPTH,
    as_said,
    let_in,
    read_body,
    read_lines,
    understood,
)
from listlens.pipeline.events import Wrong, read_event
from listlens.store.event_rows import EventRecord
from listlens.store.open import Store, open_store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS = EventsConfig()
ADDED = {"id": "e1", "kind": "photo.added", "listing_id": "L1", "photo_id": "a", "url": "https://x"}

SHOP = EventsConfig(
    mapping={
        "id": "eventId",
        "kind": "type",
        "listing_id": "vehicle.id",
        "photo_id": "@.uuid",
        "url": "@.hrefs[0]",
        "position": "@index",
        "attributes": "vehicle.data",
        "at": "modified",
        "source": "=dealer feed",
    },
    kinds={"IMAGE_CREATED": "photo.added"},
    each="vehicle.images",
)
SHOPS_EVENT = {
    "eventId": "77",
    "type": "IMAGE_CREATED",
    "modified": 1767225600000,
    "vehicle": {
        "id": 4711,
        "data": {"price": 9900},
        "images": [
            {"uuid": "a", "hrefs": ["https://x/a"]},
            {"uuid": "b", "hrefs": ["https://x/b"]},
        ],
    },
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path, clock=lambda: NOW) as opened:
        yield opened


def one(said: Any, config: EventsConfig = OURS) -> EventRecord | Wrong:
    (found,) = understood(said, config, NOW)
    return found


@pytest.mark.parametrize("depth", [MOST_DEPTH, 400, 940, 980, 984, 988, 2000])
def test_what_is_nested_too_deep_is_kept_without_it(store: Store, depth: int) -> None:
    for n, begin in enumerate((b'{"id": "e1", "kind": "photo.added", "a": ', b'{"b": ', b"")):
        body = begin + b"[" * depth + b"]" * depth + (b"}" if begin else b"")
        (found,) = read_body(body, OURS, NOW)
        assert isinstance(found, Wrong)
        assert let_in(store, [found]).dead == 1 and len(list(store.dead.list())) == n + 1
        assert len(json.dumps(found.record.body)) < 6000
    said = {
        **ADDED,
        "attributes": {"a": json.loads("[" * (MOST_DEPTH - 2) + "]" * (MOST_DEPTH - 2))},
    }
    assert isinstance(one(said), EventRecord)


def test_an_event_in_our_form_is_read_whole() -> None:
    more = {
        "position": 3,
        "attributes": {"price": 1},
        "seller_id": 5,
        "at": "2025-12-31T23:00+01:00",
    }
    found = one({**ADDED, **more, "sequence": 9, "source": "feed", "priority": "backfill"})
    assert isinstance(found, EventRecord)
    assert (found.event_key, found.kind, found.subject) == (
        "e1",
        "photo.added",
        ("L1", "a", "feed"),
    )
    assert found.order == (datetime(2025, 12, 31, 22, tzinfo=UTC), 9)
    assert found.priority == 2
    assert found.body == {
        "url": "https://x", "position": 3, "attributes": {"price": 1}, "seller_id": "5",
    }  # fmt: skip
    assert as_said(found)["priority"] == "backfill"


def test_an_event_without_an_id_is_the_same_when_it_comes_again() -> None:
    said = {key: value for key, value in ADDED.items() if key != "id"}
    first, again = one(said), one(dict(reversed(said.items())))
    assert isinstance(first, EventRecord)
    assert isinstance(again, EventRecord)
    assert first.event_key.startswith("sha256:")
    assert again.event_key == first.event_key
    later = next(iter(understood(said, OURS, NOW + timedelta(hours=1))))
    assert isinstance(later, EventRecord)
    assert later.event_key == first.event_key


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "photo.new"}, r"kind: there is no 'photo.new'. Did you mean"),
        ({"kind": None}, "kind: a text is needed"),
        ({"listing_id": ""}, "listing_id: a text of 1 to 1,000 bytes"),
        ({"listing_id": "x" * 1001}, "listing_id"),
        ({"photo_id": None}, "photo_id"),
        ({"photo_id": True}, "photo_id"),
        ({"url": None}, "url, path: .* one of them, not none"),
        ({"path": "a.jpg"}, "not url and path"),
        ({"url": "https://x/" + "a" * 9000}, "url: 1 to 8,192 characters"),
        ({"url": 7}, "url: a text is needed"),
        ({"position": -1}, "position: a whole number from 0"),
        ({"position": 1.5}, "position"),
        ({"attributes": [1]}, "attributes: a JSON object"),
        ({"attributes": {"a": "x" * 70_000}}, "at most 64,000"),
        ({"at": "yesterday"}, "at: ISO 8601"),
        ({"at": "2026-01-03"}, "more than a day ahead"),
        ({"at": float("nan")}, "at: ISO 8601"),
        ({"at": 1e30}, "at: ISO 8601"),
        ({"sequence": 2**63}, "sequence"),
        ({"priority": "high"}, "priority: got 'high'"),
        ({"colour": "red"}, "colour: no such field. Did you|colour: no such field. Allowed"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_allowed(change: dict[str, Any], why: str) -> None:
    found = one({**ADDED, **change})
    assert isinstance(found, Wrong)
    assert found.reason == "bad_event"
    assert re.search(why, found.detail), found.detail
    assert found.record.body["raw"].keys() == {**ADDED, **change}.keys()


def test_a_shops_own_event_is_read_by_the_paths_of_its_settings() -> None:
    first, second = understood(SHOPS_EVENT, SHOP, NOW)
    assert isinstance(first, EventRecord)
    assert isinstance(second, EventRecord)
    assert (first.event_key, second.event_key) == ("77:a", "77:b")
    assert first.subject == ("4711", "a", "dealer feed")
    assert second.body == {
        "url": "https://x/b", "position": 1, "attributes": {"price": 9900},
    }  # fmt: skip
    assert first.at == NOW


def test_a_shops_event_that_its_settings_do_not_fit_says_where() -> None:
    found = one({"type": "IMAGE_CREATED", "vehicle": {"images": "none"}}, SHOP)
    assert isinstance(found, Wrong)
    assert found.detail == "each: there is no list at 'vehicle.images'"


def gone(*path: Any) -> dict[str, Any]:
    """The shop's event without what stands at a path; its other photo is as it was."""
    said = json.loads(json.dumps(SHOPS_EVENT))
    inner = said
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return dict(said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (gone("type"), "kind: nothing at 'type'"),
        (gone("vehicle", "id"), "listing_id: nothing at 'vehicle.id'"),
        (gone("vehicle", "images", 1, "uuid"),
         "photo_id: nothing at '@.uuid' of item 1 of 'vehicle.images'"),
        (gone("vehicle", "images", 0, "hrefs"),
         "url: nothing at '@.hrefs[0]' of item 0 of 'vehicle.images'"),
        ({**SHOPS_EVENT, "type": "IMAGE_SOLD"},
         "kind: 'IMAGE_SOLD' (at 'type') is not under [events.kinds], which has 'IMAGE_CREATED' "
         "(photo.added)"),
        ({**SHOPS_EVENT, "type": 7}, "kind: a text is needed, got 7 (at 'type')"),
        ({**SHOPS_EVENT, "modified": "soon"},
         "at: ISO 8601 such as 2026-11-26T03:40:00Z, or seconds since 1970, got 'soon' "
         "(at 'modified')"),
    ],
    ids=["kind", "listing", "photo", "url", "unknown kind", "no text", "moment"],
)  # fmt: skip
def test_what_is_wrong_with_a_shops_event_is_said_by_its_own_paths_and_kinds(
    said: dict[str, Any], why: str
) -> None:
    assert [one.detail for one in understood(said, SHOP, NOW) if isinstance(one, Wrong)] == [why]


def test_a_field_that_no_path_leads_to_and_a_fixed_value_are_named_as_such() -> None:
    mapping = {"kind": "=photo.added", "listing_id": "ad", "url": "a", "path": "b"}
    config = EventsConfig(mapping=mapping)

    def why(said: dict[str, Any], **other: str) -> str:
        found = one(said, config.model_copy(update={"mapping": {**mapping, **other}}))
        assert isinstance(found, Wrong)
        return found.detail

    assert why({"ad": 1, "a": "https://x"}) == "photo_id: [events.mapping] names no path for it"
    assert why({"ad": 1}, photo_id="pic") == "photo_id: nothing at 'pic'"
    assert (
        why({"ad": 1, "pic": 2}, photo_id="pic") == "url, path: nothing at 'a' and nothing at 'b'"
    )
    assert why({"ad": 1, "pic": 2, "a": "x", "b": "y"}, photo_id="pic").endswith(
        "not url and path (at 'a' and at 'b')"
    )
    wrong_kind = why({"ad": 1}, kind="=photo.new")
    assert wrong_kind.startswith("kind: there is no 'photo.new' (fixed by '=photo.new'). Did you")
    assert "[events.kinds] maps a shop's own names" in wrong_kind
    short = EventsConfig(mapping={"kind": "=photo.added", "listing_id": "ad", "photo_id": "ad"})
    found = one({"ad": 1}, short)
    assert isinstance(found, Wrong)
    assert found.detail == "url or path: [events.mapping] names no path for it"


def test_kinds_of_a_shop_that_sends_our_form_are_named_too() -> None:
    config = EventsConfig(kinds={f"NEW_{n}": "photo.added" for n in range(30)})
    found = one({**ADDED, "kind": "OLD"}, config)
    assert isinstance(found, Wrong)
    assert found.detail.startswith("kind: 'OLD' is not under [events.kinds], which has 'NEW_0' (ph")
    assert found.detail.endswith("'NEW_19' (photo.added), ...")


@pytest.mark.parametrize(
    "path", ["a[0", "a]", "[x]", "]0[", "[0]", "a[x]", "a[-1]", "a[]", "a[0]b", "a..b", ".a", ""]
)
def test_a_path_that_is_none_is_refused_with_the_settings(path: str) -> None:
    inside = [{"mapping": {"url": f"@.{path}"}, "each": "pics"}] if path else []
    whole = [{"mapping": {"url": path}}, *inside, {"each": path or "a["}]
    for events in whole:
        with pytest.raises(ConfigError, match="is no path") as caught:
            parse_config({"events": events})
        assert "events" in str(caught.value)
    fine = {"url": "@.", "id": "a.b[0][1].c d", "photo_id": "=[0", "at": ".", "position": "@index"}
    assert parse_config({"events": {"mapping": fine, "each": "x[2]"}}).events.mapping == fine


def test_settings_that_cannot_work_are_refused_and_right_ones_survive_the_file() -> None:
    for values, why in [
        ({"mapping": {"photo": "x"}}, "no such field of an event: 'photo'"),
        ({"kinds": {"NEW": "photo.new"}}, "no such kind: 'photo.new'"),
        ({"mapping": {"url": "@.href"}}, "need 'each'"),
    ]:
        with pytest.raises(ConfigError, match=why):
            parse_config({"events": values})
    import tomllib

    config = parse_config({"events": SHOP.model_dump()})
    assert parse_config(tomllib.loads(render_config(config))) == config


def test_lines_that_are_no_events_go_to_the_dead_letters_and_the_rest_comes_in(
    store: Store,
) -> None:
    good = json.dumps(ADDED)
    long = json.dumps({**ADDED, "id": "long", "url": "x" * MAX_LINE_BYTES * 2})
    lines = [good, "{half", "[1, 2]", "", '"text"', good, long, "\udcff", "[" * 100_000]
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    let = let_in(store, read_lines(io.BytesIO(data), OURS, NOW))
    assert (let.new, let.duplicates, let.dead) == (1, 1, 6)
    details = [letter.detail for letter in store.dead.list()]
    assert details[0].startswith("no JSON")
    assert details[1] == details[2] == "an event is a JSON object"
    assert "at most 1,048,576 are read" in details[3]
    assert all(letter.reason == "bad_event" for letter in store.dead.list())
    assert store.events.ledger().adds_up


def test_a_mended_mapping_reads_dead_letters_again(store: Store) -> None:
    let_in(store, understood(SHOPS_EVENT, OURS, NOW))
    let_in(store, understood({"nonsense": 1}, OURS, NOW))
    done = replay(store, SHOP, list(store.dead.list()))
    assert (done.again, done.left) == (1, 1)
    assert [e.event_key for e in store.events.claim("w", 9, 60)] == ["77:a", "77:b"]
    ledger = store.events.ledger()
    assert ledger.outcomes == {"reread": 1}
    assert (ledger.received, ledger.states["dead"], ledger.adds_up) == (4, 1, True)


def test_whoever_sends_a_wrong_event_again_corrected_is_heard(store: Store) -> None:
    wrong = {**ADDED, "kind": "photo.new"}
    assert let_in(store, understood(wrong, OURS, NOW)).dead == 1
    assert let_in(store, understood(wrong, OURS, NOW)).duplicates == 1
    assert let_in(store, understood(ADDED, OURS, NOW)).new == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
fields = st.sampled_from([*ADDED, "position", "attributes", "at", "sequence", "priority", "path"])


@given(st.dictionaries(fields, json_values))
def test_no_json_whatever_breaks_the_door(said: dict[str, Any]) -> None:
    found = read_event({**ADDED, **said}, NOW)
    assert isinstance(found, EventRecord | Wrong)
    for config in (OURS, SHOP):
        for event in understood({**SHOPS_EVENT, **said}, config, NOW):
            assert isinstance(event, EventRecord | Wrong)


def test_a_message_of_which_nothing_can_be_used_is_one_dead_letter_however_many_photos_it_has():
    config = EventsConfig(
        each="images", mapping={"kind": "type", "listing_id": "car", "url": "@", "photo_id": "@"}
    )
    said = {"type": "photo.lost", "car": "7", "images": ["https://h/1.jpg", "https://h/2.jpg"]}
    (found,) = understood(said, config, NOW)
    assert isinstance(found, Wrong) and found.record.body == {"raw": said}
