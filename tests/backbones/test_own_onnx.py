"""A user's own ONNX file: the same photos, whatever the file takes; clear words where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from listlens.backbones.registry import engines, load_backbone, model_file
from listlens.core.errors import InputError, ModelError, NotFoundError

ENGINES = [e.name for e in engines() if e.available]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FLOAT = {"size_px": 32, "mean": MEAN, "std": STD, "embedding": "pooled", "feature_map": "maps"}
KERNEL = np.random.default_rng(3).normal(size=(5, 3, 1, 1)).astype(np.float32)


def photos(n: int, size_px: int = 32) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, size_px, size_px, 3), np.uint8)


def tiny(path: Path, described: object, *, kind: int = TensorProto.FLOAT,
         shape: tuple = ("N", 3, 32, 32), gain: float = 1.0) -> str:  # fmt: skip
    """Write a network of one 1x1 convolution and its mean, and its description."""
    nodes = [helper.make_node("Conv", ["x", "k"], ["maps"]),
             helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
             helper.make_node("Flatten", ["mean"], ["pooled"])]  # fmt: skip
    if kind == TensorProto.UINT8:
        nodes = [helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
                 helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
                 *nodes]  # fmt: skip
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("image" if kind == TensorProto.UINT8 else "x", kind, shape)],
        [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", 5]),
         helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", 5, "h", "w"])],
        [numpy_helper.from_array(KERNEL * np.float32(gain), "k")])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    text = described if isinstance(described, str) else json.dumps(described)
    Path(f"{path}.json").write_text(text)
    return str(path)


def expected(images: np.ndarray) -> np.ndarray:
    scaled = (images / 255 - MEAN) / STD
    return scaled.mean(axis=(1, 2)) @ KERNEL[:, :, 0, 0].T


@pytest.mark.parametrize("engine", ENGINES)
def test_float_input_is_scaled_as_its_description_says(tmp_path, engine):
    name = tiny(tmp_path / "mine.onnx", {**FLOAT, "fit": "crop", "interpolation": "bilinear"})
    backbone = load_backbone(name, engine=engine, precision="f32", reduced_px=64)
    images = photos(11)
    found = backbone.embed(images)
    np.testing.assert_allclose(found, expected(images), atol=2e-3)
    np.testing.assert_allclose(backbone.feature_maps(images).mean((2, 3)), found, atol=2e-3)
    assert backbone.preprocessing.id == "crop32-bilinear-draft64"
    assert backbone.space.backbone == "mine"
    assert backbone.space.dim == 5


@pytest.mark.parametrize("engine", ENGINES)
def test_uint8_input_is_handed_over_as_it_is(tmp_path, engine):
    described = {"size_px": 32, "embedding": "pooled"}
    name = tiny(tmp_path / "u8.onnx", described, kind=TensorProto.UINT8, shape=("N", 32, 32, 3))
    backbone = load_backbone(name, engine=engine, precision="f32")
    images = photos(3)
    np.testing.assert_allclose(
        backbone.embed(images), images.mean((1, 2)) @ KERNEL[:, :, 0, 0].T, rtol=2e-3, atol=0.2
    )
    with pytest.raises(InputError, match="no feature maps"):
        backbone.feature_maps(images)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_embedded_network_cut_to_float_input_embeds_as_the_whole_does(tmp_path, engine):
    model = onnx.load(model_file())
    rest = [n for n in model.graph.node if not n.output[0].startswith("image.")]
    del model.graph.node[:]
    model.graph.node.extend(rest)
    floats = helper.make_tensor_value_info("image.nchw", TensorProto.FLOAT, ["N", 3, 224, 224])
    model.graph.input[0].CopyFrom(floats)
    onnx.save(model, tmp_path / "cut.onnx")
    described = {"size_px": 224, "mean": [0.5] * 3, "std": [0.5] * 3, "embedding": "embedding"}
    (tmp_path / "cut.onnx.json").write_text(json.dumps(described))
    images = photos(3, 224)
    cut = load_backbone(str(tmp_path / "cut.onnx"), engine=engine, precision="f32")
    whole = load_backbone(engine=engine, precision="f32")
    np.testing.assert_allclose(cut.embed(images), whole.embed(images), atol=2e-3)


def test_another_description_is_another_space(tmp_path):
    first = load_backbone(tiny(tmp_path / "a.onnx", FLOAT)).space
    other = load_backbone(tiny(tmp_path / "a.onnx", {**FLOAT, "std": [1, 1, 1]})).space
    assert not first.comparable(other)


@pytest.mark.parametrize("engine", ENGINES)
def test_embeddings_beyond_float16_are_an_error_not_infinity(tmp_path, engine):
    name = tiny(tmp_path / "big.onnx", FLOAT, gain=1e6)
    with pytest.raises(ModelError, match="not finite in float16"):
        load_backbone(name, engine=engine, precision="f32").embed(photos(1))


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "JSON object"),
        ({**FLOAT, "sizes": 3}, "unknown key 'sizes'. Did you mean 'size_px'"),
        ({"embedding": "pooled"}, "'size_px' is missing"),
        ({**FLOAT, "size_px": "32"}, "size_px is '32'"),
        ({**FLOAT, "fit": "stretch"}, "fit is 'stretch'. Allowed: .*squash"),
        ({**FLOAT, "embedding": "pool"}, "Did you mean 'pooled'"),
        ({**FLOAT, "embedding": 3}, "embedding is 3"),
        ({**FLOAT, "embedding": "maps"}, "needs 2 dimensions"),
        ({**FLOAT, "feature_map": "pooled"}, "needs 4 dimensions"),
        ({**FLOAT, "mean": [0.5]}, "'mean': three numbers"),
        ({**FLOAT, "std": [0, 1, 1]}, "above 0"),
        ({**FLOAT, "size_px": 64}, r"takes x \['N', 3, 32, 32\]. Allowed: one input"),
    ],
)
def test_a_wrong_description_is_told_apart(tmp_path, described, said):
    with pytest.raises(InputError, match=said):
        load_backbone(tiny(tmp_path / "mine.onnx", described))


def test_uint8_input_needs_no_mean(tmp_path):
    name = tiny(tmp_path / "u8.onnx", FLOAT, kind=TensorProto.UINT8, shape=("N", 32, 32, 3))
    with pytest.raises(InputError, match="leave mean and std out"):
        load_backbone(name)


def test_a_missing_description_and_a_damaged_file_are_told_apart(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(NotFoundError, match=r"mine\.onnx\.json cannot be read"):
        load_backbone(str(path))
    Path(f"{path}.json").write_text(json.dumps(FLOAT))
    with pytest.raises(ModelError, match="not a sound ONNX file"):
        load_backbone(str(path))


def test_weights_kept_in_another_file_are_refused_with_the_way_to_put_them_inside(tmp_path):
    path = tmp_path / "mine.onnx"
    tiny(path, FLOAT)
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0,
              location="mine.weights")  # fmt: skip
    with pytest.raises(InputError, match=r"Put them inside: onnx\.save"):
        load_backbone(str(path))
