"""What a model's training photos and held-out answers look like, so that a shift can be seen.

Of each photo a row of numbers is made: where it lies among the training's photos, which class it
got, how sure that was, and whether a person should look. The mean row of a day is compared with
that of the training; so a day is kept as one row of sums, and no photo is looked at again.

Where it lies: its place in the standardised principal components of the training's embeddings, in
standard deviations, and how much of it lies outside of them. The squared length of the mean is
Hotelling's T-squared a photo (1931, Annals of Mathematical Statistics 2), with what is outside as
one more coordinate (Jackson and Mudholkar 1979, Technometrics 21).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listlens.core.errors import ModelError
from listlens.core.types import Kind
from listlens.metrics.drift import Null, population_stability

FILE = "reference.safetensors"

COMPONENTS = 32
"""Of the embeddings. Chosen on the houses, half of them against the other half, 600 draws of 200:
of 8, 16, 32 and 64 it is the least that finds 10 % of cars, and of goods, in 9 of 10 draws, and
none of the 600 was a false alarm at p < 0.001."""

MOST_ROWS = 4000
"""Training photos that the components are computed from: they take 0.3 s then."""

LEAST_ROWS, LEAST_CLUSTERS = 100, 20
"""With fewer photos or listings the components say more of them than of the next ones."""

MOST_CLASSES = 64
"""The most frequent classes have a column of their own; the others share the last one."""

EDGES = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Of the columns for the top class's probability."""

P = 0.001
"""How often a part may be found to have moved by chance."""

MAJOR = {"look": 0.5, "classes": 0.25, "sureness": 0.25, "review": 0.25}
"""Least distance that is told, however many photos show it: half a standard deviation is called a
medium effect (Cohen 1988, Statistical Power Analysis); 0.25 of PSI a major shift (Siddiqi 2006)."""

_ARRAYS = (
    "mean",
    "std",
    "basis",
    "scale",
    "outside",
    "columns",
    "class_ids",
    "means",
    "nulls",
    "n",
)


@dataclass(frozen=True, slots=True)
class Moved:
    """How far one part of the rows moved.

    Args:
        part: ``look`` (the photos), ``classes``, ``sureness`` (the top class's probability) or
            ``review``.
        distance: look: in standard deviations; else the population stability index.
        threshold: that it has to exceed.
        p: how often chance gives so much.
    """

    part: str
    distance: float
    threshold: float
    p: float

    @property
    def found(self) -> bool:
        """Whether it moved further than chance, and far enough to matter."""
        return self.distance > self.threshold


@dataclass(frozen=True, slots=True)
class Reference:
    """The rows of a training, in sums. `fit` makes one.

    Args:
        mean, std: `(d,)` float32 of the embeddings; empty where too few photos were there.
        basis: `(m, d)` float32 principal components of the standardised embeddings; kept in half
            precision.
        scale: `(m,)` float32 standard deviations along them.
        outside: `(2,)` mean and standard deviation of the logarithm of what lies outside of them.
        columns: `(k,)` int64, class to its column.
        class_ids: `(c,)` int64, permanent ids of the columns; -1 for those that share one, -2 for
            photos that got no class.
        means: `(f,)` float64, mean row.
        nulls: `(4, 2)` float64, see `metrics.drift.Null`: look, classes, sureness, review.
        n: `(4,)` int64 rows that these rest on.
        multi: whether a photo has any number of classes.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    basis: NDArray[np.float32]
    scale: NDArray[np.float32]
    outside: NDArray[np.float64]
    columns: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    means: NDArray[np.float64]
    nulls: NDArray[np.float64]
    n: NDArray[np.int64]
    multi: bool

    @classmethod
    def fit(
        cls,
        embeddings: NDArray[np.floating],
        probs: NDArray[np.floating],
        review: NDArray[np.bool_],
        clusters: NDArray[np.integer],
        class_ids: NDArray[np.integer],
        kind: Kind,
    ) -> Reference:
        """Make one of a training's photos.

        Args:
            embeddings: `(n, d)`.
            probs: `(n, k)` held-out; NaN where a row has none.
            review: `(n,)` whether a person should look, by the held-out decision.
            clusters: `(n,)`, what is not independent: listings and duplicates.
            class_ids: `(k,)` permanent ids of the classes.
            kind: of the task.
        """
        multi, there = kind == "multi", np.isfinite(probs[:, 0])
        columns, ids = _columns(probs[there], np.asarray(class_ids, np.int64), multi)
        with threadpool_limits(1):  # on a busy machine threads wait for each other for longer
            parts: dict[str, Any] = _components(embeddings, clusters)
        empty = cls(
            **parts, columns=columns, class_ids=ids, means=np.zeros(0), nulls=np.zeros((4, 2)),
            n=np.zeros(4, np.int64), multi=multi,
        )  # fmt: skip
        look = empty.look(embeddings)
        # Of its own photos too little lies outside: what is outside is taken as for photos that
        # the components were not computed from.
        said = empty.said(probs[there], review[there])
        means = np.concatenate([_mean(look), _rates(said, len(ids))])
        nulls = [Null.of(look, clusters)] if look.shape[1] else [Null(0.0, 0.0, len(embeddings))]
        scaled = said / np.sqrt(_weights(means[look.shape[1] :], len(ids)))
        cut = np.split(scaled, _cuts(len(ids)), axis=1)
        nulls += [Null.of(part, clusters[there]) for part in cut]
        return cls(
            **parts, columns=columns, class_ids=ids, means=means,
            nulls=np.array([(one.trace, one.square) for one in nulls]),
            n=np.array([one.n for one in nulls]), multi=multi,
        )  # fmt: skip

    # -- rows -------------------------------------------------------------------------------

    def rows(
        self,
        embeddings: NDArray[np.floating],
        probs: NDArray[np.floating],
        review: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return the rows `(n, f)` of photos; their sum is what is kept of a day."""
        return np.hstack([self.look(embeddings), self.said(probs, review)])

    def look(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where photos lie: `(n, m + 1)`, or `(n, 0)` where too few photos were there."""
        if not len(self.scale):
            return np.zeros((len(embeddings), 0))
        along, outside = _along(embeddings, self.mean, self.std, self.basis)
        beyond = (np.log(outside) - self.outside[0]) / self.outside[1]
        return np.hstack([along / self.scale, beyond[:, None]]).astype(np.float64)

    def said(self, probs: NDArray[np.floating], review: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What the answers are: columns of classes, of sureness, and of review and none."""
        n, at = len(probs), np.arange(len(probs))
        classes = np.zeros((n, len(self.class_ids)))
        if self.multi:
            given = probs >= 0.5
            for column in range(len(self.class_ids) - 1):
                classes[:, column] = given[:, self.columns == column].any(axis=1)
            classes[:, -1] = ~given.any(axis=1)
        else:
            classes[at, self.columns[probs.argmax(axis=1)]] = 1
        sure = np.zeros((n, len(EDGES) + 1))
        sure[at, np.searchsorted(EDGES, probs.max(axis=1), side="right")] = 1
        return np.hstack([classes, sure, review[:, None], ~review[:, None]])

    # -- comparing --------------------------------------------------------------------------

    def compare(self, sums: NDArray[np.float64], n: int) -> list[Moved]:
        """Compare n photos with the training.

        Args:
            sums: `(f,)`, of their rows.
            n: photos, above 0.
        """
        m = self._n_look
        nulls = [
            Null(float(trace), float(square), int(n_rows))
            for (trace, square), n_rows in zip(self.nulls, self.n, strict=True)
        ]
        found = []
        if m:
            squared = float(((sums[:m] / n - self.means[:m]) ** 2).sum())
            found.append(_moved("look", squared, nulls[0], n))
        now = np.split(sums[m:], _cuts(len(self.class_ids)))
        before = np.split(self.means[m:], _cuts(len(self.class_ids)))
        names = ("classes", "sureness", "review")
        for name, counts, rates, null in zip(names, now, before, nulls[1:], strict=True):
            found.append(_moved(name, population_stability(counts, n, rates)[0], null, n))
        return found

    def shares(self, sums: NDArray[np.float64], n: int) -> list[tuple[int, float, float]]:
        """Return of each class column its id, its share in training and its share now."""
        at = slice(self._n_look, self._n_look + len(self.class_ids))
        before, now = self.means[at].tolist(), (sums[at] / n).tolist()
        return list(zip(self.class_ids.tolist(), before, now, strict=True))

    def reviewed(self, sums: NDArray[np.float64], n: int) -> tuple[float, float]:
        """Return the shares that a person should look at: in training and now."""
        return float(self.means[-2]), float(sums[-2] / n)

    @property
    def _n_look(self) -> int:
        return len(self.scale) + 1 if len(self.scale) else 0

    @property
    def n_columns(self) -> int:
        """Length of a row."""
        return len(self.means)

    # -- file -------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write one file into a model folder."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        arrays |= {"basis": arrays["basis"].astype(np.float16), "multi": np.array([self.multi])}
        (folder / FILE).write_bytes(save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing (a model of an older version has none) or damaged.
        """
        from safetensors.numpy import load_file

        try:
            arrays: Mapping[str, Any] = load_file(folder / FILE)
            parts = {name: arrays[name] for name in _ARRAYS}
            parts["basis"] = parts["basis"].astype(np.float32)
            found = cls(**parts, multi=bool(arrays["multi"][0]))
            wanted = found._n_look + len(found.class_ids) + len(EDGES) + 3
            if found.means.shape != (wanted,) or found.nulls.shape != (4, 2):
                raise ValueError(f"{found.means.shape} means, {wanted} expected")
        except FileNotFoundError:
            raise ModelError(
                f"{folder / FILE} is not there: the model is of an older version, or its training "
                "had too few photos. Train the task again: listlens train TASK --force"
            ) from None
        except Exception as error:  # safetensors raises its own root for a damaged header
            raise ModelError(f"{folder / FILE} is damaged: {error}") from error
        return found


def _moved(part: str, squared: float, null: Null, n: int) -> Moved:
    """Of the look the distance is told in standard deviations, the root of what is compared."""
    chance = null.threshold(n, P)
    if part == "look":
        threshold = max(MAJOR[part], float(np.sqrt(chance)))
        return Moved(part, float(np.sqrt(squared)), threshold, null.p_value(squared, n))
    return Moved(part, squared, max(MAJOR[part], chance), null.p_value(squared, n))


def _components(
    embeddings: NDArray[np.floating], clusters: NDArray[np.integer]
) -> dict[str, NDArray[Any]]:
    """Mean, spread and principal components of the training's photos."""
    from sklearn.utils.extmath import randomized_svd

    rng = np.random.default_rng(0)
    names = rng.permutation(np.unique(clusters))
    if len(embeddings) < LEAST_ROWS or len(names) < LEAST_CLUSTERS:
        none = np.zeros(0, np.float32)
        return {
            "mean": none, "std": none, "basis": np.zeros((0, 0), np.float32), "scale": none,
            "outside": np.zeros(2),
        }  # fmt: skip
    _, size = np.unique(clusters, return_counts=True)
    most = max(LEAST_CLUSTERS, int(MOST_ROWS / size.mean()))
    half = np.isin(clusters, names[:most:2]), np.isin(clusters, names[1:most:2])
    chosen = embeddings[half[0] | half[1]].astype(np.float32)
    m = min(COMPONENTS, len(chosen) // 20)

    def fitted(rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        mean, std = rows.mean(axis=0), rows.std(axis=0) + 1e-6
        _, lengths, basis = randomized_svd((rows - mean) / std, m, random_state=0, n_iter=4)
        scale = np.maximum(lengths / np.sqrt(len(rows)), 1e-6).astype(np.float32)
        basis = np.ascontiguousarray(basis, np.float16).astype(np.float32)  # as it will be read
        return {"mean": mean, "std": std, "basis": basis, "scale": scale}

    logs = []
    for train, test in (half, half[::-1]):
        crossed = fitted(embeddings[train].astype(np.float32))
        del crossed["scale"]
        logs.append(np.log(_along(embeddings[test].astype(np.float32), **crossed)[1]))
    outside = np.concatenate(logs)
    return fitted(chosen) | {"outside": np.array([outside.mean(), outside.std() + 1e-6])}


def _along(
    rows: NDArray[np.floating],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    basis: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return places along the components `(n, m)`, and the squared length outside `(n,)`."""
    standard: NDArray[np.float32] = (rows.astype(np.float32) - mean) / std
    along: NDArray[np.float32] = standard @ basis.T
    outside = (standard**2).sum(axis=1) - (along**2).sum(axis=1)
    return along, np.maximum(outside, np.float32(1e-3))


def _columns(
    probs: NDArray[np.floating], class_ids: NDArray[np.int64], multi: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the most frequent classes a column each; return class to column, and column to id."""
    k = len(class_ids)
    counts = (probs >= 0.5).sum(axis=0) if multi else np.bincount(probs.argmax(axis=1), minlength=k)
    if k <= MOST_CLASSES:
        ids = class_ids
        columns = np.arange(k)
    else:
        own = np.sort(np.argsort(-counts, kind="stable")[: MOST_CLASSES - 1])
        columns = np.full(k, MOST_CLASSES - 1)
        columns[own] = np.arange(MOST_CLASSES - 1)
        ids = np.append(class_ids[own], -1)
    return columns.astype(np.int64), np.append(ids, -2) if multi else ids


def _mean(look: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean place, with nothing outside beyond what is expected of photos not seen."""
    mean = look.mean(axis=0) if len(look) else look.sum(axis=0)
    if len(mean):
        mean[-1] = 0.0
    return np.asarray(mean)


def _rates(said: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """Mean of each column, drawn away from 0 by half a photo that all columns of a part share."""
    parts = np.split(said, _cuts(n_classes), axis=1)
    return np.concatenate([(p.sum(axis=0) + 0.5 / p.shape[1]) / (len(said) + 0.5) for p in parts])


def _weights(rates: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """What a column's squared difference is divided by, so that their sum is near the PSI."""
    return np.concatenate([p * p.sum() for p in np.split(rates, _cuts(n_classes))])


def _cuts(n_classes: int) -> list[int]:
    """Where the columns of the answers part: classes, sureness, review."""
    return [n_classes, n_classes + len(EDGES) + 1]
