"""Events that name no photo leave a trace; those not understood bear their senders' ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.core.stream_config import EventsConfig
from listlens.pipeline.dead_letters import as_dict, chosen, replay
from listlens.pipeline.event_door import let_in, understood
from listlens.pipeline.unread import EXCERPT_CHARS, ID_CHARS, excerpt, sent_id
from listlens.store.open import Store, open_store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATHS = {"id": "eventId", "kind": "=photo.added", "listing_id": "ad", "photo_id": "@.n"}
SHOP = EventsConfig(mapping={**PATHS, "url": "@.u"}, each="pics")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path, clock=lambda: NOW) as opened:
        yield opened


def put(store: Store, *said: Any, config: EventsConfig = SHOP) -> Any:
    return let_in(store, [one for event in said for one in understood(event, config, NOW)])


def test_an_event_that_names_no_photo_is_counted_once_and_stops_nothing(store: Store) -> None:
    pics = [{"n": "a", "u": "https://x/a"}]
    bare = {"eventId": 7, "ad": 1, "pics": []}
    let = put(store, bare, {"eventId": 8, "ad": 1, "pics": pics}, bare, {**bare, "eventId": 9})
    assert (let.new, let.duplicates, let.dead, let.empty) == (1, 1, 0, 2)
    ledger = store.events.ledger()
    assert (ledger.received, ledger.duplicates, dict(ledger.outcomes)) == (3, 1, {"empty": 2})
    assert ledger.states["waiting"] == 1 and ledger.adds_up
    assert [one.photo_id for one in store.events.claim("w", 9, 60)] == ["a"], "nothing to work on"
    assert store.events.prune(datetime(2030, 1, 1, tzinfo=UTC)) == 2
    after = store.events.ledger()
    assert dict(after.outcomes) == {"empty": 2} and after.adds_up
    filled = put(store, {**bare, "pics": pics})
    assert filled.new == 1, "its id stays free for the event that names photos"


def test_a_letter_that_names_no_photo_by_a_mended_mapping_is_done(store: Store) -> None:
    wrong = EventsConfig(mapping=SHOP.mapping, each="pictures")
    put(store, {"eventId": 7, "ad": 1, "pics": []}, config=wrong)
    assert store.dead.reasons() == {"bad_event": 1}
    assert replay(store, SHOP, chosen(store)).again == 1
    ledger = store.events.ledger()
    assert dict(ledger.outcomes) == {"empty": 1} and ledger.adds_up
    assert (ledger.states["dead"], ledger.duplicates) == (0, 0)


def test_a_dry_run_says_of_which_events_nothing_comes(cli: Any, tmp_path: Path) -> None:
    listlens.init(tmp_path / "shop").close()
    settings = tmp_path / "shop" / "listlens.toml"
    lines = [f'{name} = "{path}"' for name, path in SHOP.mapping.items()]
    settings.write_text("\n".join(['[events]\neach = "pics"', "[events.mapping]", *lines]))
    file = tmp_path / "e.jsonl"
    file.write_text(json.dumps({"ad": 1, "pics": []}))
    at = ("-p", tmp_path / "shop")
    dry = cli("events", "put", file, "--dry-run", *at)
    assert dry.code == 0
    assert dry.out == "nothing to do: line 1: each: the list at 'pics' is empty\n"
    line = cli("events", "put", file, "--dry-run", "--json", *at).json
    assert line["nothing"].startswith("each:") and line["came"] == {"ad": 1, "pics": []}
    done = cli("events", "put", file, *at)
    assert done.code == 0 and "1 names no photo" in done.out
    assert "done: 1 empty" in cli("ledger", *at).out


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ({"type": "SOLD", "id": "e1", "uuid": "u"}, "e1"),
        ({"eventId": 17}, "17"),
        ({"Event-ID": "x"}, "x"),
        ({"event": {"id": "in"}, "car": {"id": "no"}}, "in"),
        ({"car": {"id": "no"}}, None),
        ({"id": True, "uid": "", "uuid": ["x"]}, None),
        ({"id": "a" * 500}, "a" * ID_CHARS),
        ({"id": "a\x1b[31m"}, "a\u241b1B[31m"),
        ('{"eventId": "e-9", "x', "e-9"),
        ("no id here", None),
        (["id", 3], None),
        (None, None),
    ],
)
def test_the_senders_id_is_found_where_one_is_obvious(raw: Any, found: str | None) -> None:
    assert sent_id(raw) == found


def test_the_mapping_says_best_where_the_id_stands() -> None:
    raw = {"id": "car", "meta": {"key": "e5"}}
    assert sent_id(raw, EventsConfig(mapping={"id": "meta.key"})) == "e5"
    assert sent_id(raw, EventsConfig(mapping={"id": "meta.none"})) == "car"
    assert sent_id(raw, EventsConfig(mapping={"id": "=fixed"})) == "car"


def test_what_came_is_shown_by_its_beginning(store: Store, tmp_path: Path) -> None:
    assert excerpt("x" * 10**6) == "x" * EXCERPT_CHARS + "..."
    assert excerpt({"a": "x\ud800"}) == '{"a":"x?"}'
    assert "\n" not in excerpt("line\nbreak")
    put(store, {"eventId": "e7", "pics": [{}]}, {"ad": 1, "pics": [{"n": "a", "u": "https://x"}]})
    (letter,) = (as_dict(one, SHOP) for one in store.dead.list())
    assert (letter["sent_id"], letter["excerpt"]) == ("e7", '{"eventId":"e7","pics":[{}]}')
    (fine,) = (as_dict(one, SHOP) for one in store.events.claim("w", 9, 60))
    assert (fine["sent_id"], fine["excerpt"]) == (None, None)


def test_dead_letters_are_listed_with_what_their_senders_call_them(
    cli: Any, tmp_path: Path
) -> None:
    with listlens.init(tmp_path / "shop") as project:
        project.put_events([{"event_id": "e-4711", "type": "SOLD"}])
    ran = cli("dead", "list", "-p", tmp_path / "shop")
    assert "e-4711" in ran.out.replace("\n", "") and "SOLD" in ran.out
    (letter,) = cli("dead", "list", "-p", tmp_path / "shop", "--json").json["dead"]
    assert letter["sent_id"] == "e-4711"
