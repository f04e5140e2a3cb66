"""Which source a folder, and a table beside it, make; and a sentence that says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, Protocol

from listlens.core.errors import ConfigError, suggest
from listlens.core.ports import Source
from listlens.sources import layouts
from listlens.sources.folder import FolderSource
from listlens.sources.paths import printable
from listlens.sources.rest import TableAndRestSource
from listlens.sources.table import TableSource

Layout = Literal["auto", "listings", "classes"]


class DescribedSource(Source, Protocol):
    """A source that can say what it reads."""

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        ...


def open_source(
    photos: Path,
    table: Path | None = None,
    mapping: Mapping[str, str] | None = None,
    pattern: str | None = None,
    *,
    layout: Layout = "auto",
    skip: Collection[Path] = (),
    not_attributes: Collection[str] = (),
    allow_outside: bool = False,
    rest: bool = False,
    fetch: bool = False,
) -> DescribedSource:
    """Return the source that fits what is there.

    A table wins: one given as `table`, or `photos` itself if it is a file. Then, unless a pattern
    or a layout is asked for, Hugging Face metadata files, Image ATM's ``samples.json`` and
    ImageFolder's class folders are recognised. Otherwise sub-folders are listings.

    Args:
        photos: folder of photos, or a table whose paths are relative to its own folder.
        table: table of the photos, such as a label file.
        mapping: role to column of the table, see `TableSource`.
        pattern: how a path says the listing, see `FolderSource`.
        layout: what sub-folders are: ``listings``, ``classes``, or what they look like.
        skip: folders to leave out, see `FolderSource`.
        not_attributes: columns that are no attributes, see `TableSource`.
        allow_outside: take paths and links that lead out of the folder.
        rest: with a table, also the photos of the folder that it does not name.
        fetch: take URLs that a table names.

    Raises:
        ConfigError: no such folder or file, or arguments that do not go together.
        NotFoundError, InputError, MissingExtraError: as `TableSource`.
    """
    if layout not in ("auto", "listings", "classes"):
        raise ConfigError(
            f"unknown layout {layout!r}. {suggest(layout, ('auto', 'listings', 'classes'))}"
        )
    if not photos.exists():
        raise ConfigError(f"there is no folder of photos {printable(photos)}")
    root: Path | None = photos
    if table is None and photos.is_file():
        table, root = photos, None
    if table is not None:
        if pattern:
            raise ConfigError("a pattern is for a folder: with a table, column listing_id says it")
        source = TableSource(
            table, root, mapping, not_attributes=not_attributes, allow_outside=allow_outside,
            fetch=fetch,
        )  # fmt: skip
        if not rest:
            return source
        folder = FolderSource(root or table.parent, skip=skip, allow_outside=allow_outside)
        return TableAndRestSource(source, folder)
    if pattern is None and layout == "auto":
        if layouts.metadata_files(photos):
            return layouts.HuggingFaceSource(photos, mapping)
        if samples := image_atm_samples(photos):
            return TableSource(samples[0], samples[1], mapping, allow_outside=allow_outside)
    if mapping:
        raise ConfigError("a column mapping is for a table, and there is none here")
    if pattern is None and (
        layout == "classes" or (layout == "auto" and layouts.is_image_folder(photos))
    ):
        return layouts.ImageFolderSource(photos, skip=skip)
    return FolderSource(photos, pattern, skip=skip, allow_outside=allow_outside)


def image_atm_samples(photos: Path) -> tuple[Path, Path] | None:
    """Return Image ATM's ``samples.json`` in a folder and the folder of its photos, or None.

    Image ATM names both apart; the photos stand beside the file or in ``images/`` below it.
    """
    samples = photos / "samples.json"
    if not samples.is_file():
        return None
    images = photos / "images"
    return samples, images if images.is_dir() else photos
