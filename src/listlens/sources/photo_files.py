"""Which files are photos: by name where that is enough, by their first bytes where it is not."""

# pathlib is slow for a photo each, and cannot normalise a path without following links.
# ruff: noqa: PTH122

from __future__ import annotations

import os
import stat
from typing import Literal

from listlens.core.signatures import START_BYTES, format_of
from listlens.core.types import Reason

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".hif"),
        *(".gif", ".bmp", ".dib", ".tif", ".tiff"),
    )
)
"""Taken for photos unread. What is none in spite of its name fails when it is decoded."""

COMPANION_SUFFIXES = frozenset(
    (
        *(".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xls", ".ods"),
        *(".txt", ".md", ".rst", ".yaml", ".yml", ".toml", ".xml", ".ini", ".log"),
        *(".py", ".ipynb", ".db", ".sha256"),
    )
)
"""Files that stand beside photos: left out, unless their first bytes are a photo's."""

IGNORED_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"})
"""What operating systems leave behind. Names that begin with a dot are left out as well."""

Verdict = Literal["photo", "ignored"] | tuple[Reason, str]


def ignored(name: str) -> bool:
    """Whether a file or folder of this name is passed over."""
    return name.startswith(".") or name.lower() in IGNORED_NAMES


def judge(path: str) -> Verdict:
    """Say whether a regular file is a photo, one of the files beside them, or neither and why.

    Example:
        >>> judge("a.JPG")
        'photo'
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return "photo"
    try:
        start = _first_bytes(path)
    except OSError as error:
        return Reason.UNREADABLE, error.strerror or "it cannot be opened"
    if _starts_like_a_photo(start):
        return "photo"
    if suffix in COMPANION_SUFFIXES:
        return "ignored"
    if not start:
        return Reason.EMPTY, "zero bytes"
    return Reason.NOT_AN_IMAGE, "neither its name nor its first bytes are a photo's"


def _starts_like_a_photo(start: bytes) -> bool:
    # Two letters are not enough to tell a bitmap from a text about BMWs.
    found = format_of(start)
    return found is not None and (found != "BMP" or start[6:10] == bytes(4))


def _first_bytes(path: str) -> bytes:
    # Not blocking: the name may have become a pipe since the folder was read.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return b""
        return os.read(file, START_BYTES)
    finally:
        os.close(file)
