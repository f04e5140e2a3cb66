"""Text in a photo: what was read, where it stands, and what that comes to in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text in a photo.

    Args:
        text: as recognised.
        confidence: of the recognition, [0, 1].
        corners: x and y of the four corners, clockwise from the top left of the text, as shares of
            the photo's width and height, [0, 1].

    Example:
        >>> line = TextLine("SALE", 0.99, (0.0, 0.0, 0.5, 0.0, 0.5, 0.2, 0.0, 0.2))
        >>> line.area, line.height
        (0.1, 0.2)
    """

    text: str
    confidence: float
    corners: tuple[float, float, float, float, float, float, float, float]

    def __post_init__(self) -> None:
        if len(self.corners) != 8 or not all(0 <= c <= 1 for c in self.corners):
            raise ValueError(f"a line has four corners in [0, 1]: {self.corners}")

    @property
    def area(self) -> float:
        """Share of the photo that the box covers, [0, 1] (the shoelace formula)."""
        xs, ys = self.corners[::2], self.corners[1::2]
        turned = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
        return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in turned)) / 2

    @property
    def height(self) -> float:
        """Extent from the box's upper edge to its lower one, as a share of the photo's height."""
        ys = self.corners[1::2]
        return abs((ys[2] + ys[3]) - (ys[0] + ys[1])) / 2

    @property
    def n_words(self) -> int:
        """Parts between spaces."""
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Reading:
    """All text of one content, and the measures of text and graphics laid over it.

    Args:
        reader: what read it, with its version: another one reads again.
        lines: from top to bottom.
        measures: by name, see `images.overlay` and `text_measures`.
    """

    reader: str
    lines: tuple[TextLine, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Everything that can be searched for: the lines in lower case."""
        return "\n".join(line.text for line in self.lines).casefold()


def text_measures(lines: tuple[TextLine, ...]) -> dict[str, float]:
    """Return what the text of a photo comes to.

    Returns:
        text_area: share of the photo under text, [0, 1]; n_words: number of words; text_height:
        height of the tallest line as a share of the photo's, [0, 1].

    Example:
        >>> text_measures(())
        {'text_area': 0.0, 'n_words': 0.0, 'text_height': 0.0}
    """
    return {
        "text_area": round(min(1.0, sum((line.area for line in lines), start=0.0)), 5),
        "n_words": float(sum(line.n_words for line in lines)),
        "text_height": round(max((line.height for line in lines), default=0.0), 5),
    }
