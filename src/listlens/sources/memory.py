"""Rows held in memory: for tests, notebooks and callers that already know their photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from listlens.core.types import PhotoRow, Reason, RejectedRow, SourceRow
from listlens.sources.seen import FirstSeen


class MemorySource:
    """A source over given rows.

    Args:
        name: identity of the source in the store.
        given: the rows; a photo that comes twice is rejected as in any source.
    """

    def __init__(self, name: str, given: Sequence[SourceRow]) -> None:
        self.name = name
        self._given = given

    def describe(self) -> str:
        """Say in one sentence what is read."""
        return f"{len(self._given)} rows in memory"

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows in order."""
        seen = FirstSeen()
        for number, row in enumerate(self._given, 1):
            if isinstance(row, PhotoRow):
                before = seen.first(f"{row.listing_id}\0{row.photo_id}", number)
                if before is not None:
                    detail = f"photo {row.photo_id!r} of {row.listing_id!r} came in row {before}"
                    yield RejectedRow(row.at, Reason.DUPLICATE_ROW, detail)
                    continue
            yield row
