"""Whether a text names something: as a whole word, id or path, not as part of another."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_MARKS = frozenset("'\"/\\")


class Mentions:
    """Finds any of many names in texts, in time that does not grow with the number of names.

    A name is met between word boundaries: ``home-1`` in ``home-1/2.jpg``, not in ``home-12``. A
    bare number counts only in quotes or in a path, for ``row 3`` and ``feed.csv:3`` are not the
    listing 3.

    Example:
        >>> found = Mentions(["3", "a b.jpg"])
        >>> [found.within(text) for text in ("listing '3'", "photos/3/1.jpg", "3", "an a b.jpg")]
        [True, True, True, True]
        >>> [found.within(text) for text in ("feed.csv:3", "has 3 columns", "'13'", "3.jpg")]
        [False, False, False, False]
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._odd: set[str] = set()  # without a word character: sought anywhere
        self._longest = 0
        for name in names:
            for shown in {name, repr(name)[1:-1]}:  # a message may show it with escapes
                spans = _spans(shown)
                if spans:
                    self._names.add(shown[spans[0][0] : spans[-1][1]])
                    self._longest = max(self._longest, len(spans))
                elif name.strip():
                    self._odd.add(shown)

    def within(self, text: str) -> bool:
        """Whether the text names one of them."""
        spans = _spans(text)
        for first, (start, _) in enumerate(spans):
            for _, end in spans[first : first + self._longest]:
                if text[start:end] in self._names and _stands_for_itself(text, start, end):
                    return True
        return any(name in text for name in self._odd)


def _spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _TOKEN.finditer(text)]


def _stands_for_itself(text: str, start: int, end: int) -> bool:
    """Whether these characters may be an id: all but a bare number in running text."""
    around = {*text[max(0, start - 1) : start], *text[end : end + 1]}
    return not text[start:end].isdecimal() or not around or bool(around & _MARKS)
