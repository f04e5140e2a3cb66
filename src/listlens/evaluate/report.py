"""The report: one HTML file that opens from disk, and the same content as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from listlens.core.files import whole
from listlens.core.types import Kind
from listlens.evaluate.advice import Advice, advice, headline
from listlens.evaluate.evaluation import Evaluation
from listlens.evaluate.figures_by_kind import FIGURES, drawn
from listlens.evaluate.finetuned import fine_tuning_text
from listlens.evaluate.hierarchy import Confusion, NodeScore
from listlens.evaluate.learning_curve import LearningCurve
from listlens.evaluate.pages import data_uri, environment
from listlens.evaluate.robustness import Robustness
from listlens.evaluate.scores import AnyEvaluation, ScoredPhoto, ScoreEvaluation
from listlens.evaluate.suspects import Suspect, Unsure
from listlens.metrics.classification import largest_confusions, normalised

Pictures = Callable[[str], bytes | None]

CHECK_PAGE = "check.html"
"""The page on the photos themselves; linked to where it lies beside the report."""

SHOWN_SUSPECTS = 40
SHOWN_UNSURE = 24
SHOWN_CLASSES = 100
SHOWN_NODES = 15
SHOWN_MORE_NODES = 300
SHOWN_CONFUSIONS = 12
SHOWN_PLACES = 10
MATRIX_CLASSES = 16
"""Up to this many classes the confusion matrix is drawn; beyond, its largest entries are listed."""


PARTLY = "listings of classes that have two"
"""What is held out where some classes were learnt from one listing; see `learn.few`."""


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
        scored: photos of a score task in the order of their places, the best first; of very many
            those at both ends.
        n_ranked: how many were ranked; as many as `scored` by default.
        search: what a search within a budget tried: `budget_s`, `seconds`, `space` and `tried`, a
            mapping a trial.
        robustness: what is left of the answers when photos are changed.
        starter_tags: word to number of photos, where no label exists.
        fine_tuning: what `pipeline.finetuning` tells, where it was tried.
        model: facts on how it was made, JSON-able; nested mappings become groups.
        created: time of making, as text.
    """

    title: str
    kind: Kind | None = None
    classes: tuple[str, ...] = ()
    n_photos: int = 0
    n_listings: int = 0
    checks: Sequence[Mapping[str, Any]] = ()
    test: AnyEvaluation | None = None
    cross_validation: AnyEvaluation | None = None
    suspects: Sequence[Suspect] = ()
    unsure: Sequence[Unsure] = ()
    learning_curve: LearningCurve | None = None
    set_aside: Mapping[str, str] = field(default_factory=dict)
    scored: Sequence[ScoredPhoto] = ()
    n_ranked: int = 0
    search: Mapping[str, Any] = field(default_factory=dict)
    robustness: Robustness | None = None
    starter_tags: Mapping[str, int] = field(default_factory=dict)
    fine_tuning: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    @property
    def main(self) -> AnyEvaluation | None:
        """The evaluation that the headline rests on: the test split, or else the folds."""
        return self.test or self.cross_validation

    @property
    def folds(self) -> str:
        """What `cross_validation` was held out from."""
        if any(check["name"] == "classes_unjudged" for check in self.checks):
            return PARTLY
        return "held-out part" if self.fine_tuning.get("chosen") else "grouped 5-fold"

    @property
    def headline(self) -> tuple[str, str]:
        """The first sentence, and what it rests on."""
        said, basis = headline(self.kind, self.main)
        if self.folds == PARTLY and self.main is not None and self.main.n:
            basis += " Classes that were learnt from one listing are not among them."
        return said, basis

    @property
    def classified(self) -> Evaluation | None:
        """The same where the task asks for classes."""
        return self.main if isinstance(self.main, Evaluation) else None

    @property
    def rated(self) -> ScoreEvaluation | None:
        """The same where the task asks for a score."""
        return self.main if isinstance(self.main, ScoreEvaluation) else None

    @property
    def n_scored(self) -> int:
        """Photos that were ranked."""
        return self.n_ranked or len(self.scored)

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
        if self.main is not None:
            protocol = "own split" if self.test else self.folds
            out["test"] = {"protocol": protocol, **self.main.as_dict()}
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
        if self.scored:
            out["n_scored"] = self.n_scored
            out["scored"] = [s.as_dict() for s in self.scored]
        if self.search:
            out["search"] = _without_nan(self.search)
        if self.robustness is not None:
            out["robustness"] = self.robustness.as_dict()
        out["starter_tags"] = dict(self.starter_tags)
        if self.fine_tuning:
            out["fine_tuning"] = _without_nan(self.fine_tuning)
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
    classified, rated = data.classified, data.rated
    suspects = [(s, data_uri(thumbnail(s.image))) for s in data.suspects[:SHOWN_SUSPECTS]]
    unsure = [
        (u, data_uri(thumbnail(u.image)), data_uri(heatmap(u.image)))
        for u in data.unsure[:SHOWN_UNSURE]
    ]
    template = environment().get_template("report.html")
    return template.render(
        d=data,
        main=data.main,
        e=classified,
        s=rated,
        headline=data.headline,
        advice=_advice(data),
        rows=_class_rows(classified)[:SHOWN_CLASSES],
        matrices=_matrices(classified),
        confusions=_confusions(classified),
        tree_confusions=_tree_confusions(classified),
        nodes=_nodes(classified),
        places=_places(data.scored, thumbnail),
        figures=dict.fromkeys(FIGURES) | drawn(data.main, data.learning_curve),
        suspects=suspects,
        unsure=unsure,
        facts=fact_lines(data.model),
        tuning=fine_tuning_text(data.fine_tuning),
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


def _class_rows(e: Evaluation | None) -> list[dict[str, Any]]:
    """Rows of the table of classes, the weakest first."""
    if e is None or not e.n:
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
    return [
        {"given": e.classes[i], "called": e.classes[j], "n": n, "of": of}
        for i, j, n, of in largest_confusions(e.confusion, SHOWN_CONFUSIONS)
    ]


def _tree_confusions(e: Evaluation | None) -> dict[str, list[Confusion]]:
    """The most frequent confusions of a tree: within one parent, and between branches."""
    found = e.hierarchy.confusions if e is not None and e.hierarchy is not None else ()
    return {
        "siblings": [c for c in found if c.siblings][:SHOWN_CONFUSIONS],
        "across": [c for c in found if not c.siblings][:SHOWN_CONFUSIONS],
    }


def _nodes(e: Evaluation | None) -> tuple[Sequence[NodeScore], Sequence[NodeScore]]:
    """The weakest nodes, and those that unfold below them."""
    found = e.hierarchy.nodes if e is not None and e.hierarchy is not None else ()
    return found[:SHOWN_NODES], found[SHOWN_NODES : SHOWN_NODES + SHOWN_MORE_NODES]


def _places(scored: Sequence[ScoredPhoto], thumbnail: Pictures) -> dict[str, Any]:
    """The best and the worst photos with their pictures; each photo is shown once."""
    best, worst = ends(scored)
    return {
        "best": [(p, data_uri(thumbnail(p.image))) for p in best],
        "worst": [(p, data_uri(thumbnail(p.image))) for p in worst],
        "n_categories": n_categories(scored),
    }


def ends(scored: Sequence[ScoredPhoto]) -> tuple[Sequence[ScoredPhoto], Sequence[ScoredPhoto]]:
    """Return the best and the worst photos that are shown, the worst first; each photo once."""
    n_best = min(SHOWN_PLACES, (len(scored) + 1) // 2)
    n_worst = min(SHOWN_PLACES, len(scored) - n_best)
    return scored[:n_best], scored[len(scored) - n_worst :][::-1]


def n_categories(scored: Sequence[ScoredPhoto]) -> int:
    """Return how many categories photos are compared within; 0: all with all."""
    return len({p.category for p in scored} - {""})


def fact_lines(
    model: Mapping[str, Any], before: str = "", *, most: float = math.inf
) -> list[tuple[str, str]]:
    """Flatten nested facts to lines of name and value; a group larger than `most` is counted."""
    lines: list[tuple[str, str]] = []
    for key, value in model.items():
        name = f"{before}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping) and len(value) > most:
            lines.append((name, f"{len(value):,} values, in report.json"))
        elif isinstance(value, Mapping):
            lines += fact_lines(value, f"{name}: ", most=most)
        elif isinstance(value, (list, tuple)):
            lines.append((name, ", ".join(map(str, value))))
        elif value is not None and value != "":
            lines.append((name, str(value)))
    return lines


def _write(path: Path, text: str) -> None:
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
