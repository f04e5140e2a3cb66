"""What a training is asked to try, and whether it can begin: known before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from listlens.core.errors import InputError, TrainingError
from listlens.evaluate.pdf import require_typst
from listlens.learn.policies import parse_target
from listlens.pipeline.finetuning import checked_seconds

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.store.open import Store

LOOKED_AT = 10_000
"""Labels that are looked at for a second class; beyond, the training says that there is none."""


@dataclass(frozen=True)
class Times:
    """Seconds for what is tried beside the default, None: not tried; and whether `few`."""

    finetune_s: float | None
    budget_s: float | None
    few: bool | None


def checked_times(finetune: bool | float, budget_s: float | None, pdf: bool, few: bool) -> Times:
    """Return what a training is to try.

    Args:
        finetune: fine-tuning; a number is the time for its training, in seconds.
        budget_s: seconds of search; None: none.
        pdf: whether a PDF is written.
        few: whether classes of one or two photos are learnt too.

    Raises:
        InputError: these cannot be tried together.
        MissingExtraError: what is needed for it is not installed.
    """
    tuned = finetune is not False
    if few and (tuned or budget_s is not None):
        raise InputError(
            "few (--few) learns classes that nothing can be held out of, and a budget or "
            "fine-tuning is judged by what is held out. Give one of them."
        )
    if tuned and budget_s is not None:
        raise InputError(
            "a budget and fine-tuning are searches of their own: give one of them, and then the "
            "other to see which model is better."
        )
    if pdf:
        require_typst()
    return Times(checked_seconds(finetune), budget_s, few or None)


def require_trainable(
    store: Store,
    task: Task,
    *,
    target: str = "best-f1",
    finetune: bool | float = False,
    budget_s: float | None = None,
    few: bool = False,
) -> None:
    """Raise where a training is sure to fail; it may still find too little to learn from.

    Args:
        store: whose labels are looked at.
        task: to be learnt.
        target: what thresholds aim at.
        finetune: as for `checked_times`.
        budget_s: likewise.
        few: likewise.

    Raises:
        InputError: no such target, or what is asked for cannot be tried together.
        TrainingError: nobody has labelled a photo, or all labels are of one class.
        MissingExtraError: what is needed for it is not installed.
    """
    parse_target(target)
    checked_times(finetune, budget_s, False, few)
    classes, n = set[str](), 0
    for one in islice(store.labels.annotations(task.task_id), LOOKED_AT):
        n += 1
        classes.update(one.answer.yes)
        if task.kind != "single" or len(classes) > 1:
            return
    if not n:
        raise TrainingError(
            f"nobody has labelled a photo for task {task.name!r} yet. Import labels: "
            f"listlens labels import {task.name} FILE"
        )
    if n < LOOKED_AT:
        said = ", ".join(sorted(classes)) or "no class"
        raise TrainingError(
            f"all labels of task {task.name!r} are of one class ({said}), and two are needed to "
            f"learn a difference. Import more: listlens labels import {task.name} FILE"
        )
