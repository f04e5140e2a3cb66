"""The door of the stream, for whatever comes: an event, or a dead letter with its reason."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import InputError, NotFoundError
from listlens.core.stream_config import EVENT_KINDS, EventsConfig
from listlens.pipeline.event_door import as_said, let_in, read_lines, understood
from listlens.pipeline.event_mapping import MOST_EACH, at_path
from listlens.pipeline.events import MAX_ID_BYTES, Wrong, read_event
from listlens.sources.paths import printable
from listlens.store.event_rows import EventRecord
from listlens.store.open import Store, open_store
from listlens.store.stream_tables import event

QUICK = settings(max_examples=25, deadline=None)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS = EventsConfig()
MAPPED = EventsConfig(
    mapping={"kind": "t", "listing_id": "a.id", "photo_id": "@.id", "url": "@.u", "id": "n"},
    kinds={"NEW": "photo.added"},
    each="a.photos",
)

SAID: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "id", "photos", "u", "kind", "\0", ""]), inner)
    ),
    max_leaves=12,
)
PLAIN = st.text(min_size=1, max_size=8).filter(lambda text: printable(text) == text)
IDS = PLAIN | st.integers(0, 10**20)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(2026, 1, 1), timezones=st.just(UTC))


@st.composite
def good(draw: st.DrawFn) -> dict[str, Any]:
    """An event in our form that says all it may."""
    kind = draw(st.sampled_from(sorted(EVENT_KINDS)))
    said: dict[str, Any] = {
        "id": draw(IDS),
        "kind": kind,
        "listing_id": draw(IDS),
        "at": draw(MOMENTS).isoformat(),
        "sequence": draw(st.integers(-(2**63), 2**63 - 1)),
        "source": draw(PLAIN),
        "priority": draw(st.sampled_from(["new", "backfill"])),
    }
    if kind != "listing.changed":
        said["photo_id"] = draw(IDS)
    if kind in ("photo.added", "photo.changed"):
        said[draw(st.sampled_from(["url", "path"]))] = draw(st.text(min_size=1, max_size=20))
        said["position"] = draw(st.integers(0, 2**31 - 1))
    if kind != "photo.deleted":
        said["seller_id"] = draw(IDS)
        said["attributes"] = draw(st.dictionaries(st.text(max_size=3), SAID, max_size=2))
    return said


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("door")
    with open_store("sqlite:///s.db", folder, clock=lambda: NOW) as opened:
        yield opened


@given(st.lists(SAID, max_size=4))
@QUICK
def test_whatever_comes_is_counted_once_and_kept(store: Store, several: list[Any]) -> None:
    for config in (OURS, MAPPED):
        before = store.events.ledger()
        found = [one for said in several for one in understood(said, config, NOW)]
        wrong = [one for one in found if isinstance(one, Wrong)]
        assert all(one.detail and one.reason == "bad_event" for one in wrong)
        with store.together() as connection:
            connection.execute(sa.delete(event))  # the counts stay, and grow
        let = let_in(store, found)
        assert let.new + let.duplicates + let.dead == len(found)
        again = let_in(store, found)
        assert (again.new, again.dead, again.duplicates) == (0, 0, len(found))
        letters = list(store.dead.list())
        assert len(letters) == let.dead
        assert all("raw" in one.body and one.detail for one in letters)
        ledger = store.events.ledger()
        assert ledger.received - before.received == let.new + let.dead
        assert ledger.duplicates - before.duplicates == let.duplicates + len(found)


@given(good())
@QUICK
def test_what_is_understood_is_said_again_in_the_same_words(said: dict[str, Any]) -> None:
    record = read_event(said, NOW)
    assert isinstance(record, EventRecord), record
    assert read_event(json.loads(json.dumps(as_said(record))), NOW) == record


@given(good(), st.data())
@QUICK
def test_a_shops_own_form_is_read_as_ours(said: dict[str, Any], data: st.DataObject) -> None:
    """Wherever a shop keeps a field, the paths of its settings find the same event."""
    names = st.sampled_from(["data", "meta", "x y", "ü"])
    shops: dict[str, Any] = {}
    mapping = {}
    for field, value in said.items():
        first = data.draw(names, label=f"where {field} is")
        deep = data.draw(st.booleans())
        place = shops.setdefault(first, {"list": [{}, {}]})
        (place["list"][1] if deep else place)[f"their {field}"] = value
        mapping[field] = f"{first}.list[1].their {field}" if deep else f"{first}.their {field}"
    shops["noise"] = said
    config = EventsConfig(mapping=mapping)
    assert list(understood(shops, config, NOW)) == [read_event(said, NOW)]


@given(st.lists(st.sampled_from(["a", "b", "0", "1"]) | st.integers(0, 2), max_size=4), SAID)
@QUICK
def test_a_path_leads_where_going_step_by_step_does(steps: list[Any], leaf: Any) -> None:
    value = leaf
    for step in reversed(steps):
        value = [None] * step + [value] if isinstance(step, int) else {step: value}
    path = ".".join(map(str, steps)) if steps else "."
    brackets = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")
    found = at_path(value, path)
    assert found is leaf
    if brackets and not brackets.startswith("["):
        assert at_path(value, brackets) is found
    assert at_path(value, f"{path}.absent.7") is None or isinstance(leaf, dict | list)


@given(st.lists(st.sampled_from(["a", "b", None, 7]), max_size=6), st.none() | st.just("77"))
@QUICK
def test_a_list_of_photos_is_an_event_each_and_a_wrong_one_hides_no_other(
    photos: list[Any], key: str | None
) -> None:
    said = {"t": "NEW", "n": key, "a": {"id": 1, "photos": [{"id": p, "u": "x"} for p in photos]}}
    found = list(understood(said, MAPPED, NOW))
    assert sum(isinstance(one, Wrong) for one in found) == (None in photos), "one a message"
    ids = [(one.photo_id, one.event_key) for one in found if isinstance(one, EventRecord)]
    assert [photo for photo, _ in ids] == [str(p) for p in photos if p is not None]
    assert len(set(ids)) == len({photo for photo, _ in ids}), "one key a photo"
    if key:
        assert all(name == f"77:{photo}" for photo, name in ids)


def test_a_list_that_is_too_long_is_one_dead_letter_that_says_so() -> None:
    said = {"t": "NEW", "a": {"id": 1, "photos": [{"id": "p", "u": "x"}] * (MOST_EACH + 1)}}
    (one,) = understood(said, MAPPED, NOW)
    assert isinstance(one, Wrong) and "1,001 items; at most 1,000" in one.detail
    assert one.record.body["raw"] is said


@given(st.binary(max_size=200) | st.lists(SAID, max_size=5).map(
    lambda many: b"\n".join(json.dumps(one).encode() for one in many)))  # fmt: skip
@QUICK
def test_any_bytes_are_read_a_line_an_event(data: bytes) -> None:
    lines = [line.decode("utf-8", "replace").strip() for line in data.split(b"\n")]
    found = list(read_lines(io.BytesIO(data), OURS, NOW))
    assert len(found) == len([line for line in lines if line])
    for one in found:
        assert isinstance(one, EventRecord) or one.record.body.keys() == {"raw"}


@given(good(), st.sampled_from(["listing_id", "id", "source", "seller_id"]), st.text())
@QUICK
def test_an_id_is_kept_printable_or_refused(said: dict[str, Any], name: str, text: str) -> None:
    event = {**said, "kind": "listing.changed", name: text or "x" * (MAX_ID_BYTES + 1)}
    event = {k: v for k, v in event.items() if k not in ("photo_id", "url", "path", "position")}
    found = read_event(event, NOW)
    if isinstance(found, Wrong):
        assert not text and found.detail.startswith(name)
    else:
        kept = {"id": found.event_key, "listing_id": found.listing_id, "source": found.source}
        shown = str(kept.get(name, found.body.get("seller_id")))
        assert "\0" not in shown and shown.encode()


@given(st.timedeltas(timedelta(days=-300_000), timedelta(days=2000)))
@QUICK
def test_a_moment_is_read_in_every_spelling_and_none_may_be_far_ahead(ahead: timedelta) -> None:
    moment = (NOW + ahead).replace(microsecond=0)
    said = {"kind": "listing.changed", "listing_id": "L"}
    spellings = [moment.isoformat(), moment.isoformat().replace("+00:00", "Z")]
    spellings += [moment.replace(tzinfo=None).isoformat()]
    numbers = [moment.timestamp()] if abs(moment.timestamp()) < 1e11 else []
    for at in [*spellings, *numbers]:
        found = read_event({**said, "at": at}, NOW)
        if ahead > timedelta(days=1, seconds=1):
            assert isinstance(found, Wrong) and "more than a day ahead" in found.detail
        elif ahead <= timedelta(days=1):
            assert isinstance(found, EventRecord) and found.at == moment


@given(SAID, SAID)
@QUICK
def test_whatever_is_wrong_with_a_shops_event_names_a_path_of_its_settings(
    inner: Any, kind: Any
) -> None:
    said = {"t": kind, "a": {"id": inner, "photos": [{"id": inner, "u": inner}, inner]}}
    paths = ["'t'", "'a.id'", "'@.id' of item", "'@.u' of item", "'a.photos'"]
    for found in understood(said, MAPPED, NOW):
        if isinstance(found, Wrong):
            assert any(path in found.detail for path in paths), found.detail
            assert "got None" not in found.detail


@given(st.lists(st.text(st.sampled_from("ab%_:Ü"), min_size=1, max_size=4), unique=True), st.data())
@QUICK
def test_a_beginning_finds_what_a_look_at_every_id_would(
    store: Store, names: list[str], data: st.DataObject
) -> None:
    with store.together() as connection:
        connection.execute(sa.delete(event))
    letter = EventRecord("", "photo.added", "L", "p", NOW, {})
    store.events.put([], [(replace(letter, event_key=name), "bad_event", "") for name in names])
    given_text = data.draw(st.text(st.sampled_from("ab%_:Ü"), max_size=3))
    expected = [name for name in names if given_text and name.startswith(given_text)]
    if given_text in names:
        expected = [given_text]
    if len(expected) == 1:
        assert store.events.find(given_text).event_key == expected[0]
    else:
        with pytest.raises(InputError if expected else NotFoundError):
            store.events.find(given_text)
