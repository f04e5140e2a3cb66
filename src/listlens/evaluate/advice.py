"""From numbers to sentences: how good it is, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from listlens.core.types import Estimate, Kind
from listlens.evaluate.evaluation import Evaluation
from listlens.evaluate.hierarchy import Hierarchy
from listlens.evaluate.learning_curve import LearningCurve
from listlens.evaluate.scores import AnyEvaluation, ScoreEvaluation

WEAK = 0.8
"""A class whose F1 is below this is named among what to do next."""

WEAK_ORDER = 0.5
"""Below this rank correlation the model's doubts about single ratings say little. Chosen, not
measured: ridge regression reaches .54 on aesthetic_thumbs."""

FEW = 30
"""A class with fewer scored photos than this is called small: its interval is wide whatever it
scores (Wilson: 27 of 30 is .74 to .97)."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do: what, why, and where in the report to look."""

    what: str
    why: str
    anchor: str = ""


def of_hundred(share: float) -> str:
    """Say a share as so many of 100, never rounding up to all or down to none.

    Example:
        >>> of_hundred(0.981), of_hundred(0.998), of_hundred(1.0)
        ('98 of 100', 'more than 99 of 100', 'all')
    """
    if share in (0.0, 1.0):
        return "all" if share else "none"
    if share > 0.99:
        return "more than 99 of 100"
    if share < 0.01:
        return "fewer than 1 of 100"
    return f"{100 * share:.0f} of 100"


def interval(estimate: Estimate) -> str:
    """Say the interval in percent.

    Example:
        >>> interval(Estimate(0.98, 0.9686, 0.991, 432))
        '96.9 to 99.1'
    """
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def headline(kind: Kind | None, evaluation: AnyEvaluation | None) -> tuple[str, str]:
    """Return the report's first sentence, and what it rests on.

    Args:
        kind: of the task; None without labels.
        evaluation: the main one; None without labels.
    """
    if evaluation is None or kind is None:
        return "Nothing has been learnt yet", "There are no labels: this is what the photos show."
    basis = f"Measured on {evaluation.n:,} photos of {evaluation.n_listings:,} listings"
    if isinstance(evaluation, ScoreEvaluation):
        return _score_headline(evaluation, basis)
    if evaluation.hierarchy is not None:
        return _tree_headline(evaluation.hierarchy, basis)
    if kind == "single" and evaluation.accuracy is not None:
        right = evaluation.accuracy
        return (
            f"Right on {_so_many(right.value, 'photos')} of listings it has not seen",
            f"{basis}: {100 * right.value:.1f} % right, 95 % interval {interval(right)}.",
        )
    if not evaluation.n:
        return (
            "Nobody knows yet how often it is right",
            "Nothing could be held out: each class was learnt from one listing. A person should "
            "look at every answer, until there is a labelled photo of a second listing.",
        )
    micro = evaluation.scores.micro
    if micro.precision is None or micro.recall is None:
        return "It gives no tag yet", f"{basis}."
    macro = evaluation.scores.macro.average_precision
    tail = ""
    if macro:
        around = f"{macro.low:.3f} to {macro.high:.3f}"
        tail = f" Macro average precision {macro.value:.3f} ({around})."
    return (
        f"{_capital(_so_many(micro.precision.value, 'tags'))} it gives are right, and it finds "
        f"{of_hundred(micro.recall.value)} that belong",
        f"{basis} it has not seen. 95 % intervals: right {interval(micro.precision)} %, found "
        f"{interval(micro.recall)} %.{tail}",
    )


def _tree_headline(h: Hierarchy, basis: str) -> tuple[str, str]:
    top, fine = h.levels[0], h.levels[-1]
    said = f"Right on {_so_many(top.value, 'photos')} at the top level"
    if len(h.levels) > 1:
        said += f", on {of_hundred(fine.value)} at the finest"
    text = f"{basis} it has not seen."
    if h.scores.f1 is not None:
        f1 = h.scores.f1
        text += f" Hierarchical F1 {f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f})."
    d, limit = h.decided, h.allowed_error
    if d.answered is not None and d.mean_depth is not None and d.error is not None:
        allowed = "As set" if limit is None else f"Allowed {100 * limit:.3g} % wrong answers"
        text += (
            f" {allowed}, it answers {_so_many(d.answered.value, 'photos')}, "
            f"{d.mean_depth.value:.1f} of {h.n_levels} levels deep; {100 * d.error.value:.1f} % of "
            "those answers are wrong."
        )
    return said, text


def _score_headline(e: ScoreEvaluation, basis: str) -> tuple[str, str]:
    if e.srcc is None or e.mae is None:
        return "It cannot rank the photos yet", f"{basis}: all have the same score."
    ends = f"the scale from {e.scale[0]:g} to {e.scale[-1]:g}"
    off = f"Its mean is off by {e.mae.value:.2f} on {ends}"
    if e.baseline_mae is not None:
        off += f"; {e.baseline_name} would be off by {e.baseline_mae.value:.2f}"
    often = {0.0: "never", 1.0: "every time"}.get(
        e.pairs_in_order, f"{of_hundred(e.pairs_in_order)} times"
    )
    return (
        f"Ranks two photos as people do {often}",
        f"{basis} it has not seen: rank correlation (SRCC) {e.srcc.value:.3f}, 95 % interval "
        f"{e.srcc.low:.3f} to {e.srcc.high:.3f}. {off}.",
    )


def advice(
    *,
    evaluation: AnyEvaluation | None,
    n_suspects: int,
    checks: Sequence[Mapping[str, Any]],
    set_aside: Mapping[str, str],
    curve: LearningCurve | None,
) -> list[Advice]:
    """List what to do next, what pays most first.

    Args:
        evaluation: the main one.
        n_suspects: labels that are likely wrong.
        checks: findings, as in ReportData.
        set_aside: class to the reason why it was not learnt.
        curve: what more labels would bring.
    """
    headline = evaluation.headline if evaluation is not None else None
    enough = WEAK_ORDER if isinstance(evaluation, ScoreEvaluation) else WEAK
    weak = headline is not None and headline.value < enough
    is_score = isinstance(evaluation, ScoreEvaluation)
    out = [] if weak else _about_suspects(n_suspects, "rating" if is_score else "label")
    serious = [c for c in checks if c["severity"] in ("error", "warning")]
    if serious:
        out.append(
            Advice(
                "Look at what was left out", " ".join(c["message"] for c in serious[:3]), "checks"
            )
        )
    if set_aside:
        out.append(
            Advice(
                f"Add photos of {_names(list(set_aside))}",
                "Too few to learn from, so the model never gives "
                f"{'this class' if len(set_aside) == 1 else 'these classes'}.",
                "set-aside",
            )
        )
    if isinstance(evaluation, ScoreEvaluation):
        out += _about_scores(evaluation)
    elif evaluation is not None:
        out += _about_levels(evaluation.hierarchy) + _about_classes(evaluation)
    if weak:
        out += _about_doubts(n_suspects)
    if curve is not None:
        out.append(
            Advice(
                {
                    "helps": "Label more photos",
                    "hardly": "More labels are not needed",
                    "unclear": "More labels may or may not help",
                }[curve.verdict],
                curve.message,
                "learning",
            )
        )
    return out


def _about_suspects(n: int, thing: str) -> list[Advice]:
    if not n:
        return []
    many = f"1 {thing}" if n == 1 else f"{n:,} {thing}s"
    why = (
        f"Wrong {thing}s teach mistakes, and make a good model look worse than it is. The "
        "likeliest come first."
    )
    return [Advice(f"Check {many} that may be wrong", why, "suspects")]


def _about_doubts(n: int) -> list[Advice]:
    """The same of a model that is often wrong itself."""
    if not n:
        return []
    why = (
        f"It doubts {n:,}, but is often wrong itself, so most of them may be right. The likeliest "
        "wrong ones come first."
    )
    return [Advice("Look at the first labels that the model doubts", why, "suspects")]


def _about_scores(e: ScoreEvaluation) -> list[Advice]:
    low, high = np.percentile(e.predicted_means, [5, 95])
    return [
        Advice(
            "Go by a photo's place among its like, not by its score",
            f"Scores bunch in the middle: 90 of 100 lie between {low:.2f} and {high:.2f}, though "
            f"the scale runs from {e.scale[0]:g} to {e.scale[-1]:g}.",
            "places",
        )
    ]


def _about_levels(h: Hierarchy | None) -> list[Advice]:
    """Where in the tree most answers go wrong, if they are many."""
    n_wrong = sum(h.leaves_at) if h is not None else 0
    if h is None or h.n_levels < 2 or h.levels[-1].value >= WEAK or not n_wrong:
        return []
    worst = max(range(h.n_levels), key=lambda level: h.leaves_at[level])
    where = "at the top level" if worst == 0 else f"between level {worst} and {worst + 1}"
    return [
        Advice(
            f"Look at what it mixes up {where}",
            f"There {of_hundred(h.leaves_at[worst] / n_wrong)} wrong answers leave the right way.",
            "confusion",
        )
    ]


def _about_classes(e: Evaluation) -> list[Advice]:
    out = []
    scored = [(n, s) for n, s in zip(e.classes, e.scores.classes, strict=True) if s.support]
    weak = sorted((s.f1.value, n, s) for n, s in scored if s.f1 and s.f1.value < WEAK)[:3]
    for _, name, s in weak:
        found = of_hundred(s.recall.value) if s.recall else "none"
        right = f"; {of_hundred(s.precision.value)} it names are right" if s.precision else ""
        small = f" Only {s.support} were there to test on." if s.support < FEW else ""
        out.append(
            Advice(
                f"Add photos of “{name}”, or say more clearly what it means",
                f"The model finds {found}{right}.{small}",
                "classes",
            )
        )
    share = e.coverage.policy_coverage
    if share is not None and share.value < 0.9995:
        error = e.coverage.policy_error
        tail = f"; {100 * error.value:.1f} % of those are wrong" if error else ""
        out.append(
            Advice(
                f"Let people look at {100 * (1 - share.value):.1f} % of the {e.coverage.unit}",
                f"As set now, the model decides {100 * share.value:.1f} % alone{tail}.",
                "coverage",
            )
        )
    return out


def _so_many(share: float, things: str) -> str:
    """Say a share of things."""
    return f"none of the {things}" if share == 0 else f"{of_hundred(share)} {things}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(f"“{n}”" for n in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
