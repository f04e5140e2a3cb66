"""From numbers to sentences: how good it is, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from listlens.core.types import Estimate, Kind
from listlens.evaluate.evaluation import Evaluation
from listlens.evaluate.learning_curve import LearningCurve

WEAK = 0.8
"""A class whose F1 is below this is named among what to do next."""

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


def headline(kind: Kind | None, evaluation: Evaluation | None) -> tuple[str, str]:
    """Return the report's first sentence, and what it rests on.

    Args:
        kind: of the task; None without labels.
        evaluation: the main one; None without labels.
    """
    if evaluation is None or kind is None:
        return "Nothing has been learnt yet", "There are no labels: this is what the photos show."
    basis = f"Measured on {evaluation.n:,} photos of {evaluation.n_listings:,} listings"
    if kind == "single" and evaluation.accuracy is not None:
        right = evaluation.accuracy
        return (
            f"Right on {_so_many(right.value, 'photos')} of listings it has not seen",
            f"{basis}: {100 * right.value:.1f} % right, 95 % interval {interval(right)}.",
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


def advice(
    *,
    evaluation: Evaluation | None,
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
    weak = headline is not None and headline.value < WEAK
    out = [] if weak else _about_suspects(n_suspects)
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
    if evaluation is not None:
        out += _about_classes(evaluation)
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


def _about_suspects(n: int) -> list[Advice]:
    if not n:
        return []
    many = "1 label" if n == 1 else f"{n:,} labels"
    why = (
        "Wrong labels teach mistakes, and make a good model look worse than it is. The likeliest "
        "come first."
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
