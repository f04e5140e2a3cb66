"""Data set layouts: a folder for each class, and Hugging Face's metadata files.

ImageFolder is ``<class>/photo.jpg`` or ``train/<class>/photo.jpg`` beside ``val/`` and ``test/``,
as torchvision and Keras read it. Hugging Face's is a ``metadata.csv`` or ``metadata.jsonl`` with a
column `file_name`, at the top or in each split's folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from listlens.core.errors import ConfigError
from listlens.core.types import PhotoRow, Reason, RejectedRow, SourceRow
from listlens.sources.folder import PROJECT_FILE, FolderSource
from listlens.sources.paths import printable
from listlens.sources.photo_files import IMAGE_SUFFIXES, ignored
from listlens.sources.seen import FirstSeen
from listlens.sources.table import TableSource

if TYPE_CHECKING:
    from collections.abc import Collection

    from listlens.core.types import Split

SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What data sets call the three splits, in lower case."""

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")

# Without train/ and test/, folders of classes and folders of listings look alike. Classes have
# words for names and many photos each; listings have numbers in their names or few photos. Chosen
# by judgement: the folder source's `describe` says what was taken, and either can be asked for.
MAX_CLASSES = 200
MIN_MEDIAN_PHOTOS = 8


class ImageFolderSource:
    """Photos in a folder for each class; every photo is a listing of its own.

    The class and the split are read by `folder_answer`, from the photo's id.

    Args:
        root: the folder above the classes, or above ``train/`` and ``test/``.
        skip: folders below the root to leave out.

    Raises:
        ConfigError: no such folder.
    """

    def __init__(self, root: Path, *, skip: Collection[Path] = ()) -> None:
        self._folder = FolderSource(root, skip=skip)
        self._root = root
        self.name = self._folder.name

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        splits = [path.name for path in _folders(self._root) if path.name.lower() in SPLITS]
        by = f" in the splits {', '.join(splits)}" if splits else ""
        return f"ImageFolder {printable(self._root)}: the sub-folders are classes{by}"

    def rows(self) -> Iterator[SourceRow]:
        """Yield the folder's photos, each in its own listing."""
        for row in self._folder.rows():
            if isinstance(row, PhotoRow):
                yield dataclasses.replace(row, listing_id=row.photo_id, position=None)
            else:
                yield row


class HuggingFaceSource:
    """Photos named by the metadata files of a Hugging Face image folder.

    Args:
        root: the folder that holds the metadata file, or the splits that hold one each.
        mapping: as for `TableSource`.

    Raises:
        ConfigError: no metadata file, or one without `file_name`.
    """

    def __init__(self, root: Path, mapping: Mapping[str, str] | None = None) -> None:
        files = metadata_files(root)
        if not files:
            names = ", ".join(METADATA_NAMES)
            raise ConfigError(f"there is none of {names} in {printable(root)} or its splits")
        self._tables = [TableSource(f, root, mapping, base=f.parent) for f in files]
        self._root = root
        self.name = FolderSource(root).name

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        n = len(self._tables)
        first = self._tables[0].describe()
        return f"Hugging Face image folder {printable(self._root)}, {n} metadata file(s): {first}"

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows of every metadata file; a photo that two of them name comes once."""
        seen = FirstSeen()
        for number, table in enumerate(self._tables, 1):
            for row in table.rows():
                if isinstance(row, PhotoRow):
                    before = seen.first(f"{row.listing_id}\0{row.photo_id}", number)
                    if before is not None:
                        detail = f"photo {row.photo_id!r} came in another metadata file already"
                        yield RejectedRow(row.at, Reason.DUPLICATE_ROW, detail)
                        continue
                yield row


def metadata_files(root: Path) -> list[Path]:
    """Return the Hugging Face metadata files of a folder: its own, else one for each split."""
    for folders in ([root], [path for path in _folders(root) if path.name.lower() in SPLITS]):
        files = [folder / name for folder in folders for name in METADATA_NAMES]
        found = [file for file in files if file.is_file()]
        if found:
            return found
    return []


def folder_answer(photo_id: str) -> tuple[str | None, Split | None]:
    """Return the class and the split that an ImageFolder's path says.

    Args:
        photo_id: path relative to the root, such as ``train/kitchen/1.jpg``.

    Returns:
        Class or None (a photo outside any class folder), split or None.

    Example:
        >>> folder_answer("validation/kitchen/1.jpg"), folder_answer("kitchen/1.jpg")
        (('kitchen', 'val'), ('kitchen', None))
    """
    parts = photo_id.split("/")[:-1]
    split = SPLITS.get(parts[0].lower()) if parts else None
    classes = parts[1:] if split else parts
    return (classes[0].strip() or None if classes else None), split


def is_image_folder(root: Path) -> bool:
    """Whether the sub-folders are classes rather than listings (see MIN_MEDIAN_PHOTOS).

    Certain with ``train/<class>/``; a judgement by names and numbers with ``<class>/`` alone.
    """
    folders = _folders(root)
    splits = [path for path in folders if path.name.lower() in SPLITS]
    if any(path.name.lower() in ("train", "training") for path in splits):
        return any(_folders(split) for split in splits)
    if not 2 <= len(folders) <= MAX_CLASSES or _n_photos(root, 1):
        return False
    if any(char.isdigit() for path in folders for char in path.name):
        return False
    counts = sorted(_n_photos(path, MIN_MEDIAN_PHOTOS) for path in folders)
    return counts[len(counts) // 2] >= MIN_MEDIAN_PHOTOS


def _folders(root: Path) -> list[Path]:
    """Return the sub-folders, without a project of ours that the first run put there."""
    try:
        found = [p for p in root.iterdir() if not ignored(p.name) and p.is_dir()]
        return sorted(p for p in found if not (p / PROJECT_FILE).exists())
    except OSError:
        return []


def _n_photos(folder: Path, enough: int) -> int:
    """Count photos by name, up to `enough`."""
    n = 0
    try:
        for path in folder.iterdir():
            n += path.suffix.lower() in IMAGE_SUFFIXES and not ignored(path.name)
            if n >= enough:
                break
    except OSError:
        return n
    return n
