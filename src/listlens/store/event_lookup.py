"""One event of the inbox: by its id, or a dead letter by the beginning of its id."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from listlens.core.errors import InputError, NotFoundError
from listlens.store.database import Database, clean_text
from listlens.store.event_rows import EventView, to_view
from listlens.store.stream_tables import IS_DEAD, event

HASHED = "sha256:"
"""How the id of an event begins that came without one; nobody types it."""

MOST_NAMED = 5
"""Ids that are named where several begin as asked."""


def get_event(database: Database, event_key: str) -> EventView:
    """Return the event with this id. Raises NotFoundError where it is not in the inbox."""
    row = _exact(database, event_key)
    if row is None:
        raise NotFoundError(
            f"no event {event_key!r} in the inbox. Done ones are kept for a while only "
            "([worker] keep_days)."
        )
    return to_view(row)


def find_event(database: Database, given: str) -> EventView:
    """Return the event with this id, or the one dead letter whose id begins so.

    Only dead letters are found by a beginning: they are few among all events, and an index on
    their state is there on every database, whatever its order of letters is.

    Raises:
        NotFoundError: there is none.
        InputError: several begin so.
    """
    row = _exact(database, given)
    if row is not None:
        return to_view(row)
    found = _beginning(database, clean_text(given)) if given else []
    if not found:
        raise NotFoundError(
            f"no event {given!r} in the inbox, and no dead letter whose id begins so. "
            "`listlens dead list` shows the ids there are; done events are kept for a while only "
            "([worker] keep_days)."
        )
    if len(found) > 1:
        named = ", ".join(repr(one.event_key) for one in found[:MOST_NAMED])
        more = " and more" if len(found) > MOST_NAMED else ""
        raise InputError(f"{given!r} begins the ids of several dead letters: {named}{more}. "
                         "Write more of the one that is meant.")  # fmt: skip
    return to_view(found[0])


def _exact(database: Database, event_key: str) -> Any:
    query = sa.select(event).where(event.c.event_key == clean_text(event_key))
    with database.read() as connection:
        return connection.execute(query).first()


def _beginning(database: Database, given: str) -> list[Any]:
    """Dead letters whose ids begin so, with or without what all hashes begin with."""
    begins = [
        sa.func.substr(event.c.event_key, 1, len(text)) == text for text in (given, HASHED + given)
    ]
    query = sa.select(event).where(IS_DEAD, sa.or_(*begins))
    with database.read() as connection:
        return list(connection.execute(query.order_by(event.c.id).limit(MOST_NAMED + 1)))
