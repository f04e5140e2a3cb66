"""`listlens explain`: the model of a task, photos or none, and the page that shows why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens.core.errors import NotFoundError, StoreError
from listlens.core.types import STARTER
from listlens.evaluate.explain_page import lead, write_explanations, write_looked_for
from listlens.explain.pictures import N_NUMBERED
from listlens.pipeline.brought import backbone_for
from listlens.pipeline.explaining import explain_photos
from listlens.pipeline.looking import what_classes_look_for
from listlens.pipeline.model_saving import folder_name
from listlens.pipeline.models import LiveModel, chosen_row, live_models, load_model_row

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.images.files import Limits
    from listlens.store.open import Store

PAGE, CLASSES_PAGE = "explain.html", "classes.html"
"""Of explained photos, and of what the classes look for."""


@dataclass(frozen=True)
class ExplainResult:
    """What was explained, and where it is shown.

    Args:
        facts: JSON-able, the content of the page's JSON.
        page: the HTML file.
    """

    facts: dict[str, Any]
    page: Path

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        files = {"page": str(self.page), "JSON": str(self.page.with_suffix(".json"))}
        return {**self.facts, "files": files}

    @property
    def n_failed(self) -> int:
        """Photos that could not be used."""
        return sum(p["status"] != "ok" for p in self.facts.get("photos", ()))

    def text(self) -> str:
        """For a person."""
        if "photos" not in self.facts:
            names = ", ".join(one["name"] for one in self.facts["classes"])
            return f"What these look for: {names}. Look at {self.page}."
        lines = [lead(self.facts["photos"])]
        for photo in self.facts["photos"]:
            if photo["status"] != "ok":
                lines.append(f"{photo['image']}: {photo['reason']}: {photo['detail']}")
                continue
            near = [n["label"] for n in photo["evidence"] if n["label"]]
            like = f"; looks like photos labelled {', '.join(near)}" if near else ""
            lines.append(f"{photo['image']}: {photo['explained']} {photo['value']:.2f}{like}")
        return "\n".join([*lines, f"Look at {self.page}."])


def explain_task(
    store: Store,
    root: Path,
    task_name: str,
    backbone: Backbone,
    limits: Limits,
    photos: Sequence[str | Path] = (),
    *,
    name: str | None = None,
    method: str = "auto",
    seed: int = 0,
    version: int | None = None,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExplainResult:
    """Explain the answers of a task's model, and write a page and JSON of it.

    Args:
        store: photos, labels, models.
        root: the project's folder.
        task_name: what to explain.
        backbone: the project's; a model that brings a network of its own is asked with that.
        limits: bounds for the photos.
        photos: files, or ids of photos of the project; none: what each class looks for.
        name: class or node to explain; None for the model's own answer, or all classes.
        method: of the heat-maps: auto, cam, rise, occlusion or shapley.
        seed: of masks and orders.
        version: of the model; by default the live one.
        out: folder for explain.html or classes.html; default ``reports/TASK``.
        progress: called with what is done and the total.

    Raises:
        NotFoundError: the task has no model, or the model no such class.
        InputError: an unknown method, or `cam` for a backbone without feature maps.
        StoreError: OUT cannot be made.
    """
    task = store.labels.task(task_name)
    live = _required(store, root, task, version)
    backbone = backbone_for(live.model, backbone)
    folder = Path(out) if out is not None else root / "reports" / folder_name(task)
    facts: dict[str, Any] = {"task": task.name, "kind": live.kind, "version": live.version}
    if photos:
        found = explain_photos(
            store, root, task, live, backbone, limits, photos,
            name=name, method=method, seed=seed, progress=progress,
        )  # fmt: skip
        facts["photos"] = [photo.facts for photo in found]
        _make(folder)
        page = folder / PAGE
        shown = [(photo.pictures, photo.curves) for photo in found]
        write_explanations(page, facts, shown, N_NUMBERED)
        return ExplainResult(facts, page)
    looked = what_classes_look_for(
        store, task, live, backbone, limits, name=name, progress=progress
    )
    facts |= looked.facts
    _make(folder)
    write_looked_for(folder / CLASSES_PAGE, facts, looked.pictures)
    return ExplainResult(facts, folder / CLASSES_PAGE)


def _required(store: Store, root: Path, task: Task, version: int | None) -> LiveModel:
    if task.name == STARTER:
        raise NotFoundError(
            "starter tags are those of a general model, which listlens did not train and cannot "
            "explain: label some photos and train a task"
        )
    if version is not None:
        return load_model_row(store, root, task, chosen_row(store, task, version))
    return live_models(store, root, [task.name])[0]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be made a folder: {error}. Name another --out."
        ) from error
