"""Photos in, one answer each out: no project, no label, a bounded number in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.backbones.registry import load_backbone, usable_cores
from listlens.core.errors import NotFoundError, PhotoError
from listlens.core.types import PhotoRow, Reason, RejectedRow, Status
from listlens.images.checks import flags
from listlens.images.files import DEFAULT_LIMITS, Limits, read_bytes
from listlens.images.prepare import Prepared, prepare
from listlens.quality.aesthetic import aesthetic_model
from listlens.quality.signals import VIEW_PX
from listlens.quality.technical import features, score, technical_model
from listlens.sources.folder import FolderSource
from listlens.sources.paths import printable, real_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone

PathLike = str | os.PathLike[str]

CHUNK_FILES = 32
"""Photos read, measured and embedded at once; a view takes about 0.6 MB."""

CHECKED = {
    "dark": "too dark",
    "light": "too bright",
    "blurry": "blur",
    "noisy": "noise",
    "low_information": "almost empty",
    "frame": "frame or bars",
    "small": "low resolution",
    "odd_aspect_ratio": "very long or tall",
}
"""What the checks of `images.checks` find, in the words of the reasons."""


@dataclass(frozen=True, slots=True)
class PhotoQuality:
    """What is known of one photo's quality.

    Args:
        photo: its path, printable.
        status: ``ok``, or ``failed`` with a reason.
        score: technical, in [0, 1]; 1 where nothing is wrong. None where the photo failed.
        aesthetic: in [0, 1], what a crowd would vote; None where the photo failed.
        reasons: what pulls the technical score down, the worst first; of a failed photo, why.
        reason: why it failed.
        detail: in words.
    """

    photo: str
    status: Status
    score: float | None = None
    aesthetic: float | None = None
    reasons: tuple[str, ...] = ()
    reason: Reason | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `listlens quality --json` prints it."""
        return {
            "photo": self.photo,
            "status": self.status.value,
            "score": self.score,
            "aesthetic": self.aesthetic,
            "reasons": list(self.reasons),
            "reason": self.reason.value if self.reason else None,
            "detail": self.detail,
        }


def photo_quality(
    photos: PathLike | Iterable[PathLike], *, limits: Limits = DEFAULT_LIMITS
) -> Iterator[PhotoQuality]:
    """Score photos technically and aesthetically; no project and no label is needed.

    Scores bunch in the middle: compare them with other photos of yours rather than with a number.

    Args:
        photos: files or folders; a folder stands for all photos in it and below.
        limits: what one photo may cost.

    Yields:
        One answer a photo, in order, while it is being computed. A photo that cannot be used has
        status ``failed`` and says why.

    Raises:
        NotFoundError: none of `photos` exists; the message names the first.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (64, 48), "black").save(f"{folder}/a.png")
        ...     (one,) = photo_quality(folder)
        >>> one.score < 0.9, "too dark" in one.reasons
        (True, True)
    """
    given = [photos] if isinstance(photos, str | os.PathLike) else list(photos)
    if given and not any(os.path.lexists(path) for path in given):
        raise NotFoundError(
            f"there is no file or folder {printable(os.fspath(given[0]))}. Give photos, or a "
            "folder of photos."
        )
    return _answers(_listed(given), limits)


def _answers(listed: Iterator[str | PhotoQuality], limits: Limits) -> Iterator[PhotoQuality]:
    backbone = load_backbone()
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="listlens") as pool:
        while chunk := list(islice(listed, CHUNK_FILES)):
            yield from _judged(chunk, backbone, limits, pool)


def _listed(given: Iterable[PathLike]) -> Iterator[str | PhotoQuality]:
    """Yield the printable path of every photo, and an answer for what is none."""
    for path in given:
        if not Path(path).is_dir():
            yield printable(os.fspath(path))
            continue
        root = printable(os.fspath(path))
        for row in FolderSource(Path(path)).rows():
            if isinstance(row, PhotoRow):
                yield f"{root.rstrip('/')}/{row.photo_id}"
            elif isinstance(row, RejectedRow):
                name = f"{root.rstrip('/')}/{row.at}"
                yield _failed(name, PhotoError(row.reason, row.detail))


def _failed(photo: str, error: PhotoError) -> PhotoQuality:
    return PhotoQuality(
        photo,
        Status.FAILED,
        reasons=(error.reason.value.replace("_", " "),),
        reason=error.reason,
        detail=error.detail,
    )


def _judged(
    chunk: list[str | PhotoQuality], backbone: Backbone, limits: Limits, pool: Executor
) -> Iterator[PhotoQuality]:
    def load(item: str | PhotoQuality) -> Prepared | PhotoQuality:
        if isinstance(item, PhotoQuality):
            return item
        try:
            data = read_bytes(real_path(item), limits)
            return prepare(data, backbone.preprocessing, limits=limits, view_px=VIEW_PX)
        except PhotoError as error:
            return _failed(item, error)

    loaded = list(pool.map(load, chunk))
    usable = [one for one in loaded if isinstance(one, Prepared)]
    vectors = iter(backbone.embed(np.stack([one.pixels for one in usable])) if usable else ())
    jobs = [(one, next(vectors) if isinstance(one, Prepared) else None) for one in loaded]
    yield from pool.map(
        lambda item, job: job[0] if job[1] is None else judge(item, job[0], job[1]), chunk, jobs
    )


def judge(photo: str, prepared: Prepared, embedding: NDArray[np.floating]) -> PhotoQuality:
    """Judge one photo that was prepared with measures and a view.

    Args:
        photo: its printable path.
        prepared: by `prepare(..., view_px=VIEW_PX)`.
        embedding: `(1280,)` of the embedded backbone.
    """
    assert prepared.measures is not None and prepared.view is not None
    model = technical_model()
    penalties = model.penalties(features(embedding, prepared.measures, prepared.view))
    reasons = model.reasons(penalties)
    reasons += [CHECKED[flag.name] for flag in flags(prepared.measures) if flag.name in CHECKED]
    return PhotoQuality(
        photo,
        Status.OK,
        score=score(penalties),
        aesthetic=aesthetic_model().score(embedding),
        reasons=tuple(dict.fromkeys(reasons)),
    )
