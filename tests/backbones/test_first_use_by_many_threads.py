"""The first photos of a process may come from many threads at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from listlens.backbones.registry import engines

SCRIPT = """
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from listlens.backbones.registry import load_backbone

backbone = load_backbone(engine={engine!r}, n_threads=4)
photo = np.zeros((8, 224, 224, 3), np.uint8)
with ThreadPoolExecutor(8) as pool:
    shapes = [e.shape for e in pool.map(backbone.embed, [photo] * 16)]
assert shapes == [(8, 1280)] * 16
"""


@pytest.mark.parametrize("engine", [e.name for e in engines() if e.available])
def test_a_process_whose_first_embeddings_are_asked_by_eight_threads_does_not_hang(
    engine: str,
) -> None:
    for _ in range(3):  # a race: once is not enough
        subprocess.run([sys.executable, "-c", SCRIPT.format(engine=engine)], check=True, timeout=60)
