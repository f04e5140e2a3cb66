"""A folder of photos, whose sub-folders are the listings unless a pattern says otherwise."""

# pathlib is slow for a photo each, and cannot normalise a path without following links.
# ruff: noqa: PTH100, PTH110, PTH118, PTH122

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from listlens.core.errors import ConfigError
from listlens.core.types import PhotoRow, Reason, RejectedRow, SourceRow
from listlens.sources.inside import Inside
from listlens.sources.paths import printable
from listlens.sources.photo_files import ignored, judge
from listlens.sources.seen import FirstSeen

PROJECT_FILE = "listlens.toml"
"""A sub-folder with this file is a project of ours; its thumbnails are no photos of a source."""
_PATTERN_GROUPS = frozenset({"listing", "position", "photo"})
_DIGITS = re.compile(r"(\d+)")


class FolderSource:
    """Photos in a folder and its sub-folders, in natural order (2 before 10).

    Without a pattern, photos in a sub-folder belong to the listing named by that folder (its path
    relative to the root), and each photo at the root is a listing of its own, named by the file
    without its suffix. The position is the place among the listing's photos in that folder.

    Which files are photos: see `photo_files`. Names that begin with a dot, what operating systems
    leave behind, and tables and texts beside the photos are left out; every other file that is no
    photo, every unreadable folder, and every link that leads out of the root is a RejectedRow. A
    link to a folder is not followed: inside the root its photos are listed where they are.

    Args:
        root: the folder.
        pattern: regular expression, searched in the path relative to the root (printable, ``/``
            between folders), with a group ``listing`` and, if wanted, ``position`` (a number) and
            ``photo`` (the photo's id; default the relative path).
        skip: folders below the root to leave out, such as the project's own.
        allow_outside: follow links that lead out of the root.

    Raises:
        ConfigError: no such folder, or a pattern that is no regular expression or lacks the group.

    Example:
        >>> FolderSource(Path("."), r"(?P<listing>[0-9]+)_").describe()
        'folder .: listings by the pattern (?P<listing>[0-9]+)_'
    """

    def __init__(
        self,
        root: Path,
        pattern: str | None = None,
        *,
        skip: Collection[Path] = (),
        allow_outside: bool = False,
    ) -> None:
        if not root.is_dir():
            raise ConfigError(f"there is no folder of photos {printable(root)}")
        self._given = root
        self._pattern = _compiled(pattern) if pattern else None
        self._inside = Inside(root)
        self._skip = {os.path.abspath(path) for path in skip}
        self._allow_outside = allow_outside
        self.name = f"folder:{printable(self._inside.root)}"

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        by = f"the pattern {self._pattern.pattern}" if self._pattern else "sub-folder"
        return f"folder {printable(self._given)}: listings by {by}"

    def rows(self) -> Iterator[SourceRow]:
        """Yield every photo, folder by folder; holds the names of one folder at a time."""
        seen = FirstSeen()
        for number, row in enumerate(self._all_rows(), 1):
            if isinstance(row, PhotoRow) and self._pattern:
                key = f"{row.listing_id}\0{row.photo_id}"
                if seen.first(key, number) is not None:
                    detail = f"an earlier file is photo {row.photo_id!r} of {row.listing_id!r} too"
                    yield RejectedRow(row.at, Reason.DUPLICATE_ROW, detail)
                    continue
            yield row

    def _all_rows(self) -> Iterator[SourceRow]:
        waiting = [self._inside.root]
        visited: set[tuple[int, int]] = set()
        while waiting:
            folder = waiting.pop()
            try:
                status = os.stat(folder)
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: natural_key(entry.name))
            except OSError as error:
                detail = f"the folder cannot be read: {error.strerror}"
                yield RejectedRow(self._relative(folder), Reason.UNREADABLE, detail)
                continue
            # Bind mounts and, where allowed, links can lead back up: each folder is read once.
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            folders: list[str] = []
            yield from self._folder_rows(entries, folders)
            waiting.extend(reversed(folders))

    def _folder_rows(
        self, entries: list[os.DirEntry[str]], folders: list[str]
    ) -> Iterator[SourceRow]:
        """Yield the rows of one folder's files, and collect the folders to read next."""
        positions: Counter[str] = Counter()
        for entry in entries:
            if ignored(entry.name) or entry.path in self._skip:
                continue
            verdict = self._verdict(entry)
            if verdict == "folder":
                if not os.path.exists(os.path.join(entry.path, PROJECT_FILE)):
                    folders.append(entry.path)
            elif verdict == "photo":
                row = self._photo(entry.path, positions)
                yield row
                if isinstance(row, PhotoRow):
                    positions[row.listing_id] += 1
            elif verdict != "ignored":
                yield RejectedRow(self._relative(entry.path), *verdict)

    def _verdict(self, entry: os.DirEntry[str]) -> str | tuple[Reason, str]:
        try:
            if entry.is_symlink():
                os.stat(entry.path)  # tells a circle of links from a broken one
                inside = self._inside.by_link(entry.path)
                if not inside and not self._allow_outside:
                    return Reason.OUTSIDE, "a link that leads out of the photos' folder"
                if inside and entry.is_dir():
                    detail = "a link to a folder whose photos are listed where they are"
                    return Reason.DUPLICATE_ROW, detail
            if entry.is_dir():
                return "folder"
            if not entry.is_file():
                return Reason.UNREADABLE, "not a regular file"
        except FileNotFoundError:
            return Reason.MISSING, "a link to a file that is not there"
        except OSError as error:
            return Reason.UNREADABLE, error.strerror or "it cannot be read"
        return judge(entry.path)

    def _photo(self, path: str, positions: Counter[str]) -> PhotoRow | RejectedRow:
        relative = self._relative(path)
        listing, photo_id, position = self._default_listing(relative), relative, None
        if self._pattern:
            found = self._pattern.search(relative)
            groups = found.groupdict() if found else {}
            listing = (groups.get("listing") or "").strip()
            if not listing:
                detail = f"the path does not fit the pattern {self._pattern.pattern}"
                return RejectedRow(relative, Reason.BAD_ROW, detail)
            photo_id = groups.get("photo") or relative
            number = groups.get("position") or ""
            position = int(number) if number.isdecimal() and len(number) < 10 else None
        return PhotoRow(
            listing_id=listing,
            photo_id=photo_id,
            location=printable(path),
            position=positions[listing] if position is None else position,
            at=relative,
        )

    def _default_listing(self, relative: str) -> str:
        folder, slash, file = relative.rpartition("/")
        return folder if slash else os.path.splitext(file)[0]

    def _relative(self, path: str) -> str:
        return printable(self._inside.relative(path)) or "."


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key by which ``img2`` comes before ``img10``; equal for equal names only.

    Example:
        >>> sorted(["img10", "img2", "Img1"], key=natural_key)
        ['Img1', 'img2', 'img10']
    """
    parts = _DIGITS.split(name.lower())
    return [
        (0, int(part), "") if i % 2 and part.isascii() else (1, 0, part)
        for i, part in enumerate(parts)
    ], name


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{pattern!r} is not a regular expression: {error}") from error
    groups = set(compiled.groupindex)
    if "listing" not in groups or groups - _PATTERN_GROUPS:
        raise ConfigError(
            f"the pattern {pattern!r} needs a group (?P<listing>...) and may have "
            "(?P<position>...) and (?P<photo>...)"
        )
    return compiled
