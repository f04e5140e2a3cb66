"""`PhotoClassifier`: listlens for scikit-learn, photos in, classes out, no project needed."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from listlens.backbones.registry import load_backbone
from listlens.core.errors import InputError
from listlens.images.decode import Limits
from listlens.learn.candidates import TrainOptions
from listlens.learn.dataset import TrainingSet
from listlens.learn.recipe import train
from listlens.pipeline.apply import embed_files
from listlens.pipeline.contents import CHUNK_FILES, batched, worker_pool
from listlens.sources.paths import printable, real_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone

CACHED_PHOTOS = 50_000
"""Embeddings kept in memory between calls: 50,000 x 1280 float16 are 128 MB."""


class PhotoClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn one class a photo from file paths and labels.

    Embeddings are kept in memory by path, size and time of the file, so `cross_val_score` and
    repeated fits decode each photo once a process.

    Args:
        seed: of the internal cross-validation.
        engine: ``auto``, ``openvino`` or ``onnxruntime``.
        class_weight: ``auto``, ``none`` or ``balanced``.

    Attributes:
        classes_: `(k,)`, sorted.

    Example:
        ``PhotoClassifier().fit(paths, labels, groups=listing_ids).predict(new_paths)``
    """

    def __init__(self, seed: int = 0, engine: str = "auto", class_weight: str = "auto") -> None:
        self.seed = seed
        self.engine = engine
        self.class_weight = class_weight

    def fit(
        self, X: Iterable[Any], y: Sequence[Any], groups: Sequence[Any] | None = None
    ) -> PhotoClassifier:
        """Learn from photos.

        Args:
            X: paths of n photos.
            y: n labels.
            groups: n values; photos with equal ones (a listing's) are held out together when the
                regularisation and the calibration are chosen. Default: every photo on its own.

        Raises:
            InputError: a photo cannot be used (all such are named), or lengths differ.
            TrainingError: fewer than two classes that can be learned.
        """
        paths = [os.fspath(path) for path in X]
        labels = np.asarray(y)
        if len(labels) != len(paths) or (groups is not None and len(groups) != len(paths)):
            raise InputError(f"{len(paths)} photos need as many labels and groups")
        names, targets = np.unique(labels, return_inverse=True)
        unit = np.arange(len(paths)) if groups is None else np.asarray(groups)
        group = np.unique(unit, return_inverse=True)[1].astype(np.int64)
        data = TrainingSet(
            kind="single",
            classes=tuple(map(str, names)),
            embeddings=self._embed(paths).astype(np.float32),
            targets=targets.astype(np.int64),
            groups=group,
            listings=group,
            given_split=np.full(len(paths), "", dtype="U5"),
            names=tuple(map(printable, paths)),
        )
        options = TrainOptions(seed=self.seed, class_weight=self.class_weight)  # type: ignore[arg-type]
        self._trained = train(data, options)
        learned = [data.classes.index(name) for name in self._trained.classes]
        self.classes_: NDArray[Any] = names[learned]
        self.set_aside_ = self._trained.set_aside
        return self

    def predict_proba(self, X: Iterable[Any]) -> NDArray[np.float32]:
        """Return calibrated probabilities `(n, k)` in the order of `classes_`."""
        check_is_fitted(self, "classes_")
        vectors = self._embed([os.fspath(path) for path in X]).astype(np.float32)
        logits = self._trained.head.logits(vectors)
        return self._trained.calibration.probs(logits, "single")

    def predict(self, X: Iterable[Any]) -> NDArray[Any]:
        """Return the most probable class of each photo, `(n,)`."""
        probs = self.predict_proba(X)  # first: it says so where nothing was learned yet
        best: NDArray[Any] = self.classes_[probs.argmax(axis=1)]
        return best

    def _embed(self, paths: list[str]) -> NDArray[np.float16]:
        backbone = load_backbone(engine=self.engine)  # type: ignore[arg-type]
        return _CACHE.embed(paths, backbone)


class _EmbeddingCache:
    """Embeddings by file and space, the least recently used dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[Any, ...], NDArray[np.float16]] = OrderedDict()

    def embed(self, paths: list[str], backbone: Backbone) -> NDArray[np.float16]:
        """Embed files, each at most once while it is unchanged; `(n, dim)`."""
        keys = [_file_key(path, backbone.space.id) for path in paths]
        todo = {key: path for key, path in zip(keys, paths, strict=True) if key not in self._kept}
        fresh: dict[tuple[Any, ...], NDArray[np.float16]] = {}
        problems: list[str] = []
        with worker_pool() as pool:
            for batch in batched(todo.items(), CHUNK_FILES):
                names = [printable(path) for _, path in batch]
                vectors, errors = embed_files(names, backbone, Limits(), pool)
                problems += [
                    f"{name}: {error}" for name, error in zip(names, errors, strict=True) if error
                ]
                usable = [key for (key, _), e in zip(batch, errors, strict=True) if e is None]
                fresh.update(zip(usable, vectors, strict=True))
        if problems:
            shown = "\n".join(f"  {problem}" for problem in problems[:20])
            raise InputError(f"{len(problems)} photos cannot be used; leave them out:\n{shown}")
        rows = [fresh[key] if key in fresh else self._kept[key] for key in keys]
        self._keep(keys, rows)
        return np.stack(rows) if rows else np.empty((0, backbone.space.dim), np.float16)

    def _keep(self, keys: list[tuple[Any, ...]], rows: list[NDArray[np.float16]]) -> None:
        for key, row in zip(keys, rows, strict=True):
            self._kept[key] = row
            self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _file_key(path: str, space_id: str) -> tuple[Any, ...]:
    """What must be equal for a file's embedding to be the same."""
    full = str(Path(real_path(printable(path))).absolute())
    try:
        status = os.stat(full)
    except OSError:
        return (full, None, None, space_id)
    return (full, status.st_size, status.st_mtime_ns, space_id)


_CACHE = _EmbeddingCache(CACHED_PHOTOS)
