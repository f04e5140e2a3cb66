"""Views of a network small enough to know the answer: any opset, any engine, clear refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from listlens.backbones.own_onnx import read_own_onnx
from listlens.backbones.registry import engines, load_backbone
from listlens.backbones.views import TINY, View, root, view_graph, write_view
from listlens.core.errors import InputError

ENGINES = [e.name for e in engines() if e.available]
KERNEL = np.random.default_rng(3).normal(size=(5, 3, 4, 4)).astype(np.float32) / 20
SIDE, CELL = 7, 4
SIZE = SIDE * CELL
ALL = [View(larger, crops, rooted) for larger, crops in ((0, 0), (1, 0), (0, 1))
       for rooted in (False, True)]  # fmt: skip


def tiny(path: Path, *, opset: int = 17, resize: bool = False, maps: bool = True) -> Path:
    """Write a network whose cells are 4 x 4 px each: a convolution of stride 4 and its mean."""
    nodes = [helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
             helper.make_node("Conv", ["x", "k"], ["maps"], strides=[CELL, CELL]),
             helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
             helper.make_node("Flatten", ["mean"], ["pooled"])]  # fmt: skip
    constants = [numpy_helper.from_array(KERNEL, "k")]
    if resize:  # fixes the size, as attention with learned positions does
        constants.append(numpy_helper.from_array(np.ones((1, 3, SIZE, SIZE), np.float32), "place"))
        nodes[1].output[0] = "raw"
        nodes.insert(2, helper.make_node("Add", ["raw", "place"], ["x"]))
    outputs = [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", 5])]
    if maps:
        outputs.append(
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", 5, SIDE, SIDE])
        )
    photo = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])
    graph = helper.make_graph(nodes, "tiny", [photo], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    described = {"size_px": SIZE, "embedding": "pooled", "fit": "crop", "interpolation": "box"}
    path.with_name(f"{path.name}.json").write_text(
        json.dumps(described | ({"feature_map": "maps"} if maps else {}))
    )
    return path


def photos(n: int, size_px: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size_px, size_px, 3), np.uint8)


def cells(images: np.ndarray) -> np.ndarray:
    """The feature map of a photo of any size, by hand: `(n, 5, rows, columns)`."""
    n, size, _, _ = images.shape
    k = size // CELL
    blocks = images.reshape(n, k, CELL, k, CELL, 3).astype(np.float64)
    return np.einsum("nrictd,kdit->nkrc", blocks, KERNEL)


def by_hand(view: View, images: np.ndarray) -> np.ndarray:
    """The embedding of a view, by hand."""
    if view.crops:
        step = images.shape[1] - SIZE
        parts = [images[:, a : a + SIZE, b : b + SIZE] for a in (0, step) for b in (0, step)]
        mean = np.mean([cells(part).mean(axis=(2, 3)) for part in parts], axis=0)
    else:
        mean = cells(images).mean(axis=(2, 3))
    return mean / np.sqrt(np.abs(mean) + TINY) if view.root else mean


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("views")


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("view", ALL, ids=lambda view: view.name or "plain")
def test_a_view_is_what_it_says_in_any_opset(folder, view, opset):
    network = read_own_onnx(tiny(folder / f"n{opset}.onnx", opset=opset), 64)
    path = folder / f"{view.name}{opset}.onnx"
    write_view(network, view, path)
    backbone = load_backbone(str(path), engine="onnxruntime", n_threads=1)
    size = backbone.preprocessing.size_px
    assert size == (40 if view.larger or view.crops else 28)
    images = photos(3, size)
    expected = by_hand(view, images)
    found = backbone.embed(images)
    assert np.allclose(found, expected, rtol=4e-3, atol=0.02)
    assert np.allclose(
        backbone.feature_maps(images).mean(axis=(2, 3)), expected, rtol=1e-3, atol=0.02
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_views_run_on_every_engine_and_each_photo_alone(folder, engine):
    path = folder / f"all-{engine}.onnx"
    write_view(
        read_own_onnx(tiny(folder / f"{engine}.onnx"), 64), View(crops=True, root=True), path
    )
    backbone = load_backbone(str(path), engine=engine, precision="f32", n_threads=2)
    images = photos(11, 40)
    together = backbone.embed(images)
    assert np.allclose(together, by_hand(View(crops=True, root=True), images), rtol=4e-3, atol=0.02)
    alone = np.concatenate([backbone.embed(images[i : i + 1]) for i in range(11)])
    assert np.allclose(together, alone, atol=2e-3)
    assert backbone.embed(images[:0]).shape == (0, 5)


def test_the_crops_overlap_on_the_map_where_they_overlap_on_the_photo(folder):
    path = folder / "overlap.onnx"
    write_view(read_own_onnx(tiny(folder / "o.onnx"), 64), View(crops=True), path)
    backbone = load_backbone(str(path), engine="onnxruntime", n_threads=1)
    images = photos(2, 40, seed=4)
    count = np.zeros((10, 10))
    for a in (0, 3):
        for b in (0, 3):
            count[a : a + 7, b : b + 7] += 1
    expected = cells(images) * count * (100 / 49 / 4)
    assert np.allclose(backbone.feature_maps(images), expected, rtol=1e-3, atol=0.05)


def test_how_photos_are_prepared_is_passed_on(folder):
    path = folder / "prepared.onnx"
    write_view(read_own_onnx(tiny(folder / "p.onnx"), 64), View(larger=True), path)
    made = read_own_onnx(path, 64).preprocessing
    assert (made.size_px, made.fit, made.interpolation) == (40, "crop", "box")


def test_the_same_view_is_the_same_network_and_another_is_another(folder):
    network = read_own_onnx(tiny(folder / "same.onnx"), 64)
    graphs = {view.name: view_graph(network, view)[0] for view in ALL}
    assert len(set(graphs.values())) == len(ALL)
    assert all(view_graph(network, view)[0] == graphs[view.name] for view in ALL)
    assert b"listlens.view" not in network.graph


def test_a_view_of_a_view_is_refused(folder):
    path, twice = folder / "once.onnx", folder / "twice.onnx"
    write_view(read_own_onnx(tiny(folder / "t.onnx"), 64), View(root=True), path)
    with pytest.raises(InputError):
        write_view(read_own_onnx(path, 64), View(crops=True), twice)


def test_a_network_of_one_size_only_says_that_it_cannot(folder):
    network = read_own_onnx(tiny(folder / "fixed.onnx", resize=True), 64)
    view_graph(network, View(root=True))
    with pytest.raises(InputError, match="cannot look at photos of 40 px"):
        view_graph(network, View(larger=True))


def test_a_network_without_feature_maps_names_what_is_missing(folder):
    network = read_own_onnx(tiny(folder / "none.onnx", maps=False), 64)
    with pytest.raises(InputError, match="'feature_map'"):
        write_view(network, View(root=True), folder / "never.onnx")
    assert not (folder / "never.onnx").exists()


def test_maps_that_are_not_square_have_no_views(folder):
    network = read_own_onnx(tiny(folder / "wide.onnx"), 64)
    model = onnx.load_from_string(network.graph)
    for output in model.graph.output:
        if output.name == "maps":
            output.type.tensor_type.shape.dim[3].dim_value = 8
    with pytest.raises(InputError, match="square"):
        view_graph(replace(network, graph=model.SerializeToString()), View(crops=True))


@settings(max_examples=50)
@given(st.lists(st.floats(-60000, 60000), min_size=1, max_size=6))
def test_the_root_keeps_signs_and_order(values):
    found = root(np.array([values]))[0]
    assert np.isfinite(found).all()
    assert (np.sign(found) * np.sign(values) >= 0).all()
    order = np.argsort(np.float32(values), kind="stable")
    assert (np.diff(found[order]) >= -1e-3).all()
    large = np.abs(values) > 0.01
    assert np.allclose(found[large] ** 2, np.abs(values)[large], rtol=1e-2)


def test_names_and_costs_say_what_a_view_is():
    assert [view.name for view in ALL] == [
        "",
        "root",
        "larger",
        "larger-root",
        "crops",
        "crops-root",
    ]
    assert [view.cost for view in ALL] == [1, 1, 2, 2, 4, 4]
