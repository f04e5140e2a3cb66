"""The confusion matrix as one SVG that needs no style sheet: for notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

MOST_CLASSES = 16
"""Up to this many a matrix can be read, as in the report."""

_CELL = 34
_NAME_LETTERS = 18
_LETTER = 7


def matrix_figure(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """Draw counts, rows are the labels and columns the answers, shaded by the share of the row.

    Args:
        classes: k names, at most `MOST_CLASSES` that are worth drawing.
        counts: `(k, k)`.

    Example:
        >>> str(matrix_figure(["bed", "sofa"], [[3, 1], [0, 2]]))[:4]
        '<svg'
    """
    names = [n if len(n) <= _NAME_LETTERS else n[: _NAME_LETTERS - 1] + "…" for n in classes]
    left = max(map(len, names), default=0) * _LETTER + 12
    side = len(names) * _CELL
    parts = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        top = left + i * _CELL
        parts.append(_text(left - 6, top + _CELL / 2 + 4, name, "end"))
        parts.append(_turned(left + i * _CELL + _CELL / 2 + 4, left - 6, name))
        total = max(1, sum(row))
        for j, count in enumerate(row):
            title = f"{classes[i]} taken for {classes[j]}: {count} of {total}"
            x = left + j * _CELL
            parts.append(
                Markup(
                    '<rect x="{}" y="{}" width="{}" height="{}" fill="{}" fill-opacity="{:.2f}" '
                    'stroke="#8884"><title>{}</title></rect>'
                ).format(
                    x, top, _CELL, _CELL, "#2a7" if i == j else "#d53", 0.75 * count / total, title
                )
            )
            if count:
                parts.append(_text(x + _CELL / 2, top + _CELL / 2 + 4, str(count), "middle"))
    label = f"Confusion matrix of {len(names)} classes: rows are labels, columns are answers."
    size = left + side + 4
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {0}" width="{0}" height="{0}" '
        'style="max-width:100%;height:auto" role="img" aria-label="{1}">{2}</svg>'
    ).format(size, label, Markup("").join(parts))


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup(
        '<text x="{:.0f}" y="{:.0f}" text-anchor="{}" font-size="12" font-family="sans-serif" '
        'fill="currentColor">{}</text>'
    ).format(x, y, anchor, text)


def _turned(x: float, y: float, text: str) -> Markup:
    """A name that runs upwards from a point."""
    return Markup(
        '<text transform="translate({:.0f} {:.0f}) rotate(-90)" font-size="12" '
        'font-family="sans-serif" fill="currentColor">{}</text>'
    ).format(x, y, text)
