"""What a store holds, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from listlens.core.types import Status
from listlens.pipeline.labelling import labelled_photos

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.store.forgetting import ForgetPlan
    from listlens.store.open import Store


def overview(store: Store, tasks: list[Task]) -> dict[str, Any]:
    """Count photos by status and reason, listings, contents, labels and models.

    Returns:
        JSON-able; photos by ``ok``, ``failed``, ``failed:truncated``, ..., zeros left out;
        ``rejected`` counts the rows of the newest run over each source that were no photo;
        ``annotators`` the answers by name, as `forget` takes it.
    """
    n_contents = n_usable = 0
    for content in store.contents.scan():
        n_contents += 1
        n_usable += content.status is Status.OK
    return {
        "store": store.url.replace("sqlite+pysqlite", "sqlite"),
        "photos": {state: n for state, n in store.photos.counts().items() if n},
        "rejected": sum(1 for _ in store.photos.rejected()),
        "listings": len({photo.listing_id for photo in store.photos.scan()}),
        "contents": n_contents,
        "usable_contents": n_usable,
        "annotators": store.labels.annotators(),
        "tasks": [_task(store, task) for task in tasks],
    }


def in_words(photos: Mapping[str, int]) -> list[tuple[int, str]]:
    """Return each status with its photos once, the reasons of those that failed behind it.

    Example:
        >>> in_words({"ok": 9, "failed": 3, "failed:empty": 1, "failed:truncated": 2})
        [(9, 'ok'), (3, 'failed (1 empty, 2 truncated)')]
    """
    why = [f"{n} {reason}" for name, n in photos.items() if (reason := name.partition(":")[2])]
    whole = {state: n for state, n in photos.items() if ":" not in state}
    reasons = {"failed": f" ({', '.join(why)})"} if why else {}
    return [(n, state + reasons.get(state, "")) for state, n in whole.items()]


def _task(store: Store, task: Task) -> dict[str, Any]:
    model, newest = store.models.live(task.task_id), store.models.latest(task.task_id)
    created = model.created_at if model else None
    return {
        "name": task.name,
        "kind": task.kind,
        "classes": [c.name for c in task.classes],
        "labels": len(labelled_photos(store, task)),
        "model": model.version if model else None,
        "trained": created.isoformat(timespec="minutes") if created else None,
        "folder": model.folder if model else None,
        "newest": newest.version if newest else None,
    }


def forgotten(plan: ForgetPlan, dry_run: bool) -> dict[str, Any]:
    """What a plan of forgetting removes, or removed, in numbers."""
    counts = {name: len(getattr(plan, name)) for name in ("listings", "photos", "contents")}
    counts |= {
        "embeddings": plan.n_vectors,
        "predictions": plan.n_predictions,
        "annotations": plan.n_annotations,
        "thumbnails": plan.n_thumbnails,
        "texts": plan.n_texts,
    }
    return {"what": plan.what, "name": plan.name, "dry_run": dry_run, **counts}
