"""Whether the photos of a source are still what a model was trained on, judged from sums alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens.core.errors import ModelError, NotFoundError, suggest
from listlens.core.types import STARTER
from listlens.learn.reference import Moved, Reference
from listlens.pipeline.models import named_tasks
from listlens.store.drift import DaySums, Sums

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.core.watch_config import DriftConfig
    from listlens.store.models import ModelView
    from listlens.store.open import Store

SHOWN = 5
"""Classes that are named, of those that moved most."""

OTHER, NONE = "(all other classes)", "(no class)"


@dataclass(frozen=True, slots=True)
class Finding:
    """A source's photos beside a model's training.

    Args:
        task: its name.
        model: version.
        source: whose photos.
        days: first and last of those judged together.
        photos: of these days; each content once.
        needed: fewer are not judged.
        parts: what was compared; empty where there are too few photos.
        classes: class, share in training and share now, those that moved most first.
        review: share that a person should look at, in training and now; None where the thresholds
            are not the training's.
    """

    task: str
    model: int
    source: str
    days: tuple[str, str]
    photos: int
    needed: int
    parts: tuple[Moved, ...]
    classes: tuple[tuple[str, float, float], ...]
    review: tuple[float, float] | None

    @property
    def drifted(self) -> bool:
        """Whether any part has moved."""
        return any(part.found for part in self.parts)

    @property
    def advice(self) -> str:
        """What to make of it, in a sentence or two."""
        if not self.parts:
            return f"Too few photos to judge yet: {self.photos}, and {self.needed} are needed."
        moved = {part.part for part in self.parts if part.found}
        if not moved:
            return "As in training."
        said = []
        if "look" in moved:
            said.append(
                f"Photos look unlike those that {self.task}/{self.model} was trained on: look at "
                "some, label them and train again."
            )
        if "classes" in moved:
            name, before, now = self.classes[0]
            said.append(
                f"Other answers than before, above all {name}: {before:.0%} in training, {now:.0%} "
                "now. Check some of them; if they are right, nothing is wrong with the model."
            )
        if moved & {"sureness", "review"}:
            said.append(
                "How sure the answers are has changed: do not trust the probabilities of this "
                "source before some of its photos are labelled."
            )
        return " ".join(said)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "source": self.source,
            "task": self.task,
            "model": f"{self.task}/{self.model}",
            "from": self.days[0],
            "to": self.days[1],
            "photos": self.photos,
            "needed": self.needed,
            "drifted": self.drifted,
            "parts": {
                part.part: {
                    "distance": round(part.distance, 4),
                    "threshold": round(part.threshold, 4),
                    "p": float(f"{part.p:.3g}"),
                    "found": part.found,
                }
                for part in self.parts
            },
            "classes": [
                {"class": name, "training": round(before, 4), "now": round(now, 4)}
                for name, before, now in self.classes
            ],
            "review": None
            if self.review is None
            else {"training": round(self.review[0], 4), "now": round(self.review[1], 4)},
            "advice": self.advice,
        }


def judged(
    reference: Reference,
    task: Task,
    version: int,
    source: str,
    days: Sequence[DaySums],
    min_photos: int,
    *,
    same_policy: bool,
) -> Finding:
    """Compare a source's days with a training.

    Args:
        reference: of the model.
        task: whose classes are named.
        version: of the model.
        source: whose days.
        days: at least one, to be taken together.
        min_photos: fewer are not judged.
        same_policy: whether answers were decided by the thresholds of the training.
    """
    total: Sums = reduce(add, (Sums(day.photos, day.sums) for day in days))
    parts = reference.compare(total.sums, total.photos) if total.photos >= min_photos else []
    names = {c.class_id: c.name for c in task.classes} | {-1: OTHER, -2: NONE}
    shares = reference.shares(total.sums, max(total.photos, 1))
    order = sorted(shares, key=lambda row: abs(row[2] - row[1]), reverse=True)[:SHOWN]
    return Finding(
        task.name,
        version,
        source,
        (min(day.day for day in days), max(day.day for day in days)),
        total.photos,
        min_photos,
        tuple(part for part in parts if same_policy or part.part != "review"),
        tuple((names.get(pk, str(pk)), before, now) for pk, before, now in order),
        reference.reviewed(total.sums, max(total.photos, 1)) if same_policy else None,
    )


def newest(days: Sequence[DaySums], min_photos: int) -> list[DaySums]:
    """Return the newest day, and those before it until there are enough photos."""
    chosen: list[DaySums] = []
    for day in sorted(days, key=lambda one: one.day, reverse=True):
        chosen.append(day)
        if sum(one.photos for one in chosen) >= min_photos:
            break
    return chosen


def findings(
    store: Store,
    root: Path,
    config: DriftConfig,
    tasks: list[str] | None = None,
    source: str | None = None,
    days: int | None = None,
) -> tuple[list[Finding], list[str]]:
    """Judge every source by the live model of each task.

    Args:
        store: of the project.
        root: the project's folder.
        config: `[drift]`.
        tasks: only these.
        source: only this one.
        days: the last so many together; None: the newest day, and those before it until there
            are `min_photos`.

    Returns:
        The findings, and why some tasks cannot be judged.

    Raises:
        NotFoundError: a task that is not there, or a source of which no photo was ever answered.
    """
    if source is not None and source not in (known := store.drift.sources()):
        raise NotFoundError(
            f"the worker has answered no photo of source {source!r} yet. "
            f"{suggest(source, known, 'Sources')}"
        )
    found: list[Finding] = []
    problems: list[str] = []
    today = store.clock().astimezone(UTC).date()
    since = (today - timedelta(days=(days or config.days) - 1)).isoformat()
    for task in named_tasks(store, tasks):
        row = store.models.live(task.task_id)
        if row is None or task.name == STARTER:
            continue
        try:
            reference = Reference.load(root / row.folder)
        except ModelError as error:
            problems.append(f"{task.name}/{row.version}: {error}")
            continue
        for name, kept in store.drift.of(row.model_id, since, source).items():
            fit = [day for day in kept if len(day.sums) == reference.n_columns]
            chosen = fit if days else newest(fit, config.min_photos)
            if chosen:
                found.append(
                    judged(
                        reference, task, row.version, name, chosen, config.min_photos,
                        same_policy=has_own_policy(store, row),
                    )
                )  # fmt: skip
    return found, problems


def has_own_policy(store: Store, row: ModelView) -> bool:
    """Whether a model decides by the thresholds that its training chose."""
    return len(store.models.policies(row.model_id)) == 1


def drift_report(store: Store, root: Path, config: DriftConfig, **which: Any) -> dict[str, Any]:
    """Return what `listlens drift` shows, JSON-able; see `findings`."""
    found, problems = findings(store, root, config, **which)
    return {
        "drifted": any(one.drifted for one in found),
        "found": [one.as_dict() for one in found],
        "problems": problems,
    }
