"""Other thresholds for a model that is there, without training again.

They are chosen as training chooses them: on answers for photos that the answering copy of the model
had not seen. What is said of them is measured on other photos than those that chose them: on the
test split where there is one, else fold by fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import InputError, NotFoundError, TrainingError, suggest
from listlens.core.types import Policy
from listlens.learn.policies import Decided, answers, choose_policy, named, parse_target
from listlens.pipeline.dataset import build_examples
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.judging import in_classes
from listlens.pipeline.models import load_model_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace, Kind, Task
    from listlens.pipeline.models import LiveModel
    from listlens.store.models import ModelView
    from listlens.store.open import Store

    Choose = Callable[[NDArray[np.floating], NDArray[Any]], Policy]

FOLDS = 5
BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Effect:
    """What thresholds do to photos that did not choose them.

    Args:
        n: held-out photos.
        n_review: of them, those that a person should look at.
        n_alone: answers given without a person; multi: a photo and class each.
        n_wrong: of these, the wrong ones.
    """

    n: int
    n_review: int
    n_alone: int
    n_wrong: int

    def text(self) -> str:
        """For a person."""
        wrong = self.n_wrong / self.n_alone if self.n_alone else 0.0
        return (
            f"a person looks at {self.n_review:,} of {self.n:,}, and {100 * wrong:.1f} % of the "
            f"{self.n_alone:,} answers given without one are wrong"
        )


@dataclass(frozen=True)
class PolicyResult:
    """Thresholds that were set, or would be.

    Args:
        task: its name.
        model: version of the model.
        version: of the policy.
        target: what the thresholds aim at, or ``by hand``.
        thresholds: class to threshold; of a tree one for all.
        before: what the policy before does to held-out photos.
        after: what this one does.
        stock_before: stored pictures that a person should look at under the policy before.
        stock_after: and under this one.
        n_stock: stored pictures that the model answered.
        dry_run: nothing was changed.
    """

    task: str
    model: int
    version: int
    target: str
    thresholds: dict[str, float]
    before: Effect
    after: Effect
    stock_before: int
    stock_after: int
    n_stock: int
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return asdict(self)

    def text(self) -> str:
        """For a person."""
        will = "would be" if self.dry_run else "is"
        return "\n".join([
            f"Policy {self.version} of model {self.model} of {self.task!r} {will} in force: "
            f"{self.target}.",
            f"Stored pictures for a person: {self.stock_after:,} of {self.n_stock:,}, before "
            f"{self.stock_before:,}.",
            f"On held-out photos {self.after.text()}.",
            f"Before: {self.before.text()}.",
        ])  # fmt: skip


def set_policy(
    store: Store,
    root: Path,
    task: Task,
    row: ModelView,
    space: EmbeddingSpace,
    *,
    target: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    dry_run: bool = False,
) -> PolicyResult:
    """Choose other thresholds for a model and put them in force; nothing else is computed anew.

    Args:
        store: labels, models, answers.
        root: the project's folder.
        task: whose model.
        row: of the model.
        space: of the project's backbone.
        target: ``best-f1``, ``precision>=P`` or ``error<=E``; None: the policy in force is kept,
            apart from `thresholds`.
        thresholds: class to a threshold in [0, 1], set by hand.
        dry_run: only say what would be done.

    Raises:
        InputError: neither is given, a threshold out of range, a target that is not known, a score
            task, or a tree with thresholds by hand.
        NotFoundError: no such class.
        TrainingError: no labelled photo left that training had.
    """
    if target is None and not thresholds:
        raise InputError("say what to aim at (--target) or a threshold (--threshold CLASS=0.8).")
    if target is not None:
        parse_target(target)
    model = load_model_row(store, root, task, row)
    check_kind(model, thresholds or {})
    held = Held.of(store, root / row.folder, task, model, space)
    choose = chooser(model, target, thresholds or {})
    policy = choose(held.probs[held.choosing], held.given[held.choosing])
    before = held.effect(lambda probs, given: model.policy, model)
    result = PolicyResult(
        task.name,
        row.version,
        model.policy_version + (policy != model.policy),
        policy.target,
        dict(zip(model.classes, policy.thresholds, strict=True)),
        before,
        held.effect(choose, model),
        *_stock(store, model, policy),
        dry_run=dry_run,
    )
    if not dry_run:
        store.models.add_policy(row.model_id, policy)
    return result


def check_kind(model: LiveModel, thresholds: Mapping[str, float]) -> None:
    """Raise InputError or NotFoundError where a model cannot have these thresholds."""
    if model.kind == "score":
        raise InputError(f"{model.task!r} is a score: its mean is the answer, and has no threshold")
    if model.kind == "tree" and thresholds:
        raise InputError("a tree has one threshold for all nodes: choose it by --target error<=E")
    for name, value in thresholds.items():
        if name not in model.classes:
            raise NotFoundError(f"no class {name!r}. {suggest(name, model.classes)}")
        if not 0 <= value <= 1:
            raise InputError(f"threshold {value:g} of {name!r}; allowed: 0 to 1")


def chooser(model: LiveModel, target: str | None, thresholds: Mapping[str, float]) -> Choose:
    """Return what makes a policy of held-out probabilities and what they should have been."""

    def choose(probs: NDArray[np.floating], given: NDArray[Any]) -> Policy:
        policy = model.policy
        if target is not None:
            policy = choose_policy(probs, given, model.kind, target, model.classes)
        return by_hand(policy, model, thresholds)

    return choose


def by_hand(policy: Policy, model: LiveModel, thresholds: Mapping[str, float]) -> Policy:
    """Put some thresholds in the place of others; a band around one stays as it can."""
    if not thresholds:
        return policy
    low, mid, high = map(list, (policy.review_below, policy.thresholds, policy.review_above))
    for name, value in thresholds.items():
        at = model.classes.index(name)
        wide = model.kind == "multi"
        low[at] = min(low[at], value) if wide else value
        high[at] = max(high[at], value) if wide else value
        mid[at] = value
    return Policy(tuple(mid), tuple(low), tuple(high), BY_HAND)


@dataclass(frozen=True)
class Held:
    """Labelled photos with the answers of copies of the model that had not seen them.

    Args:
        probs: `(n, k)`, out of fold; `test_probs` of the copies that saw train and val only.
        given: what the labels say, in the model's classes; -1 unknown.
        groups: `(n,)`; what must not be torn apart.
        test: `(n,)` bool: of a given test split, which chooses nothing.
    """

    probs: NDArray[np.floating]
    test_probs: NDArray[np.floating]
    given: NDArray[Any]
    groups: NDArray[np.int64]
    test: NDArray[np.bool_]

    @classmethod
    def of(
        cls, store: Store, folder: Path, task: Task, model: LiveModel, space: EmbeddingSpace
    ) -> Held:
        """Read what training held out, with the labels of today; raises TrainingError."""
        heldout, examples = Heldout.of(folder), build_examples(store, task, space)
        at = heldout.rows_of([p.photo.photo_pk for p in examples.photos])
        given = in_classes(task.kind, examples.data.classes, model.classes, examples.given)
        given[examples.conflicts] = -1
        probs = heldout.oof_probs[at].astype(np.float64)
        known = (given >= 0).any(axis=1) if given.ndim == 2 else given >= 0
        keep = (at >= 0) & np.isfinite(probs).all(axis=1) & known & heldout.counts[at]
        if not keep.any():
            raise TrainingError(
                f"no labelled photo of {task.name!r} is left that the model was trained with: "
                f"listlens train {task.name}"
            )
        test = (heldout.split[at] == "test") & heldout.own_split
        own, groups = heldout.probs[at].astype(np.float64), examples.data.groups
        held = cls(probs[keep], own[keep], given[keep], groups[keep], test[keep])
        return held if held.choosing.any() else replace(held, test=np.zeros_like(held.test))

    @property
    def choosing(self) -> NDArray[np.bool_]:
        """The photos that choose thresholds."""
        return ~self.test

    def effect(self, choose: Choose, model: LiveModel) -> Effect:
        """What thresholds do to photos that did not choose them."""
        if self.test.any():
            policy = choose(self.probs[self.choosing], self.given[self.choosing])
            return _effect(self.test_probs[self.test], self.given[self.test], policy, model)
        parts = np.array([0, 0, 0, 0])
        names = np.unique(self.groups)
        fold = np.random.default_rng(0).permutation(len(names)) % FOLDS
        of = fold[np.searchsorted(names, self.groups)]
        for f in np.unique(of):
            rest = of != f if (of != f).any() else of == f
            policy = choose(self.probs[rest], self.given[rest])
            part = _effect(self.probs[of == f], self.given[of == f], policy, model)
            parts += np.array([part.n, part.n_review, part.n_alone, part.n_wrong])
        return Effect(*map(int, parts))


def _effect(
    probs: NDArray[np.floating], given: NDArray[Any], policy: Policy, model: LiveModel
) -> Effect:
    decided = answers(probs, policy, model.kind, model.classes)
    review = decided.review.any(axis=1)
    if model.kind == "multi":
        alone = (given >= 0) & ~decided.review
        wrong = alone & (decided.given != (given == 1))
        return Effect(len(probs), int(review.sum()), int(alone.sum()), int(wrong.sum()))
    right = _right(probs, given, decided, model.kind, model.classes)
    return Effect(
        len(probs), int(review.sum()), int((~review).sum()), int((~review & ~right).sum())
    )


def _right(
    probs: NDArray[np.floating],
    given: NDArray[Any],
    decided: Decided,
    kind: Kind,
    classes: tuple[str, ...],
) -> NDArray[np.bool_]:
    """Whether the class is the label's; of a tree, whether the node answered holds it."""
    if kind == "single":
        return np.asarray(decided.given.argmax(axis=1) == given)
    from listlens.core.tree import SEPARATOR
    from listlens.learn.trees import shape_of

    paths = shape_of(classes).tree.paths
    said = [d.classes[0] if d.classes else "" for d in named(probs, decided, kind, classes)]
    held = [
        bool(path) and f"{paths[node]}{SEPARATOR}".startswith(f"{path}{SEPARATOR}")
        for path, node in zip(said, given.tolist(), strict=True)
    ]
    return np.array(held, np.bool_)


def _stock(store: Store, model: LiveModel, policy: Policy) -> tuple[int, int, int]:
    """Stored pictures for a person: before, after, and the number of all."""
    before = after = n = 0
    for _, probs in store.predictions.scan(model.model_id):
        n += len(probs)
        for body, add in ((model.policy, 0), (policy, 1)):
            review = answers(probs, body, model.kind, model.classes).review.any(axis=1)
            if add:
                after += int(review.sum())
            else:
                before += int(review.sum())
    return before, after, n
