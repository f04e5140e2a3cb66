"""Dead letters: shown, and let in again once what was wrong is mended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from listlens.core.errors import InputError
from listlens.pipeline.event_door import let_in, understood
from listlens.pipeline.events import Wrong
from listlens.store.event_rows import EventState, EventView, Finished

if TYPE_CHECKING:
    from listlens.core.config import EventsConfig
    from listlens.store.open import Store

REREAD = "reread"
"""How a letter ends that was not understood at first: the events that it is now wait apart."""

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of dead letters.

    Args:
        again: wait again.
        left: are still not understood, and stay.
    """

    again: int = 0
    left: int = 0


def replay(store: Store, config: EventsConfig, letters: Iterable[EventView]) -> Replayed:
    """Let dead letters in again: those that were not understood by the mapping of today.

    Args:
        store: whose letters.
        config: `[events]`.
        letters: dead ones, as `Events.dead` yields them.
    """
    again = left = 0
    ready: list[EventView] = []
    for letter in letters:
        if letter.kind:
            ready.append(letter)
        elif _reread(store, config, letter):
            again += 1
        else:
            left += 1
        if len(ready) == _BATCH:
            again += _put_back(store, ready)
            ready = []
    return Replayed(again + _put_back(store, ready), left)


def chosen(
    store: Store, ids: Sequence[str] | None = None, reason: str | None = None
) -> list[EventView]:
    """Return dead letters by id, by reason, or all; taken out of the list before any is changed.

    Of an id its beginning is enough, where it fits one dead letter.

    Raises:
        NotFoundError: an id that is not in the inbox.
        InputError: an event that is not among the dead letters, or several begin so.
    """
    if ids is None:
        return list(store.events.dead(reason=reason))
    found = list({one.event_id: one for one in map(store.events.find, ids)}.values())
    living = [one.event_key for one in found if one.state is not EventState.DEAD]
    if living:
        raise InputError(f"{living[0]!r} is not among the dead letters.")
    return found


def _put_back(store: Store, letters: list[EventView]) -> int:
    return store.events.replay([(letter.event_id, letter) for letter in letters])


def _reread(store: Store, config: EventsConfig, letter: EventView) -> bool:
    """Read again what came; whether it is understood now."""
    found = list(understood(letter.body.get("raw"), config, letter.received_at or letter.at))
    if not found or any(isinstance(one, Wrong) for one in found):
        return False
    with store.together():
        let_in(store, found)
        store.events.finish([Finished(letter.event_id, REREAD)])
    return True


def as_dict(letter: EventView) -> dict[str, Any]:
    """Return a letter, JSON-able."""
    moments = {
        "at": letter.at,
        "received_at": letter.received_at,
        "finished_at": letter.finished_at,
    }
    return {
        "id": letter.event_key,
        "kind": letter.kind or None,
        "listing_id": letter.listing_id or None,
        "photo_id": letter.photo_id or None,
        "source": letter.source,
        "state": letter.state.value,
        "reason": letter.reason,
        "detail": letter.detail,
        "outcome": letter.outcome,
        "attempts": letter.attempts,
        **{name: None if at is None else at.isoformat() for name, at in moments.items()},
        "body": letter.body,
    }
