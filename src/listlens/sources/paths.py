"""Any path as printable text, and back.

File names on POSIX are bytes; databases, JSON and terminals want text. A name that is valid UTF-8
without control characters stays as it is. Any other byte is written as ``␛`` (U+241B, SYMBOL FOR
ESCAPE) and two hexadecimal digits, so ``caf\\xe9.jpg`` in Latin-1 becomes ``caf␛E9.jpg``. The sign
itself is escaped too, which makes the form reversible; it works piece by piece, so that joining two
printable paths is the printable form of the joined path.
"""

from __future__ import annotations

import os
import re
import unicodedata

_MARK = "\u241b"
# Line separators would break lists of paths into lines; direction overrides can disguise a name.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as text without surrogates, control characters or line breaks.

    Args:
        path: as the operating system gives it: bytes, a path object, or text in which undecodable
            bytes are surrogates (`os.fsdecode`).

    Returns:
        The same text where it is harmless, else with the other bytes escaped; `real_path` undoes
        it exactly.

    Example:
        >>> printable("kitchen.jpg"), printable(b"caf\\xe9.jpg"), printable("a\\nb.jpg")
        ('kitchen.jpg', 'caf␛E9.jpg', 'a␛0Ab.jpg')
    """
    text = path if isinstance(path, str) else os.fsdecode(path)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _safe(c) else _escape(c) for c in text)


def real_path(text: str) -> str:
    """Return the path that `printable` wrote, for `open` and the functions of `os`.

    Args:
        text: a printable path. Text without escapes is returned as it is.

    Returns:
        Text in which undecodable bytes are surrogates, as `os.fsdecode` makes them.

    Example:
        >>> import os
        >>> os.fsencode(real_path("caf␛E9.jpg"))
        b'caf\\xe9.jpg'
    """
    if _MARK not in text:
        return text
    plain = text.encode("utf-8", "surrogateescape")
    mark = _MARK.encode()
    pattern = re.compile(re.escape(mark) + rb"([0-9A-F]{2})")
    data = pattern.sub(lambda found: bytes([int(found[1], 16)]), plain)
    return data.decode("utf-8", "surrogateescape")


def _safe(char: str) -> bool:
    return (
        char != _MARK
        and unicodedata.category(char) not in _UNSAFE_CATEGORIES
        and char not in _DIRECTION_OVERRIDES
    )


def _escape(char: str) -> str:
    # surrogatepass: a lone surrogate that stands for no byte (Windows) still becomes bytes.
    try:
        data = char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = char.encode("utf-8", "surrogatepass")
    return "".join(f"{_MARK}{byte:02X}" for byte in data)
