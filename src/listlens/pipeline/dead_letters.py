"""Dead letters: shown, let in again once what was wrong is mended, or removed."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from listlens.core.errors import InputError
from listlens.core.types import Reason
from listlens.pipeline.event_door import EMPTY, let_in, understood
from listlens.pipeline.events import Nothing, Wrong
from listlens.pipeline.unread import excerpt, sent_id
from listlens.store.event_rows import EventState, EventView, Finished

if TYPE_CHECKING:
    from listlens.core.stream_config import EventsConfig
    from listlens.store.open import Store

REREAD = "reread"
"""How a letter ends that was not understood at first: the events that it is now wait apart."""

PORTION = 500
"""Letters that one transaction puts back."""


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
        if len(ready) == PORTION:
            again += _put_back(store, ready)
            ready = []
    return Replayed(again + _put_back(store, ready), left)


def chosen(
    store: Store, ids: Sequence[str] | None = None, reason: str | None = None
) -> Iterable[EventView]:
    """Return dead letters by id, by reason, or all.

    By reason and all they are read a page at a time, in the order they came in, up to the last one
    there is now: one that fails again meanwhile does not come twice, and whoever was stopped midway
    and asks again gets those that are left. Of an id its beginning is enough, where it fits one
    dead letter.

    Raises:
        NotFoundError: an id that is not in the inbox.
        InputError: an event that is not among the dead letters, several begin so, or no such
            reason.
    """
    if ids is None:
        if reason is not None:
            check_reason(store, reason)
        return store.dead.list(reason=reason, upto=store.dead.last())
    found = list({one.event_id: one for one in map(store.events.find, ids)}.values())
    living = [one.event_key for one in found if one.state is not EventState.DEAD]
    if living:
        raise InputError(f"{living[0]!r} is not among the dead letters.")
    return found


def check_reason(store: Store, reason: str) -> dict[str, int]:
    """Return reason to dead letters; raise InputError where a reason is none that one can have."""
    there = store.dead.reasons()
    known = {*there, *map(str, Reason)}
    if reason not in known:
        near = difflib.get_close_matches(reason, sorted(known), n=1)
        meant = f"Did you mean {near[0]!r}? " if near else ""
        raise InputError(f"no dead letter has the reason {reason!r}, and none can have it. "
                         f"{meant}{said_reasons(there)}")  # fmt: skip
    return there


def said_reasons(there: Mapping[str, int]) -> str:
    """Say in a sentence which reasons dead letters have.

    Example:
        >>> said_reasons({"missing": 2, "bad_event": 1})
        'Reasons there are: missing (2), bad_event (1).'
    """
    if not there:
        return "There are no dead letters."
    return f"Reasons there are: {', '.join(f'{name} ({n})' for name, n in there.items())}."


def remove(
    store: Store,
    ids: Sequence[str] | None = None,
    *,
    reason: str | None = None,
    older: timedelta = timedelta(0),
    dry_run: bool = False,
) -> dict[str, int]:
    """Remove dead letters for good, in portions; the ledger counts them on.

    Args:
        store: whose letters.
        ids: only these (see `chosen`); None: all that the rest fits.
        reason: only those with it.
        older: only those that have been dead for longer.
        dry_run: count them, and remove nothing.

    Returns:
        Reason to how many were removed, or would be.

    Raises:
        NotFoundError: an id that is not in the inbox.
        InputError: as in `chosen`.
    """
    if ids is not None:
        letters = list(chosen(store, ids))
        if dry_run:
            return dict(Counter(letter.reason or "" for letter in letters))
        return store.dead.remove(event_ids=[letter.event_id for letter in letters])
    if reason is not None:
        check_reason(store, reason)
    before = store.clock() - older if older else None
    if dry_run:
        return store.dead.count(reason, before)
    gone, upto = Counter[str](), store.dead.last()
    while counts := store.dead.remove(reason, before, upto=upto):
        gone += Counter(counts)
    return dict(gone)


def _put_back(store: Store, letters: list[EventView]) -> int:
    return store.dead.replay([(letter.event_id, letter) for letter in letters])


def _reread(store: Store, config: EventsConfig, letter: EventView) -> bool:
    """Read again what came; whether it is understood now."""
    found = list(understood(letter.body.get("raw"), config, letter.received_at or letter.at))
    if any(isinstance(one, Wrong) for one in found):
        return False
    if all(isinstance(one, Nothing) for one in found):
        store.events.finish([Finished(letter.event_id, EMPTY)])
        return True
    with store.together():
        let_in(store, found)
        store.events.finish([Finished(letter.event_id, REREAD)])
    return True


def as_dict(letter: EventView, config: EventsConfig | None = None) -> dict[str, Any]:
    """Return a letter, JSON-able.

    Args:
        letter: or any other event.
        config: `[events]`, which may say where a shop's id stands.
    """
    unread = letter.body.get("raw") if not letter.kind else None
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
        "sent_id": None if unread is None else sent_id(unread, config),
        "excerpt": None if unread is None else excerpt(unread),
        "outcome": letter.outcome,
        "attempts": letter.attempts,
        **{name: None if at is None else at.isoformat() for name, at in moments.items()},
        "body": letter.body,
    }
