"""What can be said of an event that was not understood: its sender's id, and how it begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from listlens.pipeline.event_mapping import at_path
from listlens.sources.paths import printable
from listlens.store.database import to_json

if TYPE_CHECKING:
    from listlens.core.stream_config import EventsConfig

NAMES = ("id", "event_id", "eventid", "uuid", "uid", "message_id", "messageid")
"""Under which senders put the id of an event, in small letters and without hyphens."""

WRAPPERS = ("event", "meta", "metadata", "header", "headers")
"""Objects in which they put it, where it is not beside everything else."""

EXCERPT_CHARS = 200
ID_CHARS = 100

_IN_TEXT = re.compile(
    r"""["'](?:id|event_?id|uuid|uid|message_?id)["']\s*:\s*["']?([^"',}\s]+)""", re.IGNORECASE
)


def sent_id(raw: Any, config: EventsConfig | None = None) -> str | None:
    """Return the id that the sender seems to have given an event; None where there is none.

    Args:
        raw: what came: JSON, or a text that is none.
        config: `[events]`; a path of its mapping for `id` is tried first.

    Example:
        >>> sent_id({"type": "SOLD", "eventId": 17})
        '17'
        >>> sent_id('{"event_id": "e-9", "type": ')
        'e-9'
    """
    if isinstance(raw, str):
        found = _IN_TEXT.search(raw)
        return None if found is None else printable(found[1])[:ID_CHARS]
    if not isinstance(raw, Mapping):
        return None
    path = "" if config is None else config.mapping.get("id", "")
    mapped = at_path(raw, path) if path and path[0] not in "@=" else None
    inside = [one for name, one in raw.items() if name in WRAPPERS and isinstance(one, Mapping)]
    for value in (mapped, *(one for holder in (raw, *inside) for one in _obvious(holder))):
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return printable(str(value))[:ID_CHARS]
    return None


def _obvious(holder: Mapping[str, Any]) -> list[Any]:
    """What stands under names of ids, the plainest name first."""
    plain = {name.lower().replace("-", "_"): value for name, value in holder.items()}
    return [plain[name] for name in NAMES if name in plain]


def excerpt(raw: Any) -> str:
    """Return how what came begins, printable, at most `EXCERPT_CHARS` characters and three dots.

    Example:
        >>> excerpt({"type": "SOLD"})
        '{"type":"SOLD"}'
    """
    text = raw[: EXCERPT_CHARS + 1] if isinstance(raw, str) else to_json(raw)
    text = printable(text[: EXCERPT_CHARS + 1])
    return text if len(text) <= EXCERPT_CHARS else f"{text[:EXCERPT_CHARS]}..."
