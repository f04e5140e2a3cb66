"""The report as PDF: the content of report.html for paper and mail, set by typst.

Needs the extra `report`, and neither LaTeX nor a browser. What people wrote reaches the template
as data, so that no name of a photo or class is ever read as markup.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from listlens.core.errors import MissingExtraError
from listlens.core.files import whole
from listlens.evaluate.advice import advice
from listlens.evaluate.figures_by_kind import drawn
from listlens.evaluate.finetuned import fine_tuning_text
from listlens.evaluate.report import (
    SHOWN_SUSPECTS,
    SHOWN_UNSURE,
    ReportData,
    ends,
    fact_lines,
    n_categories,
)
from listlens.evaluate.wording import place_in_words

Pictures = Callable[[str], bytes | None]

TEMPLATE = "report.typ"
FONT = "Libertinus Serif"
"""Comes inside typst, so that the pages look the same everywhere."""

ITEMS_SHOWN = 20
"""Concerned photos that a data check names on paper; report.html and checks.jsonl have more."""

FACTS_SHOWN = 40
"""Entries of one group of facts, such as the thresholds of all classes; report.json has more."""


def require_typst() -> ModuleType:
    """Return typst, which makes the PDF.

    Raises:
        MissingExtraError: it is not installed; says how to.
    """
    try:
        import typst
    except ImportError:
        raise MissingExtraError("a report as PDF", "report") from None
    module: ModuleType = typst
    return module


def renew_pdf(html: Path, data: ReportData, wanted: bool, **pictures: Pictures) -> dict[str, str]:
    """Write report.pdf beside report.html, or remove one that told of an earlier model.

    Args:
        html: the report that was just written.
        data: what it says.
        wanted: whether a PDF was asked for.
        pictures: thumbnail and heatmap, as for `write_pdf`.

    Returns:
        Name to path of what was written.

    Raises:
        MissingExtraError: typst is not installed.
    """
    path = html.with_suffix(".pdf")
    if not wanted:
        path.unlink(missing_ok=True)
        return {}
    write_pdf(path, data, **pictures)
    return {"report as PDF": str(path)}


def write_pdf(
    path: Path,
    data: ReportData,
    *,
    thumbnail: Pictures = lambda image: None,
    heatmap: Pictures = lambda image: None,
) -> None:
    """Write the report as one PDF, which appears whole or not at all.

    Args:
        path: file to write.
        data: what to say; the same as in `write_report`.
        thumbnail: name of a photo to a small JPEG, or None where there is none.
        heatmap: the same with the model's evidence drawn over it.

    Raises:
        MissingExtraError: typst is not installed.
        OSError: the file cannot be written.
    """
    (pdf,) = pages(data, thumbnail=thumbnail, heatmap=heatmap)
    with whole(path) as temporary:
        temporary.write_bytes(pdf)


def pages(
    data: ReportData,
    *,
    thumbnail: Pictures = lambda image: None,
    heatmap: Pictures = lambda image: None,
    form: str = "pdf",
    ppi: float = 80,
) -> list[bytes]:
    """Return the report as one PDF, or page by page as pictures.

    Args:
        data: what to say.
        thumbnail: see write_pdf.
        heatmap: see write_pdf.
        form: ``pdf``, or ``png`` for one picture a page.
        ppi: pixels an inch of the pictures.

    Raises:
        MissingExtraError: typst is not installed.
    """
    typst = require_typst()
    with TemporaryDirectory() as name:
        folder = Path(name)
        content = _content(data, folder, thumbnail, heatmap)
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        (folder / "content.json").write_text(text, encoding="utf-8")
        template = (files("listlens.evaluate") / "templates" / TEMPLATE).read_bytes()
        (folder / TEMPLATE).write_bytes(template)
        made: bytes | list[bytes] = typst.compile(folder / TEMPLATE, format=form, ppi=ppi)
    return made if isinstance(made, list) else [made]


def _content(
    data: ReportData, folder: Path, thumbnail: Pictures, heatmap: Pictures
) -> dict[str, Any]:
    """What the template reads: report.json with sentences; pictures go to the folder."""
    said = data.headline
    report = data.as_dict()
    suspects = [
        {**s.as_dict(), "picture": _add(folder, thumbnail(s.image))}
        for s in data.suspects[:SHOWN_SUSPECTS]
    ]
    unsure = [
        {**u.as_dict(), "picture": _add(folder, heatmap(u.image) or thumbnail(u.image))}
        for u in data.unsure[:SHOWN_UNSURE]
    ]
    checks = [
        {
            "severity": c["severity"],
            "message": c["message"],
            "count": c["count"],
            "items": list(c["items"])[:ITEMS_SHOWN],
        }
        for c in data.checks
    ]
    return {
        "report": report,
        "headline": said[0],
        "lead": said[1],
        "advice": [{"what": a.what, "why": a.why} for a in _advice(data)],
        "n_suspects": len(data.suspects),
        "suspects": suspects,
        "unsure": unsure,
        "places": _places(data, folder, thumbnail),
        "checks": checks,
        "figures": {
            name: _add(folder, on_paper(str(svg)), "svg")
            for name, svg in drawn(data.main, data.learning_curve).items()
        },
        "tuning": fine_tuning_text(data.fine_tuning),
        "facts": fact_lines(report["model"], most=FACTS_SHOWN),
    }


def _advice(data: ReportData) -> Iterable[Any]:
    return advice(
        evaluation=data.main,
        n_suspects=len(data.suspects),
        checks=data.checks,
        set_aside=data.set_aside,
        curve=data.learning_curve,
    )


def _places(data: ReportData, folder: Path, thumbnail: Pictures) -> dict[str, Any]:
    """The best and the worst photos of a score, each with its picture."""
    best, worst = ends(data.scored)
    named = {
        name: [
            {
                **p.as_dict(),
                "place": place_in_words(p.percentile),
                "picture": _add(folder, thumbnail(p.image)),
            }
            for p in photos
        ]
        for name, photos in (("best", best), ("worst", worst))
    }
    return {**named, "n": data.n_scored, "n_categories": n_categories(data.scored)}


def _add(folder: Path, content: bytes | None, ending: str = "jpg") -> str:
    """Add a file to what typst sees; return its name, empty where there is nothing."""
    if not content:
        return ""
    name = f"{hashlib.sha256(content).hexdigest()}.{ending}"
    (folder / name).write_bytes(content)
    return name


def on_paper(svg: str) -> bytes:
    """Return an inline SVG of the page as a file: with a namespace, a font and paper's colours.

    Args:
        svg: as drawn by `charts.plot`; its classes are those of report.css.
    """
    style = f"<style>{_paper_style()}</style>"
    start = svg.index(">") + 1
    opened = svg[:start].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return (opened + style + svg[start:]).encode()


@cache
def _paper_style() -> str:
    """The chart rules of report.css, each variable replaced by its colour for print."""
    css = (files("listlens.evaluate") / "templates" / "report.css").read_text("utf-8")
    printed = css[css.index("@media print") :]
    colours = dict(re.findall(r"--([\w-]+):\s*([^;]+);", css[: css.index("@media")]))
    colours |= dict(re.findall(r"--([\w-]+):\s*([^;]+);", printed))
    rules = re.findall(r"^\.chart [^{]+\{[^}]*\}(?: \.chart [^{]+\{[^}]*\})*", css, re.M)
    resolved = re.sub(r"var\(--([\w-]+)\)", lambda v: colours[v[1]], " ".join(rules))
    return f".chart text {{ font-family: '{FONT}'; }} {resolved}"
