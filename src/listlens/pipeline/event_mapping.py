"""A shop's own event JSON, read by the paths that its settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from listlens.core.errors import suggest
from listlens.core.stream_config import EVENT_KINDS
from listlens.pipeline.events import Refused

if TYPE_CHECKING:
    from listlens.core.stream_config import EventsConfig

MOST_EACH = 1000
"""Photos that one event of a shop may name."""

MOST_NAMED = 20
"""Kinds of a shop that an error names."""


class MappingFailure(ValueError):
    """Says which path found nothing usable."""


def mapped(said: Mapping[str, Any], config: EventsConfig) -> Iterator[dict[str, Any]]:
    """Yield our events of a shop's event: one, or one for each item of a list.

    Args:
        said: the shop's JSON object.
        config: `[events]`; without a mapping the event is taken as it is.

    Raises:
        MappingFailure: `each` leads to no list, or to too long a one.

    Example:
        >>> from listlens.core.stream_config import EventsConfig
        >>> paths = {"kind": "=photo.added", "listing_id": "ad.id", "photo_id": "@.id",
        ...          "url": "@.links[0]"}
        >>> said = {"ad": {"id": 7, "photos": [{"id": "a", "links": ["https://x/a"]}]}}
        >>> list(mapped(said, EventsConfig(mapping=paths, each="ad.photos")))
        [{'kind': 'photo.added', 'listing_id': 7, 'photo_id': 'a', 'url': 'https://x/a'}]
    """
    if not config.mapping:
        yield {**said, **_kind(said.get("kind"), config)} if config.kinds else dict(said)
        return
    if not config.each:
        yield _one(said, None, 0, config)
        return
    items = at_path(said, config.each)
    if not isinstance(items, list):
        raise MappingFailure(f"each: there is no list at {config.each!r}")
    if len(items) > MOST_EACH:
        raise MappingFailure(f"each: {len(items):,} items; at most {MOST_EACH:,} are read")
    for index, item in enumerate(items):
        found = _one(said, item, index, config)
        if found.get("id") is not None:
            found["id"] = f"{found['id']}:{found.get('photo_id', index)}"
        yield found


def _one(said: Any, item: Any, index: int, config: EventsConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, path in config.mapping.items():
        if path.startswith("="):
            value: Any = path[1:]
        elif path == "@index":
            value = index
        elif path.startswith("@."):
            value = at_path(item, path[2:])
        else:
            value = at_path(said, path)
        if value is not None:
            found[name] = value
    return {**found, **_kind(found.get("kind"), config)}


def _kind(value: Any, config: EventsConfig) -> dict[str, Any]:
    """Our name of what happened, where the shop's is known."""
    return {"kind": config.kinds.get(value, value)} if isinstance(value, str) else {}


def explained(config: EventsConfig, item: int, why: Refused) -> str:
    """Say why an event cannot be used in the words of the shop: its own paths and kinds.

    Args:
        config: `[events]`.
        item: place in the list that `each` names.
        why: in ours.

    Example:
        >>> from listlens.core.stream_config import EventsConfig
        >>> config = EventsConfig(mapping={"photo_id": "data.image.id"})
        >>> explained(config, 0, Refused(("photo_id",), "a text is needed", missing=True))
        "photo_id: nothing at 'data.image.id'"
    """
    mapping = config.mapping
    if not mapping and not (why.kind and config.kinds):
        return str(why)
    mapped_by = [name for name in why.fields if name in mapping]
    places = [_place(mapping[name], item, config) for name in mapped_by]
    where = f" ({' and '.join(places)})" if places else ""
    if why.kind and config.kinds:
        known = [f"{theirs!r} ({ours})" for theirs, ours in config.kinds.items()]
        named = ", ".join(known[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
        return f"kind: {why.kind!r}{where} is not under [events.kinds], which has {named}"
    if why.kind:
        return (f"kind: there is no {why.kind!r}{where}. {suggest(why.kind, EVENT_KINDS)} "
                "[events.kinds] maps a shop's own names to them.")  # fmt: skip
    if not why.missing:
        return f"{why}{where}"
    if not places:
        return f"{' or '.join(why.fields)}: [events.mapping] names no path for it"
    return f"{', '.join(mapped_by)}: nothing {' and nothing '.join(places)}"


def _place(path: str, item: int, config: EventsConfig) -> str:
    if path.startswith("="):
        return f"fixed by {path!r}"
    return f"at {path!r}" + (
        f" of item {item} of {config.each!r}" if path.startswith(("@.", "@index")) else ""
    )


def at_path(value: Any, path: str) -> Any:
    """Return what stands at a path such as ``data.images[0].href``; None where nothing does.

    A path ``.`` is the value itself.

    Example:
        >>> at_path({"a": [{"b": 1}, {"b": 2}]}, "a[1].b")
        2
    """
    if path == ".":
        return value
    for step in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
