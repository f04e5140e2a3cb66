"""A project with a backbone of the user's own: from photos to a graph that runs elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import listlens
from listlens.images.prepare import prepare
from listlens.pipeline.apply import load_model

Cli = Callable[..., Any]
SIZE, DIM = 32, 24
SIDECAR = {
    "size_px": SIZE,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "embedding": "probs",
}


def write_network(path: Path, image: str, *, feature_map: bool, uint8: bool = False) -> None:
    """Write random filters and what they find on average; its names are the worst possible."""
    kernels = np.random.default_rng(0).normal(0, 0.3, (DIM, 3, 5, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["chw", "kernels"], ["found"], strides=[2, 2]),
        helper.make_node("Relu", ["found"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["embedding"]),
        helper.make_node("Flatten", ["embedding"], ["probs"]),
    ]
    taken, kind, shape = "chw", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE]
    if uint8:
        nodes[:0] = [
            helper.make_node("Cast", [image], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "scale"], ["hwc"]),
            helper.make_node("Transpose", ["hwc"], ["chw"], perm=[0, 3, 1, 2]),
        ]
        taken, kind, shape = image, TensorProto.UINT8, ["batch", SIZE, SIZE, 3]
    elif image != "chw":
        nodes[:0] = [helper.make_node("Identity", [image], ["chw"])]
        taken = image
    constants = [numpy_helper.from_array(kernels, "kernels")]
    constants += [numpy_helper.from_array(np.array(1 / 255, np.float32), "scale")] * uint8
    graph = helper.make_graph(
        nodes,
        "mine",
        [helper.make_tensor_value_info(taken, kind, shape)],
        [
            helper.make_tensor_value_info("probs", TensorProto.FLOAT, ["batch", DIM]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["batch", DIM, "h", "w"]),
        ],
        constants,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, path)
    told = SIDECAR | ({"feature_map": "maps"} if feature_map else {})
    if uint8:
        told = {k: v for k, v in told.items() if k not in ("mean", "std")}
    path.with_name(path.name + ".json").write_text(json.dumps(told))


@pytest.fixture
def home(cli: Cli, tmp_path: Path) -> Path:
    """A project whose settings name `nets/mine.onnx`, relative to the project."""
    assert cli("init", tmp_path / "home").code == 0
    toml = tmp_path / "home" / "listlens.toml"
    text = toml.read_text(encoding="utf-8")
    text = text.replace('name = "efficientnet-lite0"', 'name = "nets/mine.onnx"')
    toml.write_text(text.replace('precision = "auto"', 'precision = "f32"'), encoding="utf-8")
    (tmp_path / "home" / "nets").mkdir()
    return tmp_path / "home"


def learn(cli: Cli, home: Path, shop: Any) -> Any:
    """Ingest, label and train; return what `train` said."""
    assert cli("ingest", shop.photos, "-p", home, "--json").json["embedded"] == 36
    assert cli("task", "add", "shape", "-p", home).code == 0
    assert cli("labels", "import", "shape", shop.labels, "-p", home).code == 0
    ran = cli("train", "shape", "-p", home, "--json")
    assert ran.code == 0, ran.err
    return ran.json


@pytest.mark.parametrize(
    ("image", "feature_map", "uint8"),
    [("pixel_values", True, False), ("image", False, False), ("photo", False, True)],
)
def test_it_is_trained_used_and_exported_like_the_embedded_one(
    cli: Cli, home: Path, shop: Any, image: str, feature_map: bool, uint8: bool
) -> None:
    write_network(home / "nets" / "mine.onnx", image, feature_map=feature_map, uint8=uint8)
    trained = learn(cli, home, shop)
    assert Path(trained["files"]["report"]).is_file()
    paths = [shop.photos / name for name in shop.classes]
    with listlens.open(home) as project:
        answers = [p.probs for _, p in project.predict(paths)]
        preprocessing = project.backbone.preprocessing
    expected = np.array([[row[c] for c in sorted(row)] for row in answers])
    pixels = np.stack([np.array(prepare(p.read_bytes(), preprocessing).pixels) for p in paths])
    session = onnxruntime.InferenceSession(
        Path(trained["files"]["model"]) / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert [i.name for i in session.get_inputs()] == ["image"]
    assert [o.name for o in session.get_outputs()] == ["probs", "embedding"]
    (probs,) = session.run(["probs"], {"image": pixels})
    assert probs.shape == (36, 3)
    assert np.abs(probs - expected).max() < 1e-3


def test_its_path_is_relative_to_the_project_wherever_a_command_is_run(
    cli: Cli, home: Path, shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_network(home / "nets" / "mine.onnx", "x", feature_map=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    trained = learn(cli, home, shop)
    monkeypatch.chdir(home)
    assert cli("doctor", "-p", home, "--json").json["engine"]["backbone"].startswith("mine")
    assert cli("tag", "--json").json["shape"]["predicted"] == 36

    photo, folder = shop.photos / "home-00" / "0.jpg", trained["files"]["model"]
    monkeypatch.chdir(tmp_path)
    asked = cli("predict", photo, "--model", folder)
    assert asked.code != 0
    assert "--backbone FILE" in asked.err
    net = os.path.relpath(home / "nets" / "mine.onnx")
    answered = cli("predict", photo, "--model", folder, "--backbone", net, "--json")
    assert answered.code == 0, answered.err
    assert answered.json["classes"] == ["disc"]
    assert load_model(folder, backbone=net).predict([photo])[0].classes == ("disc",)
    refused = cli("predict", photo, "--backbone", net, "-p", home)
    assert refused.code != 0
    assert "--backbone goes with --model" in refused.err


def test_another_backbone_than_the_models_is_refused(
    cli: Cli, home: Path, shop: Any, tmp_path: Path
) -> None:
    write_network(home / "nets" / "mine.onnx", "x", feature_map=False)
    folder = learn(cli, home, shop)["files"]["model"]
    write_network(tmp_path / "other.onnx", "y", feature_map=False)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    asked = cli("predict", tmp_path / "a.png", "--model", folder,
                "--backbone", tmp_path / "other.onnx")  # fmt: skip
    assert asked.code != 0
    assert "was trained on embeddings of mine" in asked.err
