"""Readings: the text of each content, once, and the photos whose text holds given words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from listlens.core.errors import InputError
from listlens.core.text import Reading, TextLine
from listlens.store.database import Database, chunks, clean_text
from listlens.store.schema import content, reading

_ESCAPE = "\\"


class Readings:
    """What was read in contents, by content."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, readings: Mapping[int, Reading]) -> int:
        """Insert or replace by content id; return how many.

        Contents that are not in the store (any more) are left out: they were forgotten meanwhile.
        """
        now = self._db.clock()
        insert = self._db.insert(reading)
        fixed = {"content_id"}
        update = {c.name: insert.excluded[c.name] for c in reading.c if c.name not in fixed}
        upsert = insert.on_conflict_do_update(index_elements=["content_id"], set_=update)
        with self._db.write() as connection:
            there: set[int] = set()
            for block in chunks(readings):
                query = sa.select(content.c.id).where(content.c.id.in_(block))
                there.update(connection.execute(query).scalars())
            rows = [_values(pk, readings[pk]) | {"created_at": now} for pk in sorted(there)]
            self._db.bulk(connection, upsert, rows)
        return len(rows)

    def missing(self, reader: str, content_ids: Sequence[int]) -> list[int]:
        """Return those of `content_ids` that this reader has not read, in order."""
        there: set[int] = set()
        query = sa.select(reading.c.content_id).where(reading.c.reader == reader)
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(content_ids)):
                there.update(
                    connection.execute(query.where(reading.c.content_id.in_(block))).scalars()
                )
        return [pk for pk in content_ids if pk not in there]

    def get(self, content_ids: Sequence[int]) -> dict[int, Reading]:
        """Return readings by content id; absent ids have no key."""
        found: dict[int, Reading] = {}
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(content_ids)):
                query = sa.select(reading).where(reading.c.content_id.in_(block))
                found.update((row.content_id, _view(row)) for row in connection.execute(query))
        return found

    def scan(self, words: str = "", batch: int = 1000) -> Iterator[tuple[int, Reading]]:
        """Yield (content id, reading) of contents with text, by id; memory is flat.

        Args:
            words: only where each of these words occurs, in any case, also as part of a longer
                word: recognition often loses the space between two.
            batch: rows a query.
        """
        query = sa.select(reading).where(reading.c.words != "")
        for word in clean_text(words).casefold().split():
            query = query.where(reading.c.words.like(f"%{_escaped(word)}%", escape=_ESCAPE))
        query = query.order_by(reading.c.content_id).limit(batch)
        last = 0
        while True:
            with self._db.read() as connection:
                page = connection.execute(query.where(reading.c.content_id > last)).all()
            yield from ((row.content_id, _view(row)) for row in page)
            if len(page) < batch:
                return
            last = page[-1].content_id

    def counts(self) -> tuple[int, int]:
        """Return how many contents were read, and in how many of them there is text."""
        with_text = sa.func.sum(sa.case((reading.c.words != "", 1), else_=0))
        with self._db.read() as connection:
            row = connection.execute(sa.select(sa.func.count(), with_text).select_from(reading))
            n, n_text = row.one()
        return int(n), int(n_text or 0)


def _escaped(word: str) -> str:
    """Take %, _ and the escape itself literally."""
    for character in (_ESCAPE, "%", "_"):
        word = word.replace(character, _ESCAPE + character)
    return word


def _values(content_id: int, found: Reading) -> dict[str, Any]:
    lines = [[clean_text(line.text), line.confidence, *line.corners] for line in found.lines]
    return {
        "content_id": content_id,
        "reader": found.reader,
        "lines": lines,
        "measures": dict(found.measures),
        "words": clean_text(found.words),
    }


def _view(row: Any) -> Reading:
    try:
        lines = tuple(
            TextLine(text, confidence, tuple(corners)) for text, confidence, *corners in row.lines
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"the text of content {row.content_id} is damaged: {error}") from error
    return Reading(row.reader, lines, row.measures)
