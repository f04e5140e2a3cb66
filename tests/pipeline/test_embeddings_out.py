"""Embeddings as `.npy`: the array and its index agree, and nothing else is overwritten."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from listlens import project as projects
from listlens.pipeline import export


def test_the_index_overwrites_no_answers_of_the_same_name(project: Path, tmp_path: Path) -> None:
    with projects.open(project) as opened:
        opened.export(tmp_path / "x.csv", probs=False)
        answers = (tmp_path / "x.csv").read_bytes()
        assert opened.export_embeddings(tmp_path / "x.npy") == 36
    assert (tmp_path / "x.csv").read_bytes() == answers
    with (tmp_path / "x.npy.csv").open(encoding="utf-8", newline="") as file:
        index = list(csv.DictReader(file))
    assert len(index) == 36
    assert list(index[0]) == ["listing_id", "image", "sha256"]


def test_the_array_fits_its_index_though_a_photo_came_in_meanwhile(
    project: Path, tmp_path: Path, new_shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that a later page of the scan finds are in both files, or in neither."""
    monkeypatch.setattr(export, "PHOTOS_AT_ONCE", 10)
    more = new_shop(tmp_path / "more", n_listings=1, seed=90)
    shutil.move(more.photos / "home-00", more.photos / "late")
    with projects.open(project) as opened:
        scan, ingested = opened.store.photos.scan, []

        def and_then_more(**how: object):
            for n, view in enumerate(scan(**how)):
                yield view
                if n == 20 and not ingested:
                    ingested.append(opened.ingest(more.photos))

        monkeypatch.setattr(opened.store.photos, "scan", and_then_more)
        n = opened.export_embeddings(tmp_path / "x.npy")
    assert ingested[0].new == 3
    array = np.load(tmp_path / "x.npy", allow_pickle=False)
    with (tmp_path / "x.npy.csv").open(encoding="utf-8", newline="") as file:
        rows = len(list(csv.DictReader(file)))
    assert array.shape == (n, 1280)
    assert rows == n


@pytest.mark.parametrize(("n", "dim"), [(0, 1280), (1, 1), (10**12, 10**6)])
def test_the_header_is_numpys_and_its_length_does_not_depend_on_n(n: int, dim: int) -> None:
    header = export._npy_header(n, dim)
    assert len(header) == 128
    file = io.BytesIO(header)
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == ((n, dim), False, np.dtype("<f2"))
    assert file.tell() == 128
