"""Reading a photo's bytes: bounded, and never blocked by what only looks like a file."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from listlens.core.errors import PhotoError
from listlens.core.types import Reason

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO without a writer must not wait
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one photo may cost before it is refused.

    Args:
        max_bytes: of the file. The largest camera JPEGs (150 megapixels) stay under 100 MiB.
        max_pixels: width x height in the header, whatever the format.
        max_full_pixels: width x height of what has to be held in memory at full size: everything
            but sequential JPEGs, which are decoded at reduced scale row by row. Pillow needs 4
            bytes a pixel, so the default is 400 MB at worst.
        max_scans: passes over a JPEG. Cameras and encoders write 1 to 12; a hostile file has
            thousands, each as dear as a whole decode, in a few bytes. 100 is what libjpeg-turbo
            advises ("Two Issues with the JPEG Standard", 2018).
        max_s: wall-clock seconds for decoding, looked at between blocks of compressed bytes. A
            decoder that takes all bytes in one call (WebP, AVIF, HEIC, and the fast JPEG path) is
            not interrupted; there the pixel and scan limits are what bounds the time.
    """

    max_bytes: int = 100 * 2**20
    max_pixels: int = 250_000_000
    max_full_pixels: int = 100_000_000
    max_scans: int = 100
    max_s: float = 20.0


DEFAULT_LIMITS = Limits()


def read_bytes(path: str | bytes | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read a regular file whole, if it is small enough.

    Args:
        path: of the file; symbolic links are followed.
        limits: `max_bytes` is what counts here.

    Returns:
        Its bytes; at least one, at most `limits.max_bytes`.

    Raises:
        PhotoError: MISSING, UNREADABLE (permission, I/O error, symlink loop, directory, pipe,
            device), EMPTY or TOO_MANY_BYTES.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise _refused(error) from error
    try:
        return _read(descriptor, limits.max_bytes)
    except OSError as error:
        raise _refused(error) from error
    finally:
        os.close(descriptor)


def _read(descriptor: int, max_bytes: int) -> bytes:
    """Read at most `max_bytes` from an open regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError(Reason.UNREADABLE, "not a regular file but a folder, pipe or device")
    if status.st_size > max_bytes:
        raise _too_many(f"{status.st_size:,}", max_bytes)
    # One byte more than expected tells whether the file grew in the meantime. Files of /proc
    # say 0 bytes and hold some, so the size is a hint only.
    parts: list[bytes] = []
    n_bytes = 0
    while n_bytes <= max_bytes:
        wanted = max(status.st_size - n_bytes, 0) + 1
        part = os.read(descriptor, min(max(wanted, 4096), max_bytes + 1 - n_bytes))
        if not part:
            break
        parts.append(part)
        n_bytes += len(part)
    if n_bytes > max_bytes:
        raise _too_many(f"more than {max_bytes:,}", max_bytes)
    if not n_bytes:
        raise PhotoError(Reason.EMPTY, "the file has 0 bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_many(found: str, max_bytes: int) -> PhotoError:
    return PhotoError(
        Reason.TOO_MANY_BYTES, f"{found} bytes; at most {max_bytes:,} are read. Save it smaller."
    )


def _refused(error: OSError | ValueError) -> PhotoError:
    """Say what the operating system said, without the path (it may hold personal data)."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return PhotoError(Reason.MISSING, "no such file")
        if error.errno == errno.ELOOP:
            return PhotoError(Reason.UNREADABLE, "a symbolic link that leads to itself")
        return PhotoError(Reason.UNREADABLE, error.strerror or type(error).__name__)
    return PhotoError(Reason.UNREADABLE, "the path holds a NUL byte")
