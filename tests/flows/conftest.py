"""Projects with a model of every kind, on a network so small that flows of explaining are fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import listlens
from listlens.scaffold import init

SIZE, DIM = 48, 32
KINDS = ("single", "multi", "tree", "score")
ANSWERS = {
    "single": {"disc": "disc", "speckle": "speckle", "stripes": "stripes"},
    "multi": {"disc": "one|plain", "speckle": "many", "stripes": "many|plain"},
    "tree": {"disc": "one > disc", "speckle": "many > speckle", "stripes": "many > stripes"},
    "score": {"disc": "4.5", "speckle": "1.2", "stripes": "2.8"},
}


def write_network(path: Path, *, feature_map: bool) -> None:
    """Write random filters and how often each finds something: small, so that it is fast."""
    kernels = np.random.default_rng(0).normal(0, 0.3, (DIM, 3, 7, 7)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernels"], ["found"], strides=[4, 4]),
        helper.make_node("Relu", ["found"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["pooled"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mine",
        [value("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            value("pooled", TensorProto.FLOAT, ["n", DIM]),
            value("maps", TensorProto.FLOAT, ["n", DIM, "h", "w"]),
        ],
        [numpy_helper.from_array(kernels, "kernels")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, path)
    told = {"size_px": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3, "embedding": "pooled"}
    told |= {"feature_map": "maps"} if feature_map else {"fit": "crop"}
    path.with_name(path.name + ".json").write_text(json.dumps(told))


def make_home(root: Path, shop: Any, *, feature_map: bool) -> Path:
    """A project on a backbone of one's own, with a task of each kind, each trained twice."""
    init(root).close()
    write_network(root / "mine.onnx", feature_map=feature_map)
    toml = root / "listlens.toml"
    text = toml.read_text(encoding="utf-8")
    text = text.replace('name = "efficientnet-lite0"', 'name = "mine.onnx"')
    toml.write_text(text.replace('precision = "auto"', 'precision = "f32"'), encoding="utf-8")
    with listlens.open(root) as project:
        project.ingest(shop.photos)
        for kind in KINDS if feature_map else ("single",):
            file = root / f"{kind}.csv"
            column = "labels" if kind == "multi" else "label"
            rows = [f"{image},{ANSWERS[kind][shape]}" for image, shape in shop.classes.items()]
            file.write_text("\n".join([f"image,{column}", *rows]) + "\n")
            project.add_task(kind, kind, scale="1:5" if kind == "score" else "")
            project.import_labels(kind, file)
            project.train(kind)
            if feature_map:
                project.train(kind, force=True, seed=1)
    return root


@pytest.fixture(scope="session")
def said() -> dict[str, dict[str, str]]:
    """What the labels of each task say of each shape."""
    return ANSWERS


@pytest.fixture(scope="session")
def home(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of every kind, each trained twice; tests add tasks of their own at most."""
    return make_home(tmp_path_factory.mktemp("explain") / "home", shop, feature_map=True)


@pytest.fixture(scope="module")
def mapless(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one kind whose network shows no feature map; a module may change it."""
    return make_home(tmp_path_factory.mktemp("explain") / "mapless", shop, feature_map=False)
