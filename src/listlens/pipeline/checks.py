"""What was found wrong with photos and labels before training: all at once, in full to a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from listlens.pipeline.table_files import whole_file

Severity = Literal["error", "warning", "note"]

SHOWN = 20
"""Items of a check that the report shows; the file has all of them."""


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


def found(name: str, severity: Severity, message: str, items: Sequence[str]) -> list[Check]:
    """A list with the check, or an empty one where it concerns nothing."""
    text = message.format(n=len(items))
    return [Check(name, severity, text, tuple(items))] if items else []


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
