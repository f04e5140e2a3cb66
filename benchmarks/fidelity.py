"""How close embeddings of JPEGs decoded at reduced scale are to those of a full decode.

python benchmarks/fidelity.py [FOLDER]     # without a folder: the demo's 39 photos
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from photos import originals

from listlens.backbones.registry import load_backbone
from listlens.images.files import read_bytes
from listlens.images.prepare import prepare

FULL_PX = 10**6
REDUCED = {"default": 448, "fast": 224}


def embeddings(paths: list[Path], reduced_px: int) -> NDArray[np.float32]:
    """Return normalised embeddings in float32 precision, so that only decoding differs."""
    backbone = load_backbone(precision="f32", reduced_px=reduced_px)
    ready = [prepare(read_bytes(path), backbone.preprocessing, measure=False) for path in paths]
    vectors = backbone.embed(np.stack([one.pixels for one in ready])).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def main() -> None:
    paths = sorted(Path(sys.argv[1]).rglob("*.jpg")) if sys.argv[1:] else originals()
    full = embeddings(paths, FULL_PX)
    print(f"{len(paths)} photos; cosine to a full decode: mean, smallest")
    for name, reduced_px in REDUCED.items():
        cosines = (full * embeddings(paths, reduced_px)).sum(axis=1)
        print(f"{name:8} {cosines.mean():.4f} {cosines.min():.4f}")


if __name__ == "__main__":
    main()
