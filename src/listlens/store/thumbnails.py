"""Thumbnails: small JPEG files beside the database, named by the sha256 of the content."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable, Container
from pathlib import Path

from listlens.core.errors import InputError
from listlens.store.shards import remove_file
from listlens.store.troubles import disk_error

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Thumbnails:
    """Files `thumbnails/ab/abcdef....jpg`. They can be made again, so they are not flushed.

    Args:
        folder: where they lie; made when the first one is put.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Return where the thumbnail of a content lies, whether or not it is there."""
        if not _SHA256.fullmatch(sha256):
            raise InputError(f"{sha256!r} is not a sha256; give its 64 hex digits, small")
        return self.folder / sha256[:2] / f"{sha256}.jpg"

    def put(self, sha256: str, data: bytes) -> None:
        """Store a thumbnail; a reader sees the whole file or none."""
        path = self.path(sha256)
        temporary: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise disk_error(error) from error

    def get(self, sha256: str) -> bytes | None:
        """Return the thumbnail's bytes, or None where there is none."""
        try:
            return self.path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error) from error

    def sweep(self, known: Callable[[list[str]], Container[str]], before_s: float) -> int:
        """Remove thumbnails of unknown contents, and what a kill left half written.

        Args:
            known: which of these sha256 the store holds; asked folder by folder, so that memory
                stays flat.
            before_s: files are removed if last written before (Unix seconds): younger ones may
                belong to a transaction that has not ended.

        Returns:
            Bytes freed.
        """
        freed = 0
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            files = list(folder.iterdir())
            held = known([path.stem for path in files if _is_thumbnail(path)])
            for path in files:
                nobodys = _is_thumbnail(path) and path.stem not in held
                if (nobodys or path.suffix == ".tmp") and _modified_s(path) < before_s:
                    freed += remove_file(path)
        return freed

    def delete(self, sha256: str) -> bool:
        """Remove a thumbnail; return whether there was one."""
        try:
            self.path(sha256).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk_error(error) from error
        return True


def _is_thumbnail(path: Path) -> bool:
    return path.suffix == ".jpg" and _SHA256.fullmatch(path.stem) is not None


def _modified_s(path: Path) -> float:
    """Unix seconds; of a file that vanished meanwhile, the far future."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf
