"""The report on the photos themselves, from stored measures: nothing is decoded again."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.types import Reason, Status
from listlens.duplicates.groups import duplicate_groups
from listlens.images.checks import flags
from listlens.images.measures import Measures
from listlens.images.report import CheckedPhoto, write_check_report
from listlens.pipeline.dataset import is_flat

if TYPE_CHECKING:
    from listlens.core.types import EmbeddingSpace
    from listlens.store.open import Store

MOST_COMPARED = 50_000
"""Contents among which near duplicates are looked for: all pairs, in blocks, take half a minute."""


def write_photo_report(store: Store, space: EmbeddingSpace, page: Path) -> dict[str, Any]:
    """Flag every photo by its measures, find doubled pictures, and write the page.

    Returns:
        JSON-able: photos (with the rows and files of the sources that are none), failed and
        flagged counts, counts by flag and by reason, number of pictures that occur in several
        places, how many files were left out when looking for nearly equal ones, and ``page``.
    """
    measures = {
        c.content_id: Measures.from_dict(c.measures)
        for c in store.contents.scan()
        if c.measures is not None
    }
    photos: list[CheckedPhoto] = []
    shown_by: dict[int, list[CheckedPhoto]] = defaultdict(list)
    for photo in store.photos.scan():
        if photo.status is Status.GONE:
            continue
        failure = ""
        if photo.status is not Status.OK:
            reason = photo.reason.value if photo.reason else photo.status.value
            failure = f"{reason}: {photo.detail}"
        measured = measures.get(photo.content_id or -1)
        found = flags(measured) if measured is not None and not failure else ()
        checked = CheckedPhoto(photo.photo_id, photo.sha256 or "", found, failure)
        photos.append(checked)
        if photo.content_id is not None and not failure:
            shown_by[photo.content_id].append(checked)
    photos += [
        CheckedPhoto(row.at, failure=f"{row.reason.value}: {row.detail}")
        for row in store.photos.rejected()
        if row.reason is not Reason.FORGOTTEN
    ]
    exact = [group for group in shown_by.values() if len(group) > 1]
    near, n_not_compared = _near(store, space, measures, shown_by)
    result = write_check_report(
        page,
        photos,
        exact=exact,
        near=near,
        n_not_compared=n_not_compared,
        thumbnail=store.thumbnails.get,
    )
    return {
        "photos": result["n_photos"],
        "failed": result["n_failed"],
        "flagged": result["n_flagged"],
        "flags": result["flags"],
        "reasons": result["failed"],
        "exact_duplicates": len(exact),
        "near_duplicates": len(near),
        "not_compared": n_not_compared,
        "page": str(page),
    }


def _near(
    store: Store,
    space: EmbeddingSpace,
    measures: dict[int, Measures],
    shown_by: dict[int, list[CheckedPhoto]],
) -> tuple[list[list[CheckedPhoto]], int]:
    """Different files that show the same picture; and how many were not compared."""
    ids = sorted(set(shown_by) & set(measures))
    absent = set(store.vectors.missing(space, ids))
    embedded = [content_id for content_id in ids if content_id not in absent]
    ids, n_left = embedded[:MOST_COMPARED], len(embedded[MOST_COMPARED:])
    if len(ids) < 2:
        return [], n_left
    groups = duplicate_groups(
        ids,
        np.array([measures[i].phash for i in ids], np.uint64),
        store.vectors.get(space, ids),
        flat=np.array([is_flat(measures[i]) for i in ids], bool),
        level="same",
    )
    members: dict[int, list[CheckedPhoto]] = defaultdict(list)
    for content_id, group in zip(ids, groups.tolist(), strict=True):
        members[group].append(shown_by[content_id][0])
    return [group for group in members.values() if len(group) > 1], n_left
