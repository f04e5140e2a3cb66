"""The model folder: versioned, self-contained, checked when read, never a pickle.

`model.json` says what it is, `head.safetensors` holds the numbers, `README.md` says it in words.
A model that brings its own network has `backbone.onnx` and its description too.
Written aside and renamed into place, so a folder is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from listlens._version import __version__
from listlens.core.errors import ModelError
from listlens.core.scale import scale_of
from listlens.core.types import EmbeddingSpace, Kind, Policy, Preprocessing
from listlens.learn.calibration import FLOOR, Calibration
from listlens.learn.card import card_text
from listlens.learn.heads import Head
from listlens.learn.policies import Decision, decide
from listlens.learn.recipe import Trained
from listlens.learn.trees import shape_of

FORMAT = 1
HALF_FROM = 1_000_000
"""Numbers from which on an array is stored in half precision, where that is exact."""
FILES = ("model.json", "head.safetensors", "README.md")
BACKBONE = "backbone.onnx"
"""The network of a model that brings its own, as `backbones.own_onnx` reads it."""
BACKBONE_FILES = (BACKBONE, f"{BACKBONE}.json")
_ARRAYS = ("weights", "bias", "slope", "offset")


@dataclass(frozen=True)
class Model:
    """A head with all that is needed to apply it and to say where it came from.

    Args:
        kind: of the task.
        classes: names, in the order of the probabilities; tree: the paths of its leaves; score: the
            steps of the scale.
        class_ids: permanent ids of the classes, in the same order.
        head: on raw embeddings; standardisation is folded in.
        calibration: of the head's logits.
        policy: the default one; another may be handed to `decide`.
        space: the embeddings it was trained on.
        preprocessing: how a photo becomes the backbone's input.
        task: name of the task.
        taxonomy_version: whose classes it answers.
        created: ISO 8601 time, handed in.
        fingerprint: of the training data, handed in.
        metrics: JSON-able, as reported when it was trained.
        training: JSON-able, how it was trained.
        own_backbone: ONNX file of the network that the model brings, with its description beside
            it; `save` copies both into the folder. None: the project's backbone embeds for it.
    """

    kind: Kind
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    head: Head
    calibration: Calibration
    policy: Policy
    space: EmbeddingSpace
    preprocessing: Preprocessing
    task: str = ""
    taxonomy_version: int = 1
    created: str = ""
    fingerprint: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    own_backbone: Path | None = None

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def from_trained(
        cls,
        trained: Trained,
        *,
        space: EmbeddingSpace,
        preprocessing: Preprocessing,
        task: str = "",
        class_ids: Sequence[int] | None = None,
        taxonomy_version: int = 1,
        created: str = "",
        fingerprint: str = "",
        metrics: Mapping[str, Any] | None = None,
        own_backbone: Path | None = None,
    ) -> Model:
        """Take what a training gave, and say what it was trained on.

        Args:
            trained: from `recipe.train`.
            space: of the embeddings in the training set.
            preprocessing: of the same embeddings.
            task: name of the task.
            class_ids: of `trained.classes`; 0, 1, ... by default.
            taxonomy_version: of the task.
            created: ISO 8601 time.
            fingerprint: of the training data.
            metrics: JSON-able, shown in the card.
            own_backbone: ONNX file of the network that gave the embeddings, where the model is to
                bring it.
        """
        training = {
            **trained.selection,
            "protocol": trained.protocol,
            "set_aside": trained.set_aside,
            "n_leaking": len(trained.leaks),
        }
        ids = range(len(trained.classes)) if class_ids is None else class_ids
        return cls(
            kind=trained.kind,
            classes=trained.classes,
            class_ids=tuple(int(i) for i in ids),
            head=trained.head,
            calibration=trained.calibration,
            policy=trained.policy,
            space=space,
            preprocessing=preprocessing,
            task=task,
            taxonomy_version=taxonomy_version,
            created=created,
            fingerprint=fingerprint,
            metrics=dict(metrics or {}),
            training=training,
            own_backbone=own_backbone,
        )

    def probs(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return calibrated probabilities `(n, k)` float32, in (0, 1), of `(n, d)` embeddings.

        Summed in float64: a photo gets the same numbers alone and in any batch, within 1e-7.

        Raises:
            ModelError: the embeddings have another length than the head.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.space.dim:
            raise ModelError(
                f"embeddings {embeddings.shape} do not fit: this model needs (n, {self.space.dim}) "
                f"from {self.space.backbone}"
            )
        return self.calibration.probs(self.head.logits(embeddings), self.kind)

    def decide(self, probs: NDArray[np.floating], policy: Policy | None = None) -> list[Decision]:
        """Decide rows of `probs` under the default policy, or the one given."""
        return decide(probs, policy or self.policy, self.kind, self.classes)

    def save(self, folder: Path) -> str:
        """Write the model folder; it must not exist yet.

        Returns:
            The content hash, sha256 over names and bytes of its files.

        Raises:
            ModelError: the folder exists.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        if folder.exists():
            raise ModelError(f"{folder} exists already; a model folder is never overwritten")
        arrays = {
            "weights": self.head.weights,
            "bias": self.head.bias,
            "slope": self.calibration.slope,
            "offset": self.calibration.offset,
        }
        head = save({name: smallest(a) for name, a in arrays.items()})
        meta = self._meta()
        meta["head_sha256"] = hashlib.sha256(head).hexdigest()
        content = self._network_files() | {
            "model.json": (json.dumps(meta, indent=1, ensure_ascii=False) + "\n").encode(),
            "head.safetensors": head,
            "README.md": card_text(meta).encode(),
        }
        _write_whole(folder, content)
        return folder_hash(folder)

    @property
    def card(self) -> str:
        """What it is, in words: the README of its folder."""
        return card_text(self._meta())

    def _network_files(self) -> dict[str, bytes]:
        """Name to bytes of the network that the model brings; empty where it brings none."""
        if self.own_backbone is None:
            return {}
        described = self.own_backbone.with_name(f"{self.own_backbone.name}.json")
        found = (self.own_backbone.read_bytes(), described.read_bytes())
        return dict(zip(BACKBONE_FILES, found, strict=True))

    def _meta(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "listlens": __version__,
            "task": self.task,
            "kind": self.kind,
            "classes": list(self.classes),
            "class_ids": list(self.class_ids),
            "taxonomy_version": self.taxonomy_version,
            "space": asdict(self.space),
            "preprocessing": asdict(self.preprocessing),
            "own_backbone": self.own_backbone is not None,
            "policy": asdict(self.policy),
            "probability_floor": FLOOR,
            "created": self.created,
            "fingerprint": self.fingerprint,
            "metrics": dict(self.metrics),
            "training": dict(self.training),
        }

    @classmethod
    def load(cls, folder: Path, expected_hash: str = "") -> Model:
        """Read and check a model folder.

        Args:
            folder: as `save` wrote it.
            expected_hash: what `save` returned, where known.

        Raises:
            ModelError: a file is missing or damaged, the format is newer, a shape or a number is
                wrong, or the hash differs.
        """
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise ModelError(f"{folder} is not a whole model folder: no {', '.join(missing)}")
        if expected_hash and folder_hash(folder) != expected_hash:
            raise ModelError(f"{folder} is not what was saved: its content hash differs")
        meta = _read_meta(folder)
        arrays = _read_arrays(folder, str(meta.get("head_sha256")))
        brings = meta.get("own_backbone") is True
        if brings and (absent := [n for n in BACKBONE_FILES if not (folder / n).is_file()]):
            raise ModelError(f"{folder} is not a whole model folder: no {', '.join(absent)}")
        try:
            model = _from_meta(meta, arrays)
            return replace(model, own_backbone=folder / BACKBONE) if brings else model
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"{folder / 'model.json'} is damaged: {error!r}") from error


def _from_meta(meta: dict[str, Any], arrays: dict[str, NDArray[np.float32]]) -> Model:
    if not all(isinstance(meta[key], list) for key in ("classes", "class_ids")):
        raise ValueError("class names and ids must be lists")
    policy: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in meta["policy"].items()
    }
    return Model(
        kind=meta["kind"],
        classes=tuple(meta["classes"]),
        class_ids=tuple(meta["class_ids"]),
        head=Head(arrays["weights"], arrays["bias"]),
        calibration=Calibration(arrays["slope"], arrays["offset"]),
        policy=Policy(**policy),
        space=EmbeddingSpace(**meta["space"]),
        preprocessing=Preprocessing(**meta["preprocessing"]),
        task=meta["task"],
        taxonomy_version=meta["taxonomy_version"],
        created=meta["created"],
        fingerprint=meta["fingerprint"],
        metrics=meta["metrics"],
        training=meta["training"],
    )


def _check(model: Model) -> None:
    """Raise ModelError where the parts do not fit together."""
    k, d = len(model.classes), model.space.dim
    if model.kind not in get_args(Kind):
        raise ModelError(f"kind {model.kind!r} is not known; allowed: {', '.join(get_args(Kind))}")
    if not all(isinstance(name, str) for name in model.classes):
        raise ModelError(f"class names must be texts: {list(model.classes)}")
    if len(set(model.classes)) != k or len(model.class_ids) != k or not k:
        raise ModelError(f"{k} classes with {len(model.class_ids)} ids; both must be equally many")
    if len(model.policy.thresholds) != k:
        raise ModelError(f"{len(model.policy.thresholds)} thresholds for {k} classes")
    _check_kind(model)
    shapes = {"weights": (k, d), "bias": (k,), "slope": (k,), "offset": (k,)}
    found = (model.head.weights, model.head.bias, model.calibration.slope, model.calibration.offset)
    for (name, shape), array in zip(shapes.items(), found, strict=True):
        if array.shape != shape or array.dtype != np.float32:
            raise ModelError(f"{name} is {array.dtype} {array.shape}; needs float32 {shape}")
        if not np.isfinite(array).all():
            raise ModelError(f"{name} holds a number that is not finite")


def smallest(array: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return a large array in half precision, where that holds every number of it exactly."""
    whole = np.ascontiguousarray(array, np.float32)  # safetensors passes over strides
    if array.size < HALF_FROM or np.abs(whole).max() > np.finfo(np.float16).max:
        return whole
    half = whole.astype(np.float16)
    return half if np.array_equal(half, whole) else whole


def _check_kind(model: Model) -> None:
    """Raise ModelError where the classes are no leaves of a tree, or no steps of a scale."""
    try:
        if model.kind == "tree":
            shape_of(model.classes)
        elif model.kind == "score":
            scale_of(model.classes)
    except ValueError as error:  # InputError is one too
        raise ModelError(f"the classes do not fit a {model.kind} task: {error}") from error


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / "model.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{folder / 'model.json'} cannot be read: {error}") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("format"), int):
        raise ModelError(f"{folder / 'model.json'} is not a listlens model")
    if meta["format"] > FORMAT:
        raise ModelError(
            f"{folder} has format {meta['format']}, and this listlens {__version__} reads up to "
            f"{FORMAT}; install listlens {meta.get('listlens', '')} or newer"
        )
    return meta


def _read_arrays(folder: Path, expected_sha256: str) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = (folder / "head.safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise ModelError(f"{folder / 'head.safetensors'} is not what model.json was written with")
    try:
        arrays: dict[str, NDArray[np.float32]] = load(data)
    except SafetensorError as error:
        raise ModelError(f"{folder / 'head.safetensors'} is damaged: {error}") from error
    # Half precision is how numbers are stored where it loses nothing, see `Model.save`.
    arrays = {n: a.astype(np.float32) if a.dtype == np.float16 else a for n, a in arrays.items()}
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ModelError(f"{folder / 'head.safetensors'} lacks {', '.join(missing)}")
    return arrays


def folder_hash(folder: Path) -> str:
    """Return the sha256 over names and bytes of the model's own files.

    The network that it brings is one of them; files beside them (an exported graph, say) do not
    count.
    """
    digest = hashlib.sha256()
    brought = [name for name in BACKBONE_FILES if (Path(folder) / name).is_file()]
    for name in (*FILES, *brought):
        data = (Path(folder) / name).read_bytes()
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def _write_whole(folder: Path, content: dict[str, bytes]) -> None:
    """Write files into a temporary neighbour, then rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, data in content.items():
            with (aside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        aside.chmod(0o755)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
