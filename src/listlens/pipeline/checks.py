"""What was found wrong with photos and labels before training: all at once, in full to a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from listlens.pipeline.table_files import whole_file

if TYPE_CHECKING:
    from listlens.learn.recipe import Trained
    from listlens.pipeline.dataset import Examples

Severity = Literal["error", "warning", "note"]

SHOWN = 20
"""Items of a check that the report shows; the file has all of them."""

NAMED = 10
"""Of them that a message names, where it names any."""


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of finding.

    Args:
        name: machine-readable, such as ``labels_without_photo``.
        severity: ``error`` stops training, ``warning`` leaves something out, ``note`` informs.
        message: one sentence for a person, saying what was done about it.
        items: every photo, row or class it concerns.
    """

    name: str
    severity: Severity
    message: str
    items: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form with the first items."""
        return {
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "count": len(self.items),
            "items": list(self.items[:SHOWN]),
        }


def write_checks(path: Path, checks: Iterable[Check]) -> None:
    """Write every item of every check, a JSON line each."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for check in checks:
            for item in check.items:
                line = {"check": check.name, "severity": check.severity, "item": item}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def found(
    name: str, severity: Severity, message: str, items: Sequence[str], names: Sequence[str] = ()
) -> list[Check]:
    """A list with the check, or an empty one where it concerns nothing.

    Args:
        name: of the check.
        severity: see Check.
        message: ``{n}`` in it is the number of items, ``{names}`` the first of the names.
        items: what it concerns.
        names: of the items, short.
    """
    if not items:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    text = message.format(n=len(items), names=", ".join(names[:NAMED]) + more)
    return [Check(name, severity, text, tuple(items))]


def photos_left_out(names: Sequence[str]) -> tuple[Check, ...]:
    """The finding that a network of a model's own has not seen these photos."""
    return tuple(
        found(
            "photos_left_out",
            "warning",
            "Labelled photos whose file is gone or changed, so that a fine-tuned network cannot "
            "see them: {n}. They are left out there. Bring the files back, or ingest again.",
            names,
        )
    )


def training_checks(examples: Examples, trained: Trained) -> list[Check]:
    """What only the training knows: classes set aside, and leaks across a given split."""
    names = examples.data.names
    aside = [f"{name}: {reason}" for name, reason in trained.set_aside.items()]
    leaks = [f"{names[i]} ({trained.split[i]})" for i in trained.leaks]
    unjudged = trained.selection.get("unjudged", [])
    return [
        *found("classes_set_aside", "warning", "Classes too small to learn: {n} ({names}). They "
               "are left unscored until they have more labels, or learnt with --few where a task "
               "asks for one class a photo.", aside, names=list(trained.set_aside)),
        *found("classes_unjudged", "warning", "Classes learnt from one listing: {n} ({names}). "
               "Nothing was left to judge them by, so each of their answers is for a person to "
               "look at. Label a photo of another listing.", unjudged, names=unjudged),
        *found("leaking_split", "warning", "Photos of the given split whose listing or duplicate "
               "is on an earlier side too: {n}. The metric is also given without them.", leaks),
    ]  # fmt: skip
