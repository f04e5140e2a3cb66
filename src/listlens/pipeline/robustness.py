"""Ask a model again about held-out photos that were changed: light, blur, crop, banner and more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from listlens.core.errors import PhotoError, TrainingError
from listlens.evaluate.comparison import Side, compare
from listlens.evaluate.robustness import Changed, Robustness
from listlens.images.additions import with_banner, with_second
from listlens.images.distortions import DISTORTIONS, distort
from listlens.images.prepare import input_of, upright_pixels
from listlens.learn.dataset import known_rows
from listlens.learn.large import is_large
from listlens.learn.learner import Learner, candidate_of, logistic_part
from listlens.learn.policies import answers
from listlens.learn.recipe import encoded
from listlens.learn.usable import with_classes
from listlens.pipeline.contents import embed_all, read_file, worker_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Kind, Policy
    from listlens.images.files import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.heldout import Heldout

SAMPLE = 200
"""Held-out photos that are changed: a share is then known to about 3 of 100, and its paired drop
better than that."""

WORK_PX = 512
"""Long side of the photos that are changed, as in TID2013 (512 x 384), whose amounts the levels
of a distortion follow: a blur of 2 px is another blur on a photo twice as large."""

N_PARTS = 5
"""Without a test split the head is fitted again this often, each time without a part's listings."""

TEST = "of the test split"
LEFT_OUT = "each answered by a head fitted again without its listing"
SEEN = "which the model was trained on, so the drops are too small"

MILD, STRONG = 2, 4
"""Levels of the distortions, of 5."""

STRENGTHS = {MILD: "mild", STRONG: "strong"}


@dataclass(frozen=True)
class Condition:
    """One way to change photos, at two strengths.

    Args:
        name: as the report says it.
        how: how much, with a place for the amount.
        distortion: in `images.distortions`, or empty for an addition.
        shares: what an addition covers, mild and strong.
    """

    name: str
    how: str
    distortion: str = ""
    shares: tuple[float, float] = (0.0, 0.0)


CONDITIONS = (
    Condition("darker", "{:g} stops", "under_exposure"),
    Condition("brighter", "{:g} stops", "over_exposure"),
    Condition("colour cast", "{:g} stops", "colour_cast"),
    Condition("out of focus", "{:g} px of 512", "gaussian_blur"),
    Condition("moved", "{:g} px of 512", "motion_blur"),
    Condition("JPEG", "quality {:g}", "jpeg"),
    Condition("of low resolution", "{:g} times fewer px a side", "upscaling"),
    Condition("cropped", "{:.0%} of each side", "crop"),
    Condition("rotated", "{:g} degrees", "tilt"),
    Condition("under a banner", "{:.0%} of the height", shares=(0.12, 0.3)),
    Condition("with a second object", "{:.0%} of the area", shares=(0.1, 0.25)),
)


def measure_robustness(
    examples: Examples,
    heldout: Heldout,
    model: Model,
    classes: tuple[str, ...],
    policy: Policy,
    backbone: Backbone,
    limits: Limits,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Robustness:
    """Compare a model's answers for held-out photos as they are, and changed.

    Both go the same way (decoded at `WORK_PX`, changed or not, through the backbone), so that the
    change is all that differs.

    Args:
        examples: today's labelled photos.
        heldout: which of them the training held out.
        model: of the task.
        classes: of the model, by today's names.
        policy: in force.
        backbone: the model's.
        limits: bounds for the photos.
        seed: of the sample and the changes.
        progress: called with the changes done and their number.

    Raises:
        TrainingError: no held-out photo can be read any more.
    """
    rows, protocol = _sample(examples, heldout, seed)
    read = [_pixels(examples.photos[i].photo.location, limits) for i in rows.tolist()]
    there = [p is not None for p in read]
    rows, pixels = rows[there], [p for p in read if p is not None]
    if not len(rows):
        raise TrainingError(
            "the files of the held-out photos are not where they were, so they cannot be changed "
            "and asked about again: ingest them again"
        )
    data = examples.data
    judges = [(np.arange(len(rows)), model)]
    if protocol != TEST:
        again = _fitted_again(examples, model, classes, rows)
        judges, protocol = (again, LEFT_OUT) if again else (judges, SEEN)
    judge = _Judge(judges, backbone, classes, policy, data.kind)
    given, listings = examples.given[rows], data.listings[rows]
    names = [data.names[i] for i in rows.tolist()]
    clean = judge.side(0, len(pixels), pixels.__getitem__)
    steps = [(condition, level) for condition in CONDITIONS for level in (MILD, STRONG)]
    compared = []
    for done, (condition, level) in enumerate(steps):
        progress(done, len(steps))
        change = partial(_changed, pixels, condition, level, seed)
        sides = (clean, judge.side(1, len(pixels), change))
        compared.append(compare(data.kind, data.classes, given, names, listings, sides, seed=seed))
    progress(len(steps), len(steps))
    changes = tuple(
        Changed.of(condition.name, STRENGTHS[level], _how(condition, level), found)
        for (condition, level), found in zip(steps, compared, strict=True)
    )
    return Robustness(compared[0].metric, len(rows), protocol, compared[0].first, changes)


@dataclass(frozen=True)
class _Judge:
    """Answers for photos by a model, each by a head that has not learnt it where there is one."""

    parts: list[tuple[NDArray[np.int64], Model]]
    backbone: Backbone
    classes: tuple[str, ...]
    policy: Policy
    kind: Kind

    def side(self, version: int, n: int, pixels: Callable[[int], NDArray[np.uint8]]) -> Side:
        """Answer n photos; `pixels` makes the i-th, in a thread of the pool."""

        def prepared(i: int) -> NDArray[np.uint8]:
            return input_of(pixels(i), self.backbone.preprocessing)

        with worker_pool() as pool:
            inputs = list(pool.map(prepared, range(n)))
        embeddings = embed_all(self.backbone, inputs)
        probs = np.empty((n, len(self.classes)), np.float32)
        for some, model in self.parts:
            probs[some] = model.probs(embeddings[some])
        given = answers(probs, self.policy, self.kind, self.parts[0][1].classes).given
        return Side(version, self.classes, probs, given)


def _sample(examples: Examples, heldout: Heldout, seed: int) -> tuple[NDArray[np.int64], str]:
    """Held-out photos in a fixed order, and in words which they are."""
    at = heldout.rows_of([p.photo.photo_pk for p in examples.photos])
    split = np.where(at >= 0, heldout.split[at], "new")
    known = known_rows(examples.data.kind, examples.given)
    own = known & (split == "test")
    rows = np.flatnonzero(own if own.any() else known & (split != "new"))
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
    return rows, TEST if own.any() else LEFT_OUT


def _fitted_again(
    examples: Examples, model: Model, classes: tuple[str, ...], rows: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], Model]]:
    """Parts of the rows, each with the model whose head was fitted without their groups.

    Empty where the head cannot be fitted again as it was.
    """
    data = examples.data
    if not {"C", "shrinkage"} & set(model.training) or is_large(data):
        return []  # fitted elsewhere, or too large to be fitted again
    if model.own_backbone is not None:
        return []  # a network that learnt has seen the photos, whatever head is put on it
    if data.kind not in ("tree", "score"):
        if not set(classes) <= set(data.classes):
            return []  # of a class that was learnt no label is left
        data = with_classes(data, classes)
    wanted, answered, learnt = encoded(data)
    if learnt != classes:
        return []
    best, strengths = candidate_of(model.training), (logistic_part(model.training).strength,)
    learner = Learner(data.embeddings, wanted, answered, classes, strengths, centre=data.centre)
    groups = data.groups[rows]
    part = np.unique(groups, return_inverse=True)[1] % N_PARTS
    folds = np.unique(data.groups, return_inverse=True)[1] % N_PARTS
    judges = []
    for n in np.unique(part).tolist():
        some = np.flatnonzero(part == n)
        inside = ~np.isin(data.groups, groups[some]) & wanted.known
        fold = np.where(inside, folds, -1)
        if len(np.unique(fold[inside])) < 2:
            return []  # too few listings are left to learn from
        head = learner.fit(np.flatnonzero(inside), best, fold)
        judges.append((some, replace(model, head=head)))
    return judges


def _pixels(location: str, limits: Limits) -> NDArray[np.uint8] | None:
    read = read_file(location, limits)
    if read.error is not None:
        return None
    try:
        return upright_pixels(read.data, WORK_PX, limits=limits)
    except PhotoError:
        return None


def _changed(
    pixels: list[NDArray[np.uint8]], condition: Condition, level: int, seed: int, i: int
) -> NDArray[np.uint8]:
    """Photo i under a condition; a second object comes from the photo half the sample away."""
    own = pixels[i]
    if condition.distortion:
        return distort(own, condition.distortion, level, seed + i)
    share = condition.shares[level == STRONG]
    if "height" in condition.how:
        return with_banner(own, share, seed + i)
    return with_second(own, pixels[(i + len(pixels) // 2) % len(pixels)], share, seed + i)


def _how(condition: Condition, level: int) -> str:
    """How much, in words."""
    if not condition.distortion:
        return condition.how.format(condition.shares[level == STRONG])
    amount = DISTORTIONS[condition.distortion].levels[level - 1]
    return condition.how.format(100 - amount if condition.distortion == "jpeg" else amount)
