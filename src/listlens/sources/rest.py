"""A table, and the photos of its folder that it leaves out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from listlens.core.types import PhotoRow, SourceRow
from listlens.sources.folder import FolderSource
from listlens.sources.seen import FirstSeen
from listlens.sources.table import TableSource


class TableAndRestSource:
    """Photos that a table names, then those in the folder that it does not name.

    Which listing a photo without a row belongs to is unknown, so each is a listing of its own. The
    identity is the folder's: with another table it is the same source.

    Args:
        table: the table, whose photos are in the folder.
        folder: the folder.
    """

    def __init__(self, table: TableSource, folder: FolderSource) -> None:
        self._table = table
        self._folder = folder
        self.name = folder.name

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        return f"{self._table.describe()}; then the photos of the folder that it does not name"

    def rows(self) -> Iterator[SourceRow]:
        """Yield the table's rows, then the rest of the folder."""
        named = FirstSeen()
        for number, row in enumerate(self._table.rows(), 1):
            if isinstance(row, PhotoRow):
                named.first(row.location, number)
            yield row
        for number, row in enumerate(self._folder.rows(), 1):
            if not isinstance(row, PhotoRow):
                yield row
            elif named.first(row.location, number) is None:
                yield dataclasses.replace(row, listing_id=row.photo_id, position=None)
