"""What a database or a disk refused, in errors of ours that say what to do."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from listlens.core.errors import (
    DiskFullError,
    StoreBusyError,
    StoreError,
    StoreUnreachableError,
)

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process. Our longest transaction, a batch of some thousand
rows, commits in well under a second, so whoever waits this long has met a stuck process."""


def from_sqlite(code: int, path: str, message: str) -> Exception:
    """Map a primary result code of SQLite (https://sqlite.org/rescode.html)."""
    if code in (5, 6):  # BUSY, LOCKED
        return StoreBusyError(
            f"another process has been writing to {path} for over {BUSY_TIMEOUT_S:.0f} s. "
            "Wait for it to finish (or stop it), then repeat the command."
        )
    if code == 13:  # FULL
        return DiskFullError(
            errno.ENOSPC,
            f"the disk is full while writing {path}. What was committed is kept: free some room "
            "and repeat the command",
        )
    if code in (11, 26):  # CORRUPT, NOTADB
        return StoreError(
            f"{path} is not a working SQLite database ({message}). Restore it from a backup, or "
            "move it away and ingest again; the photos themselves are not touched."
        )
    if code == 10 and shutil.disk_usage(Path(path).parent).free < 2**20:  # IOERR
        return from_sqlite(13, path, message)  # the shared memory file could not grow
    if code in (8, 14, 23):  # READONLY, CANTOPEN, AUTH
        return StoreError(
            f"cannot open {path} for writing ({message}). Check that its folder exists and that "
            "you may write in it."
        )
    return StoreError(f"SQLite refused a statement on {path}: {message}")


def from_postgres(state: str | None, url: str, message: str, *, lost: bool) -> Exception:
    """Map an SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).

    Args:
        state: None where the server said nothing.
        url: without the password.
        message: of the driver.
        lost: whether the driver calls it an operational error: without a state, the connection.
    """
    first = message.strip().splitlines()[0] if message.strip() else "no message"
    if state == "53100":
        return DiskFullError(errno.ENOSPC, f"the disk of {url} is full: {first}")
    if state in ("55P03", "40P01", "40001", "57P01", "57P02", "57P03", "53300"):
        return StoreBusyError(f"{url} is busy or restarting ({first}). Repeat the command.")
    if (state is None and lost) or (state or "").startswith("08"):
        return StoreUnreachableError(
            f"cannot talk to {url} ({first}). Check that the server runs and that host, port, "
            "user, password and database in the URL are right."
        )
    return StoreError(f"PostgreSQL refused a statement on {url}: {first}")


def disk_error(error: OSError) -> Exception:
    """Return DiskFullError for a full disk or quota, StoreError for other troubles with files."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            errno.ENOSPC,
            f"the disk is full ({error}). What was committed is kept: free some room and repeat "
            "the command",
        )
    return StoreError(f"a file of the store cannot be used: {error}. Check that you may write it.")
