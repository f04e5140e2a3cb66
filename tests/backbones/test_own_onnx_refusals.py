"""Every wrong word in a description, and every graph that does not fit, is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from listlens.backbones.registry import engines, load_backbone
from listlens.core.errors import InputError, ListlensError, ModelError, NotFoundError
from listlens.core.types import Preprocessing

ENGINES = [e.name for e in engines() if e.available]
GOOD = {"size_px": 32, "mean": [0.5] * 3, "std": [0.25] * 3, "embedding": "pooled"}
KERNEL = np.random.default_rng(3).normal(size=(5, 3, 1, 1)).astype(np.float32)
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def value(name: str, kind: int, shape: tuple) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def write(path: Path, described: object, *, kind: int = FLOAT, shape: tuple = ("N", 3, 32, 32),
          pooled: tuple = ("N", 5), maps: tuple = ("N", 5, "h", "w"),
          more_inputs: tuple = ()) -> str:  # fmt: skip
    """Write a network of one 1x1 convolution and its mean, and its description."""
    nodes = [helper.make_node("Conv", ["x", "k"], ["maps"]),
             helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
             helper.make_node("Flatten", ["mean"], ["pooled"])]  # fmt: skip
    if kind == UINT8:
        nodes = [helper.make_node("Cast", ["image"], ["f"], to=FLOAT),
                 helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
                 *nodes]  # fmt: skip
    inputs = [value("image" if kind == UINT8 else "x", kind, shape), *more_inputs]
    outputs = [value("pooled", FLOAT, pooled), value("maps", FLOAT, maps)]
    graph = helper.make_graph(
        nodes, "tiny", inputs, outputs, [numpy_helper.from_array(KERNEL, "k")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    data = described if isinstance(described, bytes) else json.dumps(described).encode()
    Path(f"{path}.json").write_bytes(data)
    return str(path)


def photos(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), np.uint8)


WRONG = {
    "not utf-8": (b"\xff\xfe{}", "is not JSON"),
    "empty": (b"", "is not JSON"),
    "a number": (b"7", "JSON object, not int"),
    "null": (b"null", "JSON object, not NoneType"),
    "size missing": ({"embedding": "pooled"}, "'size_px' is missing. Needed: size_px, embedding"),
    "embedding missing": ({"size_px": 32}, "'embedding' is missing"),
    "key misspelt": ({**GOOD, "interpolaton": "box"}, "Did you mean 'interpolation'"),
    "key of another house": (
        {**GOOD, "resize": 256},
        "unknown key 'resize'. .*Allowed: 'embedding'",
    ),
    "size too small": ({**GOOD, "size_px": 15}, "size_px is 15. Allowed: 16 to 2048"),
    "size too large": ({**GOOD, "size_px": 2049}, "size_px is 2049. Allowed: 16 to 2048"),
    "size is a fraction": ({**GOOD, "size_px": 32.0}, r"size_px is 32\.0"),
    "size is a truth": ({**GOOD, "size_px": True}, "size_px is True"),
    "size is a pair": ({**GOOD, "size_px": [32, 32]}, r"size_px is \[32, 32\]"),
    "fit unknown": ({**GOOD, "fit": "pad"}, "fit is 'pad'. Allowed: .*'squash', 'crop'"),
    "fit is a list": ({**GOOD, "fit": ["crop"]}, r"fit is \['crop'\]"),
    "filter unknown": ({**GOOD, "interpolation": "lanczos"}, "Allowed: .*'bicubic', 'bilinear'"),
    "filter is null": ({**GOOD, "interpolation": None}, "interpolation is None"),
    "embedding unknown": ({**GOOD, "embedding": "poole"}, "Did you mean 'pooled'"),
    "embedding empty": ({**GOOD, "embedding": ""}, "Allowed: 'maps', 'pooled'"),
    "embedding is null": ({**GOOD, "embedding": None}, "embedding is None"),
    "map unknown": ({**GOOD, "feature_map": "map"}, "Did you mean 'maps'"),
    "map is null": ({**GOOD, "feature_map": None}, "feature_map is None"),
    "map and embedding swapped": ({**GOOD, "embedding": "maps"}, "embedding needs 2 dimensions"),
    "mean missing": ({k: v for k, v in GOOD.items() if k != "mean"}, "needs 'mean'.*says None"),
    "std missing": ({k: v for k, v in GOOD.items() if k != "std"}, "needs 'std'.*says None"),
    "mean of one": ({**GOOD, "mean": 0.5}, "'mean': three numbers"),
    "mean of four": ({**GOOD, "mean": [0.5] * 4}, "'mean': three numbers"),
    "mean of words": ({**GOOD, "mean": ["0.5"] * 3}, "'mean': three numbers"),
    "mean of truths": ({**GOOD, "mean": [True] * 3}, "'mean': three numbers"),
    "mean not a number": ({**GOOD, "mean": [0.5, 0.5, float("nan")]}, "'mean': three numbers"),
    "std zero": ({**GOOD, "std": [0.2, 0, 0.2]}, "above 0"),
    "std negative": ({**GOOD, "std": [0.2, -1, 0.2]}, "above 0"),
    "std not a number": ({**GOOD, "std": [float("nan"), 0.2, 0.2]}, "above 0"),
    "std infinite": ({**GOOD, "std": [0.2, 0.2, float("inf")]}, "above 0"),
}


@pytest.mark.parametrize(("described", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_description_says_what_came_and_what_is_allowed(tmp_path, described, said):
    path = tmp_path / "mine.onnx"
    with pytest.raises(InputError, match=said) as caught:
        load_backbone(write(path, described))
    assert str(path) in str(caught.value)


GRAPHS = {
    "another size": ({"shape": ("N", 3, 64, 64)}, r"takes x \['N', 3, 64, 64\]"),
    "two inputs": ({"more_inputs": (value("mask", FLOAT, ("N", 1)),)}, "Allowed: one input"),
    "uint8 channels first": ({"kind": UINT8, "shape": ("N", 3, 32, 32)}, "Allowed: one input"),
    "uint8 with a mean": ({"kind": UINT8, "shape": ("N", 32, 32, 3)}, "leave mean and std out"),
}


@pytest.mark.parametrize(("options", "said"), GRAPHS.values(), ids=GRAPHS)
def test_a_graph_with_other_inputs_is_refused_with_the_inputs_allowed(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        load_backbone(write(tmp_path / "mine.onnx", GOOD, **options))


def test_a_cut_file_is_damaged(tmp_path):
    path = tmp_path / "mine.onnx"
    write(path, GOOD)
    blob = path.read_bytes()
    for kept in (1, len(blob) // 3, len(blob) - 5):
        path.write_bytes(blob[:kept])
        with pytest.raises((ModelError, InputError)) as caught:
            load_backbone(str(path))
        assert "mine.onnx" in str(caught.value)


def test_a_folder_instead_of_a_file_is_said_plainly(tmp_path):
    (tmp_path / "mine.onnx").mkdir()
    with pytest.raises(NotFoundError, match="cannot be read"):
        load_backbone(str(tmp_path / "mine.onnx"))


def test_only_files_ending_in_onnx_are_taken_for_files(tmp_path):
    with pytest.raises(InputError, match=r"ending in \.onnx"):
        load_backbone(str(tmp_path / "model.pt"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_exported_for_one_photo_embeds_several(tmp_path, engine):
    """Exporters fix the batch to 1 unless told otherwise."""
    name = write(tmp_path / "one.onnx", GOOD, shape=(1, 3, 32, 32), pooled=(1, 5),
                 maps=(1, 5, 32, 32))  # fmt: skip
    images = photos(6)
    backbone = load_backbone(name, engine=engine, precision="f32")
    expected = ((images / 255 - 0.5) / 0.25).mean((1, 2)) @ KERNEL[:, :, 0, 0].T
    np.testing.assert_allclose(backbone.embed(images), expected, atol=4e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_uint8_graph_exported_for_one_photo_too(tmp_path, engine):
    described = {"size_px": 32, "embedding": "pooled"}
    name = write(tmp_path / "one.onnx", described, kind=UINT8, shape=(1, 32, 32, 3),
                 pooled=(1, 5), maps=(1, 5, 32, 32))  # fmt: skip
    images = photos(6)
    found = load_backbone(name, engine=engine, precision="f32").embed(images)
    np.testing.assert_allclose(
        found, images.mean((1, 2)) @ KERNEL[:, :, 0, 0].T, rtol=2e-3, atol=0.2
    )


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_the_description_becomes_the_preprocessing(tmp_path, fit, interpolation):
    described = {**GOOD, "fit": fit, "interpolation": interpolation}
    backbone = load_backbone(write(tmp_path / "mine.onnx", described), reduced_px=100)
    wanted = Preprocessing(size_px=32, fit=fit, interpolation=interpolation, reduced_px=100)
    assert backbone.preprocessing == wanted
    assert backbone.space.preprocessing == wanted.id


def test_without_choices_the_usual_ones_are_taken(tmp_path):
    backbone = load_backbone(write(tmp_path / "mine.onnx", GOOD))
    assert backbone.preprocessing == Preprocessing(size_px=32)


def test_the_same_two_files_are_the_same_space_wherever_they_lie(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    first = load_backbone(write(tmp_path / "mine.onnx", GOOD)).space
    second = load_backbone(write(tmp_path / "elsewhere" / "mine.onnx", GOOD)).space
    assert first == second


def test_other_weights_are_another_space(tmp_path):
    first = load_backbone(write(tmp_path / "mine.onnx", GOOD)).space
    model = onnx.load(tmp_path / "mine.onnx")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(KERNEL * 2, "k"))
    onnx.save(model, tmp_path / "mine.onnx")
    second = load_backbone(str(tmp_path / "mine.onnx")).space
    assert first.id != second.id
    assert not first.comparable(second)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_file_is_left_as_it_was(tmp_path, engine):
    path = tmp_path / "mine.onnx"
    write(path, GOOD)
    before = path.read_bytes(), Path(f"{path}.json").read_bytes()
    load_backbone(str(path), engine=engine).embed(photos(2))
    assert (path.read_bytes(), Path(f"{path}.json").read_bytes()) == before


@pytest.mark.parametrize("wrong", list(WRONG.values())[:6], ids=list(WRONG)[:6])
def test_refusals_are_errors_of_ours_and_of_the_language(tmp_path, wrong):
    """So that `except ValueError` of a caller who knows nothing of listlens catches them."""
    with pytest.raises(ListlensError) as caught:
        load_backbone(write(tmp_path / "mine.onnx", wrong[0]))
    assert isinstance(caught.value, ValueError)
