"""`listlens compare`: two models of a task on the labelled photos that neither was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.amounts import counted
from listlens.core.errors import InputError, NotFoundError, TrainingError
from listlens.evaluate.compare_page import sentence, write_comparison
from listlens.evaluate.comparison import Comparison, Side, compare
from listlens.learn.model import Model
from listlens.learn.policies import answers
from listlens.pipeline.dataset import Examples, build_examples
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.model_saving import folder_name
from listlens.pipeline.models import todays_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.store.models import ModelView
    from listlens.store.open import Store

PAGE = "compare.html"


@dataclass(frozen=True)
class CompareResult:
    """What a comparison gave.

    Args:
        facts: JSON-able, as compare.json holds it.
        page: the HTML file.
        comparison: the numbers.
    """

    facts: dict[str, Any]
    page: Path
    comparison: Comparison

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        files = {"page": str(self.page), "JSON": str(self.page.with_suffix(".json"))}
        return {**self.facts, "files": files}

    def text(self) -> str:
        """For a person."""
        found = self.comparison
        flips = (
            f"Mended: {counted(len(found.mended), found.unit)}, broken: {len(found.broken)}; "
            f"right in both: {found.n_both_right}, in neither: {found.n_both_wrong}."
        )
        lines = [found.verdict, sentence(found), flips, f"Look at {self.page}."]
        return "\n".join(lines)


def compare_models(
    store: Store,
    root: Path,
    task_name: str,
    backbone: Backbone,
    versions: Sequence[int] = (),
    *,
    out: str | Path | None = None,
    seed: int = 0,
) -> CompareResult:
    """Compare two models of a task, and write a page and JSON of it.

    Photos that a model was trained on count by its answers from the fold that left them out, and
    not at all where its network learnt from them. Where both models have a given test split, its
    photos alone count.

    Args:
        store: photos, labels, models.
        root: the project's folder.
        task_name: whose models.
        backbone: the project's.
        versions: of the two models, the earlier first; by default the newest and the one before.
        out: folder for compare.html and compare.json; default ``reports/TASK``.
        seed: of the bootstrap.

    Raises:
        NotFoundError: the task has not two models, or no model of such a version.
        InputError: not two different versions.
        TrainingError: no labelled photo that neither model was trained on.
    """
    task = store.labels.task(task_name)
    facts, found, thumbnail = compare_records(
        store, root, task, backbone, records_of(store, task, versions), seed
    )
    place = Path(out) if out is not None else root / "reports" / folder_name(task)
    place.mkdir(parents=True, exist_ok=True)
    write_comparison(place / PAGE, facts, found, thumbnail)
    return CompareResult(facts, place / PAGE, found)


def compare_records(
    store: Store,
    root: Path,
    task: Task,
    backbone: Backbone,
    records: Sequence[ModelView],
    seed: int = 0,
) -> tuple[dict[str, Any], Comparison, Callable[[str], bytes | None]]:
    """Compare two registered models; see `compare_models`.

    Returns:
        What the JSON holds, the numbers, and what finds the thumbnail of a photo by its name.
    """
    examples = build_examples(store, task, backbone.space)
    read = [_Read.of(store, root, task, record, examples) for record in records]
    rows, protocol = _common(read)
    if not rows.any():
        raise TrainingError(
            f"no labelled photo has an answer of both models that is not from its own training: "
            f"train one of them again, listlens train {task.name} --force"
        )
    at = np.flatnonzero(rows)
    found = compare(
        task.kind,
        examples.data.classes,
        examples.given[at],
        [examples.data.names[i] for i in at.tolist()],
        examples.data.listings[at],
        (read[0].side(at), read[1].side(at)),
        seed=seed,
    )
    facts = {
        "task": task.name,
        "protocol": protocol,
        **found.as_dict(),
        "created": [r.created_at.isoformat() if r.created_at else None for r in records],
    }
    by_name = {p.photo.photo_id: p.photo.sha256 for p in examples.photos}

    def thumbnail(name: str) -> bytes | None:
        return store.thumbnails.get(by_name.get(name) or "")

    return facts, found, thumbnail


def records_of(store: Store, task: Task, versions: Sequence[int]) -> list[ModelView]:
    there = [r for r in store.models.list() if r.task_id == task.task_id and r.folder]
    if versions:
        if len(set(versions)) != 2:
            raise InputError(
                f"two different versions are compared, not {', '.join(map(str, versions))}: "
                "--models 1 2"
            )
        return [store.models.get(task.task_id, version) for version in versions]
    if len(there) < 2:
        raise NotFoundError(
            f"task {task.name!r} has {len(there)} model(s), and a comparison needs two: listlens "
            f"train {task.name} after labels changed, or with --force"
        )
    return sorted(there, key=lambda r: r.version)[-2:]


@dataclass(frozen=True)
class _Read:
    """A model's held-out answers for all labelled photos of today, in their order.

    Args:
        version: of the model.
        classes: by today's names.
        probs: `(n, k)`.
        given: `(n, k)` bool, decided.
        unseen: `(n,)` bool: the answer is of a copy that had not seen the photo's group.
        test: `(n,)` bool: of a given test split.
        learnt: the model's network learnt from some of the photos.
    """

    version: int
    classes: tuple[str, ...]
    probs: NDArray[np.float32]
    given: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    test: NDArray[np.bool_]
    learnt: bool

    @classmethod
    def of(
        cls, store: Store, root: Path, task: Task, record: ModelView, examples: Examples
    ) -> _Read:
        folder = root / record.folder
        model = Model.load(folder, record.sha256)
        policy = store.models.policy(record.model_id)[1]
        pks = [p.photo.photo_pk for p in examples.photos]
        ids = [p.photo.content_id or 0 for p in examples.photos]
        absent = set(store.vectors.missing(model.space, ids))
        there = [content_id for content_id in ids if content_id not in absent]
        probs = np.full((len(ids), len(model.classes)), np.nan, np.float32)
        has_vector = np.array([content_id not in absent for content_id in ids], np.bool_)
        if there:
            probs[has_vector] = model.probs(store.vectors.get(model.space, there))
        decided = answers(np.nan_to_num(probs), policy, task.kind, model.classes)
        known = Heldout.of(folder)
        if policy != model.policy:
            known = known.under(policy, task.kind, model.classes)
        heldout = known.extended(pks, probs, decided)
        rows = heldout.rows_of(pks)
        split = heldout.split[rows]
        groups = examples.data.groups
        trained = np.isin(split, ["new", "test"], invert=True)
        seen = (split == "new") & np.isin(groups, groups[trained])
        counted = heldout.counts[rows]  # the others' answers are by heads on the frozen network
        return cls(
            record.version,
            todays_classes(task, model),
            heldout.probs[rows],
            heldout.decided.given[rows],
            np.isfinite(heldout.probs[rows]).all(axis=1) & ~seen & counted,
            (split == "test") & known.own_split,
            not counted.all(),
        )

    def side(self, rows: NDArray[np.integer]) -> Side:
        """These rows, as a comparison takes them."""
        return Side(self.version, self.classes, self.probs[rows], self.given[rows])


def _common(read: Sequence[_Read]) -> tuple[NDArray[np.bool_], str]:
    """The photos on which both can be judged, and in words which those are."""
    one, two = read
    both = one.unseen & two.unseen
    test = both & one.test & two.test
    if test.any():
        return test, "the test split of both"
    which = "those apart from fine-tuning" if one.learnt or two.learnt else "all labelled photos"
    return both, f"{which}, each answered by copies that had not seen it"
