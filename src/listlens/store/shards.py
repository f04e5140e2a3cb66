"""Shard files: immutable float16 arrays, written so that a name never stands for half a file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import StoreError
from listlens.store.troubles import disk_error

REPAIR = (
    "Call `Store.vectors.drop_damaged()`: it forgets what the file held, and the next run embeds "
    "those photos again."
)


def write_shard(folder: Path, vectors: NDArray[np.float16]) -> Path:
    """Write a new shard and flush it; return its path, `<folder>/<uuid>.npy`.

    The file gets its name after its bytes are on disk, and the folder is flushed after that, so a
    row that commits later can never point at nothing.

    Raises:
        DiskFullError: nothing is left behind.
        StoreError: the folder cannot be written.
    """
    name = uuid.uuid4().hex
    temporary, path = folder / f"{name}.tmp", folder / f"{name}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, np.ascontiguousarray(vectors, dtype="<f2"), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error) from error
    return path


def read_shard(path: Path, n_rows: int, dim: int) -> NDArray[np.float16]:
    """Map a shard into memory, `(n_rows, dim)` float16, read-only.

    Raises:
        FileNotFoundError: it was replaced meanwhile, or lost; the caller knows which.
        StoreError: it is damaged.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy's header reader lets its tokenizer's errors through
        raise StoreError(f"{path} is damaged ({error}). {REPAIR}") from error
    if array.shape != (n_rows, dim) or array.dtype != np.dtype("<f2"):
        raise StoreError(
            f"{path} is damaged: it holds {array.dtype} {array.shape}, not float16 "
            f"{(n_rows, dim)}. {REPAIR}"
        )
    return cast("NDArray[np.float16]", array)


def remove_file(path: Path) -> int:
    """Remove a file if it is there; return the bytes freed."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    except PermissionError:
        return 0  # Windows, while somebody has it mapped: swept as an orphan later
    return size


def old_files(folder: Path, before_s: float) -> Iterator[Path]:
    """Yield shards and temporary files last written before a moment (Unix seconds)."""
    for path in folder.glob("*/*"):
        try:
            if path.suffix in (".npy", ".tmp") and path.stat().st_mtime < before_s:
                yield path
        except FileNotFoundError:
            continue


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut; Windows does it by itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
