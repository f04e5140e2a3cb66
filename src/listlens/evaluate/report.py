"""The report: one HTML file that opens from disk, and the same content as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from listlens.core.files import whole
from listlens.core.types import Estimate, Kind
from listlens.evaluate.advice import Advice, advice, headline
from listlens.evaluate.charts import interval_bar
from listlens.evaluate.evaluation import Evaluation
from listlens.evaluate.figures import coverage_figure, learning_figure, reliability_figure
from listlens.evaluate.learning_curve import LearningCurve
from listlens.evaluate.suspects import Suspect, Unsure
from listlens.metrics.classification import normalised

Pictures = Callable[[str], bytes | None]

CHECK_PAGE = "check.html"
"""The page on the photos themselves; linked to where it lies beside the report."""

SHOWN_SUSPECTS = 40
SHOWN_UNSURE = 24
MATRIX_CLASSES = 16
"""Up to this many classes the confusion matrix is drawn; beyond, its largest entries are listed."""


@dataclass(frozen=True)
class ReportData:
    """Everything the report says. Parts that are absent leave their sections out.

    Args:
        title: of the report: the task, or the folder.
        kind: of the task; None without labels.
        classes: that were learnt.
        n_photos: photos looked at, labelled or not.
        n_listings: listings they belong to.
        checks: what was found in the data: `name`, `severity` (error, warning, note), `message`,
            `count` and the first `items`.
        test: on the held-out split.
        cross_validation: grouped folds over all labelled photos.
        suspects: labels likely wrong, the likeliest first.
        unsure: photos the model is least sure of.
        learning_curve: what more labels would bring.
        set_aside: class to the reason why it was not learnt.
        starter_tags: word to number of photos, where no label exists.
        model: facts on how it was made, JSON-able; nested mappings become groups.
        created: time of making, as text.
    """

    title: str
    kind: Kind | None = None
    classes: tuple[str, ...] = ()
    n_photos: int = 0
    n_listings: int = 0
    checks: Sequence[Mapping[str, Any]] = ()
    test: Evaluation | None = None
    cross_validation: Evaluation | None = None
    suspects: Sequence[Suspect] = ()
    unsure: Sequence[Unsure] = ()
    learning_curve: LearningCurve | None = None
    set_aside: Mapping[str, str] = field(default_factory=dict)
    starter_tags: Mapping[str, int] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    @property
    def main(self) -> Evaluation | None:
        """The evaluation that the headline rests on: the test split, or else the folds."""
        return self.test or self.cross_validation

    def as_dict(self) -> dict[str, Any]:
        """Return what report.json holds; `test` and the like are absent, not null, when unknown.

        `test` is what the headline rests on: the given test split, or without one the five folds;
        its `protocol` says which.
        """
        out: dict[str, Any] = {
            "title": self.title,
            "created": self.created,
            "kind": self.kind,
            "classes": list(self.classes),
            "photos": self.n_photos,
            "listings": self.n_listings,
        }
        held_out = self.test or self.cross_validation
        if held_out is not None:
            protocol = "own split" if self.test else "grouped 5-fold"
            out["test"] = {"protocol": protocol, **held_out.as_dict()}
        if self.cross_validation is not None:
            out["cross_validation"] = self.cross_validation.as_dict()
        out["suspect_labels"] = [s.as_dict() for s in self.suspects]
        out["unsure"] = [u.as_dict() for u in self.unsure]
        if self.learning_curve is not None:
            out["learning_curve"] = self.learning_curve.as_dict()
        out["checks"] = {
            c["name"]: {k: v for k, v in c.items() if k != "name"} for c in self.checks
        }
        out["set_aside"] = dict(self.set_aside)
        out["starter_tags"] = dict(self.starter_tags)
        out["model"] = _without_nan(self.model)
        return out


def _without_nan(value: Any) -> Any:
    """Put None where a number is none, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_picture(image: str) -> bytes | None:
    return None


def write_report(
    html: Path,
    json_path: Path | None,
    data: ReportData,
    *,
    thumbnail: Pictures = _no_picture,
    heatmap: Pictures = _no_picture,
) -> None:
    """Write the report.

    Each file appears whole or not at all. The HTML holds everything it shows, pictures included,
    and loads nothing; where check.html lies beside it, it links there.

    Args:
        html: file to write.
        json_path: file for the same content as JSON, or None.
        data: what to say.
        thumbnail: name of a photo to a small JPEG, or None where there is none.
        heatmap: the same with the model's evidence drawn over it.

    Raises:
        OSError: a file cannot be written.
    """
    if json_path is not None:
        _write(
            json_path,
            json.dumps(data.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        )
    checked = html.with_name(CHECK_PAGE).is_file()
    _write(html, render(data, thumbnail=thumbnail, heatmap=heatmap, check_page=checked))


def render(
    data: ReportData,
    *,
    thumbnail: Pictures = _no_picture,
    heatmap: Pictures = _no_picture,
    check_page: bool = False,
) -> str:
    """Return the HTML of the report; see write_report. `check_page`: link to it."""
    main = data.main
    suspects = [(s, _data_uri(thumbnail(s.image))) for s in data.suspects[:SHOWN_SUSPECTS]]
    unsure = [
        (u, _data_uri(thumbnail(u.image)), _data_uri(heatmap(u.image)))
        for u in data.unsure[:SHOWN_UNSURE]
    ]
    template = _environment().get_template("report.html")
    return template.render(
        d=data,
        e=main,
        headline=headline(data.kind, main),
        advice=_advice(data),
        rows=_class_rows(main),
        matrices=_matrices(main),
        confusions=_confusions(main),
        reliability=reliability_figure(main.bins) if main else None,
        coverage=coverage_figure(main.coverage) if main else None,
        learning=_learning(data.learning_curve),
        suspects=suspects,
        unsure=unsure,
        facts=_facts(data.model),
        check_page=CHECK_PAGE if check_page else None,
    )


def _advice(data: ReportData) -> list[Advice]:
    return advice(
        evaluation=data.main,
        n_suspects=len(data.suspects),
        checks=data.checks,
        set_aside=data.set_aside,
        curve=data.learning_curve,
    )


def _learning(curve: LearningCurve | None) -> Markup | None:
    drawable = curve is not None and len(curve.points) >= 2
    return learning_figure(curve) if curve is not None and drawable else None


def _class_rows(e: Evaluation | None) -> list[dict[str, Any]]:
    """Rows of the table of classes, the weakest first."""
    if e is None:
        return []
    rows = [
        {
            "name": name,
            "n": s.support,
            "recall": s.recall,
            "precision": s.precision,
            "f1": s.f1,
            "ap": s.average_precision,
        }
        for name, s in zip(e.classes, e.scores.classes, strict=True)
    ]
    return sorted(rows, key=lambda row: row["f1"].value if row["f1"] else 2.0)


def _matrices(e: Evaluation | None) -> list[dict[str, Any]]:
    if e is None or e.confusion is None or len(e.classes) > MATRIX_CLASSES:
        return []
    return [
        {"by": by, "shares": normalised(e.confusion, by).tolist(), "counts": e.confusion.tolist()}
        for by in ("recall", "precision")
    ]


def _confusions(e: Evaluation | None) -> list[dict[str, Any]]:
    """The most frequent confusions."""
    if e is None or e.confusion is None:
        return []
    total = e.confusion.sum(axis=1)
    wrong: list[dict[str, Any]] = [
        {"given": e.classes[i], "called": e.classes[j], "n": int(n), "of": int(total[i])}
        for (i, j), n in _entries(e.confusion)
        if i != j and n
    ]
    return sorted(wrong, key=lambda row: -row["n"])[:12]


def _entries(table: Any) -> list[tuple[tuple[int, int], int]]:
    return [((i, j), int(n)) for i, row in enumerate(table) for j, n in enumerate(row)]


def _facts(model: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Flatten nested facts to lines."""
    lines: list[tuple[str, str]] = []
    for key, value in model.items():
        name = f"{before}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += _facts(value, f"{name}: ")
        elif isinstance(value, (list, tuple)):
            lines.append((name, ", ".join(map(str, value))))
        elif value is not None and value != "":
            lines.append((name, str(value)))
    return lines


def _data_uri(jpeg: bytes | None) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") if jpeg else ""


def _percent(share: float | Estimate | None, digits: int = 0) -> str:
    """In percent; what is not quite all or none is not rounded to it."""
    value = share.value if isinstance(share, Estimate) else share
    if value is None:
        return "–"
    step, text = 10.0**-digits, f"{100 * value:.{digits}f}"
    if value > 0 and float(text) == 0:
        text = f"<{step:.{digits}f}"
    if value < 1 and float(text.lstrip("<")) == 100:
        text = f">{100 - step:.{digits}f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def _between(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f}"


def _bar(estimate: Estimate | None) -> Markup:
    if estimate is None:
        return Markup("")
    return interval_bar(estimate.value, estimate.low, estimate.high)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("listlens.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "between": _between, "bar": _bar}
    return environment


def _write(path: Path, text: str) -> None:
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
