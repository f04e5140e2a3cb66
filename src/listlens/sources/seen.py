"""Which keys came before, and where first, in 32 bytes a key at most."""

from __future__ import annotations

import hashlib
from array import array

_LINE_BITS = 40
_LINE_MASK = (1 << _LINE_BITS) - 1


class FirstSeen:
    """Remembers where each key came first.

    A set of strings takes hundreds of bytes a row, which adds up over millions of rows. This is an
    open-addressing table of 128-bit cells: 88 bits of a hash of the key and 40 bits of the row
    number. Two different keys are taken for one with probability n**2 / 2**89 over n keys (about
    1e-10 for 300 million).
    """

    def __init__(self) -> None:
        self._n = 0
        self._reserve(1 << 10)

    def __len__(self) -> int:
        return self._n

    def first(self, key: str, number: int) -> int | None:
        """Return the number under which the key came before, or None and remember this one.

        Args:
            key: any text.
            number: where it stands, in [1, 2**40).

        Example:
            >>> seen = FirstSeen()
            >>> seen.first("a.jpg", 2), seen.first("b.jpg", 3), seen.first("a.jpg", 4)
            (None, None, 2)
        """
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=11).digest()
        high = int.from_bytes(digest[:8])
        low = int.from_bytes(digest[8:]) << _LINE_BITS
        cell = self._cell(high, low)
        if self._lows[cell] & _LINE_MASK:
            return self._lows[cell] & _LINE_MASK
        self._highs[cell], self._lows[cell] = high, low | number
        self._n += 1
        if self._n * 2 > len(self._lows):
            self._grow()
        return None

    def _cell(self, high: int, low: int) -> int:
        """Return the cell of this hash, or the empty cell where it belongs."""
        mask = len(self._lows) - 1
        cell = high & mask
        while self._lows[cell] & _LINE_MASK:
            if self._highs[cell] == high and self._lows[cell] & ~_LINE_MASK == low:
                break
            cell = (cell + 1) & mask
        return cell

    def _reserve(self, n_cells: int) -> None:
        self._highs = array("Q", bytes(8 * n_cells))
        self._lows = array("Q", bytes(8 * n_cells))

    def _grow(self) -> None:
        highs, lows = self._highs, self._lows
        self._reserve(2 * len(lows))
        for high, low in zip(highs, lows, strict=True):
            if low & _LINE_MASK:
                cell = self._cell(high, low & ~_LINE_MASK)
                self._highs[cell], self._lows[cell] = high, low
