"""From the store to a training set, with everything that is checked before training."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from listlens.core.errors import TrainingError
from listlens.core.tree import Tree
from listlens.core.types import Status
from listlens.duplicates.groups import duplicate_groups, join_groups
from listlens.images.checks import flags
from listlens.images.measures import Measures
from listlens.labels.files import similar_classes
from listlens.learn.dataset import TrainingSet
from listlens.pipeline.checks import Check, found
from listlens.pipeline.labelling import LabelledPhoto, label_text, labelled_photos

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace, Kind, Task
    from listlens.store.open import Store


FEW_PHOTOS = 3

HALF_VOTES = 5.0
"""A photo with this many votes counts half of one with very many. On AVA-like votes, with a spread
of 1.4 and photos that differ by 0.6, a mean of 5 votes is as uncertain as photos are different."""


@dataclass(frozen=True)
class Examples:
    """Labelled photos, ready to learn from.

    Args:
        photos: in a fixed order.
        data: the training set, a row a photo; conflicting labels are unusable there.
        given: what each photo's label says, whether usable or not: class or node indices `(n,)`
            (-1: undecided), answers `(n, k)`, or shares of the votes `(n, k)` (NaN: none).
        conflicts: `(n,)`, another photo with the same bytes has another label.
        fingerprint: sha256 (hex) over contents, labels, splits and groups.
        checks: what was found.
    """

    photos: list[LabelledPhoto]
    data: TrainingSet
    given: NDArray[Any]
    conflicts: NDArray[np.bool_]
    fingerprint: str
    checks: list[Check]

    def rows(self, keep: NDArray[np.bool_]) -> Examples:
        """Return these photos only; the fingerprint and the findings stay those of all."""
        photos = [p for p, kept in zip(self.photos, keep, strict=True) if kept]
        return Examples(
            photos,
            self.data.rows(keep),
            self.given[keep],
            self.conflicts[keep],
            self.fingerprint,
            self.checks,
        )

    def n_votes(self) -> NDArray[np.float32]:
        """How many votes each photo of a score has, `(n,)`."""
        return _n_votes(self.photos)


def build_examples(store: Store, task: Task, space: EmbeddingSpace) -> Examples:
    """Gather a task's labelled photos, their embeddings, groups and targets.

    Raises:
        TrainingError: no photo has a usable label.
    """
    photos = labelled_photos(store, task)
    content_ids = [_content_id(p) for p in photos]
    absent = set(store.vectors.missing(space, content_ids))
    lost = [p.photo.photo_id for p, c in zip(photos, content_ids, strict=True) if c in absent]
    photos = [p for p, c in zip(photos, content_ids, strict=True) if c not in absent]
    if lost and not photos:
        raise TrainingError(
            f"none of the {len(lost)} labelled photos has an embedding by {space.id}: the "
            "backbone, its engine or precision was changed. Embed again: listlens ingest PHOTOS"
        )
    if not photos:
        raise TrainingError(
            f"task {task.name!r} has no labelled photo that can be used. Import labels: "
            f"listlens labels import {task.name} FILE"
        )
    ids = np.array([_content_id(p) for p in photos], np.int64)
    classes = _classes(task, photos)
    given = _targets(task.kind, classes, photos)
    conflicts = _conflicts(task, ids, given, classes)
    embeddings = store.vectors.get(space, ids.tolist()).astype(np.float32)
    duplicates = _duplicates(store, ids, embeddings)
    listings = np.unique([p.photo.listing_id for p in photos], return_inverse=True)[1]
    groups = join_groups(listings, duplicates)
    groups = _join_named(groups, [p.group for p in photos])
    data = TrainingSet(
        kind=task.kind,
        classes=classes,
        embeddings=embeddings,
        targets=_usable_targets(task.kind, given, ids, conflicts),
        groups=groups,
        listings=listings.astype(np.int64),
        given_split=np.array([p.split for p in photos], dtype=np.str_),
        names=tuple(p.photo.photo_id for p in photos),
        weights=_weights(photos) if task.kind == "score" else None,
    )
    checks = [
        *_photo_checks(store, {p.photo.photo_pk for p in photos}),
        *found("labels_without_embedding", "warning", "Labelled photos without an embedding: "
               "{n}. Run `listlens ingest` again.", lost),
        *_conflict_checks(task.kind, photos, conflicts),
        *_duplicate_checks(photos, listings, duplicates),
        *found("similar_classes", "warning", "Names that differ in case or spaces alone: "
               "{n}. They are learnt as different classes.",
               [" / ".join(names) for names in similar_classes(classes)]),
        *_few_checks(data),
    ]  # fmt: skip
    return Examples(photos, data, given, conflicts, _fingerprint(task, space, photos, data), checks)


def _content_id(p: LabelledPhoto) -> int:
    assert p.photo.content_id is not None  # labelled_photos yields usable photos only
    return p.photo.content_id


def _join_named(groups: NDArray[np.int64], names: list[str]) -> NDArray[np.int64]:
    """Join groups that share a name, however many: unlike a placeholder, a name is meant."""
    first = groups.copy()
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if name:
            first[i] = seen.setdefault(name, int(groups[i]))
    size = int(groups.max()) + 1
    edges = coo_array((np.ones(len(groups), bool), (groups, first)), shape=(size, size))
    label = connected_components(edges, directed=False)[1][groups]
    return np.asarray(np.unique(label, return_inverse=True)[1], np.int64)


def _classes(task: Task, photos: list[LabelledPhoto]) -> tuple[str, ...]:
    """The task's classes in their order, less those that no label mentions.

    Of a tree all nodes, of a score all steps: an answer can be one that nobody gave.
    """
    if task.kind == "tree":
        return Tree.of(c.name for c in task.classes).paths
    if task.kind == "score":
        return tuple(c.name for c in task.classes)
    used = {name for p in photos for name in (*p.label.yes, *p.label.no, *p.label.tied)}
    return tuple(c.name for c in task.classes if c.name in used)


def _targets(kind: Kind, classes: tuple[str, ...], photos: list[LabelledPhoto]) -> NDArray[Any]:
    """As `Examples.given`; answers are 1 yes, 0 no, -1 unknown."""
    index = {name: i for i, name in enumerate(classes)}
    if kind == "score":
        return _shares(index, photos)
    if kind in ("single", "tree"):
        first = [index[p.label.yes[0]] if p.label.yes else -1 for p in photos]
        return np.array(first, np.int64)
    answers = np.zeros((len(photos), len(classes)), np.int8)
    for row, p in zip(answers, photos, strict=True):
        row[:] = 0 if p.label.unlisted == "no" else -1
        row[[index[name] for name in p.label.no]] = 0
        row[[index[name] for name in p.label.yes]] = 1
        row[[index[name] for name in p.label.tied]] = -1
    return answers


def _shares(index: dict[str, int], photos: list[LabelledPhoto]) -> NDArray[np.float32]:
    """Histograms `(n, k)` that sum to 1; NaN without a vote."""
    shares = np.full((len(photos), len(index)), np.nan, np.float32)
    for row, p in zip(shares, photos, strict=True):
        votes = [(index[step], n) for step, n in p.label.votes if step in index]
        if votes:
            row[:] = 0
            for at, n in votes:
                row[at] = n / sum(n for _, n in votes)
    return shares


def _weights(photos: list[LabelledPhoto]) -> NDArray[np.float32]:
    """What each photo counts `(n,)`, in (0, 1]: the more people voted, the surer its mean."""
    votes = _n_votes(photos)
    return np.asarray(np.maximum(votes, 0.1) / (np.maximum(votes, 0.1) + HALF_VOTES), np.float32)


def _n_votes(photos: list[LabelledPhoto]) -> NDArray[np.float32]:
    return np.array([sum(n for _, n in p.label.votes) for p in photos], np.float32)


def _conflicts(
    task: Task, content_ids: NDArray[np.int64], given: NDArray[Any], classes: tuple[str, ...]
) -> NDArray[np.bool_]:
    """Whether photos with the same bytes say different things: a yes against a no.

    In a tree, nodes of which none is above the other. Different votes are no conflict.
    """
    kind = task.kind
    if kind == "score":
        return np.zeros(len(given), np.bool_)
    if kind == "tree":
        return _branching(content_ids, given, Tree(classes))
    answers = given[:, None] if kind == "single" else given
    values = defaultdict(set)
    for content_id, row in zip(content_ids.tolist(), answers.tolist(), strict=True):
        for column, value in enumerate(row):
            if value >= 0:
                values[content_id, column].add(value)
    clashing = {content_id for (content_id, _), seen in values.items() if len(seen) > 1}
    return np.array([c in clashing for c in content_ids.tolist()], bool)


def _branching(
    content_ids: NDArray[np.int64], nodes: NDArray[np.integer], tree: Tree
) -> NDArray[np.bool_]:
    """Whether the nodes given for the same bytes are on more than one line."""
    lines: dict[int, tuple[int, ...]] = {}
    clashing = set()
    for content_id, node in zip(content_ids.tolist(), nodes.tolist(), strict=True):
        if node < 0:
            continue
        line = tree.lineage[node]
        known = lines.setdefault(content_id, line)
        if line[: len(known)] != known[: len(line)]:
            clashing.add(content_id)
        lines[content_id] = max(known, line, key=len)
    return np.array([c in clashing for c in content_ids.tolist()], bool)


def _usable_targets(
    kind: Kind,
    given: NDArray[Any],
    content_ids: NDArray[np.int64],
    conflicts: NDArray[np.bool_],
) -> NDArray[Any]:
    """Targets with what conflicts made unknown: a wrong target costs more than a missing one."""
    targets = given.copy()
    if kind == "score":
        return targets
    if kind in ("single", "tree"):
        targets[conflicts] = -1
        return targets
    for content_id in np.unique(content_ids[conflicts]):
        rows = content_ids == content_id
        known = np.where(given[rows] < 0, np.nan, given[rows].astype(float))
        clash = np.nanmax(known, 0, initial=0) != np.nanmin(known, 0, initial=1)
        targets[np.ix_(rows, clash & (~np.isnan(known)).any(0))] = -1
    return targets


def is_flat(measures: Measures) -> bool:
    """Whether a picture is nearly one colour, so that its hash and embedding say nothing."""
    return any(flag.name == "low_information" for flag in flags(measures))


def _duplicates(
    store: Store, content_ids: NDArray[np.int64], embeddings: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Duplicate groups of these contents, from stored hashes and embeddings."""
    views = store.contents.get(content_ids.tolist())
    measures = [Measures.from_dict(views[c].measures or {}) for c in content_ids.tolist()]
    return duplicate_groups(
        content_ids,
        np.array([m.phash for m in measures], np.uint64),
        embeddings,
        flat=np.array([is_flat(m) for m in measures], bool),
    )


def _photo_checks(store: Store, labelled: set[int]) -> list[Check]:
    """Photos that cannot be used, and photos that nobody labelled."""
    failed, unlabelled = [], []
    for photo in store.photos.scan():
        if photo.status is Status.FAILED:
            reason = photo.reason.value if photo.reason else "failed"
            failed.append(f"{photo.photo_id}: {reason}: {photo.detail}")
        elif photo.status is Status.OK and photo.photo_pk not in labelled:
            unlabelled.append(photo.photo_id)
    rejected = [f"{r.at or 'a row'}: {r.reason.value}: {r.detail}" for r in store.photos.rejected()]
    return [
        *found("unusable_photos", "warning", "Photos that cannot be used: {n}. The rest goes on.",
               failed),
        *found("rejected_rows", "warning", "Rows or files of the source that are no photo: {n}. "
               "The rest goes on.", rejected),
        *found("photos_without_label", "note", "Photos without a label: {n}. They are tagged, not "
               "learnt from.", unlabelled),
    ]  # fmt: skip


def _conflict_checks(
    kind: Kind, photos: list[LabelledPhoto], conflicts: NDArray[np.bool_]
) -> list[Check]:
    by_content: dict[int, list[str]] = defaultdict(list)
    for p, conflict in zip(photos, conflicts, strict=True):
        if conflict:
            text = label_text(kind, p.label)
            by_content[_content_id(p)].append(f"{p.photo.photo_id} = {text}")
    tied = [f"{p.photo.photo_id}: {', '.join(p.label.tied)}" for p in photos if p.label.conflict]
    return [
        *found("conflicting_labels", "warning", "Pictures with different labels in different "
               "places: {n}. They were left out of training. Fix them first.",
               ["; ".join(items) for items in by_content.values()]),
        *found("tied_answers", "warning", "Photos with as many answers for as against: {n}. One "
               "more person should answer.", tied),
    ]  # fmt: skip


def _few_checks(data: TrainingSet) -> list[Check]:
    """Leaves of a tree with so few photos that they are rarely answered."""
    if data.kind != "tree":
        return []
    tree = Tree(data.classes)
    below = np.zeros(len(tree.paths), np.int64)
    for node in data.targets[data.targets >= 0].tolist():
        below[list(tree.lineage[node])] += 1
    few = [f"{tree.paths[i]}: {below[i]}" for i in tree.leaves if below[i] < FEW_PHOTOS]
    return found("leaves_with_few_photos", "note", f"Leaves with fewer than {FEW_PHOTOS} photos: "
                 "{n}. They are learnt together with their siblings.", few)  # fmt: skip


def _duplicate_checks(
    photos: list[LabelledPhoto], listings: NDArray[np.integer], duplicates: NDArray[np.integer]
) -> list[Check]:
    """Duplicate groups that span listings: kept on one side of every split."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(duplicates.tolist()):
        members[group].append(i)
    spanning = [rows for rows in members.values() if len({int(listings[i]) for i in rows}) > 1]
    items = ["; ".join(photos[i].photo.photo_id for i in rows) for rows in spanning]
    return found(
        "duplicates_across_listings",
        "note",
        "Pictures in more than one listing: {n}. Our own splits keep each on one side.",
        items,
    )


def _fingerprint(
    task: Task, space: EmbeddingSpace, photos: list[LabelledPhoto], data: TrainingSet
) -> str:
    """Changes when any content, label, split, group or the space does; order counts."""
    digest = hashlib.sha256(json.dumps([task.kind, data.classes, space.id]).encode())
    for p, group in zip(photos, data.groups.tolist(), strict=True):
        row = [p.photo.sha256, p.photo.photo_id, p.photo.listing_id, label_text(task.kind, p.label),
               p.label.unlisted, p.split, group]  # fmt: skip
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
