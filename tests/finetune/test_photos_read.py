"""Photos for fine-tuning are read again from their files; those that are gone are named."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from listlens.core.errors import TrainingError
from listlens.core.types import Preprocessing
from listlens.images.decode import Limits
from listlens.learn.dataset import TrainingSet
from listlens.pipeline.dataset import Examples
from listlens.pipeline.finetune_photos import Ready, read_photos

N, SIZE = 240, 16


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    """Photos of one colour each, three a listing."""
    y = np.arange(N) % 3
    photos: list[Any] = []
    for i in range(N):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (20, 20), (i, i, i)).save(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        photos.append(SimpleNamespace(photo=SimpleNamespace(location=str(path), sha256=sha256)))
    groups = np.arange(N) // 3
    data = TrainingSet(
        "single",
        ("a", "b", "c"),
        np.eye(3, dtype=np.float32)[y],
        y,
        groups,
        groups,
        np.full(N, "", "<U5"),
        tuple(map(str, range(N))),
    )
    return Examples(photos, data, y, np.zeros(N, np.bool_), "", [])


def read(examples: Examples) -> Ready:
    with tempfile.TemporaryFile() as file:
        return read_photos(examples, Preprocessing(SIZE), 0, file, Limits())


def test_every_photo_is_there_once_with_its_own_pixels(examples: Examples) -> None:
    ready = read(examples)
    assert ready.lost == ()
    for pixels, rows in ((ready.learn, ready.parts.learn), (ready.apart, ready.parts.apart)):
        assert pixels[:, 0, 0, 0].tolist() == np.flatnonzero(rows).tolist()


def test_photos_whose_file_is_gone_or_changed_are_named(examples: Examples) -> None:
    Path(examples.photos[7].photo.location).unlink()
    Path(examples.photos[30].photo.location).write_bytes(b"other bytes")
    ready = read(examples)
    assert ready.lost == ("7", "30")
    assert len(ready.examples.photos) == N - 2 == len(ready.parts.learn)
    assert len(ready.learn) + len(ready.apart) == N - 2


@pytest.mark.parametrize("n_left", [0, 30, 130])
def test_too_few_that_are_left_are_told_how_many_are_gone(examples: Examples, n_left: int) -> None:
    for photo in examples.photos[n_left:]:
        Path(photo.photo.location).unlink()
    with pytest.raises(TrainingError, match=f"{n_left} labelled.*{N - n_left} more have lost"):
        read(examples)
