"""Other views of a photo are a backbone like any other, and do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.backbones.network import embedded
from listlens.backbones.registry import load_backbone
from listlens.backbones.views import View, root, view_graph, write_view
from listlens.core.errors import InputError

NETWORK = embedded(448)
VIEWS = [View(larger=True), View(crops=True), View(crops=True, root=True), View(root=True)]


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain():
    return load_backbone(engine="onnxruntime", n_threads=1)


def loaded(view, tmp_path, engine="onnxruntime"):
    path = tmp_path / f"{view.name}.onnx"
    write_view(NETWORK, view, path)
    return load_backbone(str(path), engine=engine, n_threads=1)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_mean_of_the_feature_maps_is_the_embedding(view, photos, tmp_path):
    backbone = loaded(view, tmp_path)
    size = backbone.preprocessing.size_px
    assert size == (320 if view.larger or view.crops else 224)
    some = np.ascontiguousarray(photos[:, :size, :size])
    maps = backbone.feature_maps(some)
    assert np.allclose(maps.mean(axis=(2, 3)), backbone.embed(some), atol=3e-3)


def test_four_crops_are_the_mean_of_four_corners(photos, plain, tmp_path):
    backbone = loaded(View(crops=True), tmp_path)
    corners = [photos[:, a : a + 224, b : b + 224] for a in (0, 96) for b in (0, 96)]
    each = [plain.embed(np.ascontiguousarray(c)).astype(np.float32) for c in corners]
    assert np.allclose(backbone.embed(photos), np.mean(each, axis=0), atol=3e-3)


def test_a_crop_keeps_its_place_on_the_feature_map(plain, tmp_path):
    photo = np.full((1, 320, 320, 3), 128, np.uint8)
    blank = loaded(View(crops=True), tmp_path).feature_maps(photo)
    photo[:, 8:72, 248:312] = np.random.default_rng(1).integers(0, 256, (64, 64, 3))
    changed = np.abs(loaded(View(crops=True), tmp_path).feature_maps(photo) - blank)[0].sum(0)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert changed.shape == (10, 10)
    assert row <= 3
    assert column >= 6


def test_the_root_in_the_graph_is_the_root_of_the_embedding(photos, plain, tmp_path):
    some = np.ascontiguousarray(photos[:, :224, :224])
    rooted = loaded(View(root=True), tmp_path).embed(some)
    assert np.allclose(rooted, root(plain.embed(some)), atol=3e-3)


def test_a_network_without_feature_maps_has_no_views():
    from dataclasses import replace

    with pytest.raises(InputError, match="no feature maps"):
        view_graph(replace(NETWORK, feature_map=None), View(root=True))
