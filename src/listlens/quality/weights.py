"""The shipped weights: one safetensors file a model, and a JSON card that names its sha256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import ModelError

DATA = Path(__file__).parent / "data"


def load_weights(name: str) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Read and check one model.

    Args:
        name: ``technical`` or ``aesthetic``.

    Returns:
        Its arrays by name, in float32 (stored in float16 where that is enough), and its card.

    Raises:
        ModelError: a file is absent or damaged.
    """
    from safetensors.numpy import load

    path = DATA / f"{name}.safetensors"
    try:
        card = read_card(name)
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}). Install listlens again.") from error
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise ModelError(
            f"{path} is damaged: its sha256 is not the card's. Install listlens again."
        )
    return {key: array.astype(np.float32) for key, array in load(data).items()}, card


def read_card(name: str) -> dict[str, Any]:
    """Return what a model's card says: what it was trained on, licences, results.

    Args:
        name: ``technical`` or ``aesthetic``.
    """
    card: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return card


def write_weights(
    name: str, arrays: Mapping[str, NDArray[np.floating]], card: Mapping[str, Any]
) -> Path:
    """Write a model where `load_weights` finds it; the tools that train the models call this.

    Args:
        name: of the model.
        arrays: float16 or float32.
        card: JSON-able; `sha256` is added.

    Returns:
        The path of the weights.
    """
    from safetensors.numpy import save

    data = save({key: np.ascontiguousarray(array) for key, array in sorted(arrays.items())})
    DATA.mkdir(exist_ok=True)
    path = DATA / f"{name}.safetensors"
    path.write_bytes(data)
    whole = {"name": name, "sha256": hashlib.sha256(data).hexdigest(), **card}
    path.with_suffix(".json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return path
