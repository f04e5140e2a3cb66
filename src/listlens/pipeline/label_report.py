"""What an import of labels did, and what it found on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from listlens.pipeline.checks import Check, found


@dataclass
class LabelReport:
    """What one import of a label file did."""

    rows: int = 0
    annotations: int = 0
    withdrawn: int = 0
    unlabelled: list[str] = field(default_factory=list)
    without_photo: list[str] = field(default_factory=list)
    unusable_photo: list[str] = field(default_factory=list)
    unknown_class: list[str] = field(default_factory=list)
    bad_rows: list[str] = field(default_factory=list)
    said_twice: list[str] = field(default_factory=list)

    def checks(self) -> list[Check]:
        """The findings, each with what was done about it."""
        return [
            *found("bad_label_rows", "warning", "Rows of the label file that cannot be read: "
                   "{n}. They were left out.", self.bad_rows),
            *found("labels_without_photo", "warning", "Labels that name no photo here: {n}. "
                   "They were left out.", self.without_photo),
            *found("labels_of_unusable_photos", "warning", "Labels of photos that cannot be "
                   "used: {n}. They were left out.", self.unusable_photo),
            *found("unknown_classes", "warning", "Labels with a class that the task does not "
                   "have: {n}. They were left out.", self.unknown_class),
            *found("contradictory_rows", "warning", "Rows that label a photo otherwise than an "
                   "earlier row: {n}. The earlier one counts.",
                   self.said_twice),
            *found("rows_without_label", "note", "Rows with a photo but no label: {n}.",
                   self.unlabelled),
        ]  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "annotations": self.annotations,
            "withdrawn": self.withdrawn,
            "checks": [check.as_dict() for check in self.checks()],
        }

    def text(self) -> str:
        """For a person."""
        lines = [f"{self.rows} rows read, {self.annotations} new annotations."]
        if self.withdrawn:
            lines.append(f"{self.withdrawn} labels are not in the file any more: taken back.")
        lines += [f"{check.severity}: {check.message}" for check in self.checks()]
        return "\n".join(lines)
