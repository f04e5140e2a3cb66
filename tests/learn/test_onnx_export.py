"""The exported graph is valid, says what it is, and equals the Python path."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from listlens.core.errors import InputError, ModelError
from listlens.learn.onnx_export import export_onnx

DIM, SIZE = 24, 8


@pytest.fixture
def backbone_file(tmp_path):
    """A real, small network: pooled and projected pixels; and an output that nobody needs."""
    mix = np.random.default_rng(0).normal(0, 0.02, (3, DIM)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "mix"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "spare"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", DIM]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2]),
        ],
        [
            numpy_helper.from_array(mix, "mix"),
            numpy_helper.from_array(np.zeros((DIM, 2), np.float32), "spare"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def exported(trained, to_model, backbone_file, tmp_path):
    sha256 = hashlib.sha256(backbone_file.read_bytes()).hexdigest()
    model = to_model(trained, sha256)
    return model, export_onnx(model, tmp_path / "model.onnx", backbone_file)


def run(path, names, pixels):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(names, {"image": pixels})


def test_the_graph_equals_the_python_path(exported, backbone_file):
    model, path = exported
    pixels = np.random.default_rng(1).integers(0, 256, (9, SIZE, SIZE, 3), np.uint8)
    stored = run(backbone_file, ["embedding"], pixels)[0].astype(np.float16)
    probs, embedding = run(path, ["probs", "embedding"], pixels)
    assert (embedding == stored.astype(np.float32)).all()
    assert np.abs(probs - model.probs(stored)).max() < 1e-5
    assert (probs > 0).all() and (probs < 1).all()


def test_a_head_in_half_precision_stays_so_and_gives_the_same(
    trained, to_model, backbone_file, tmp_path, monkeypatch
):
    from dataclasses import replace

    from listlens.learn import model as module
    from listlens.learn.heads import Head

    sha256 = hashlib.sha256(backbone_file.read_bytes()).hexdigest()
    model = to_model(trained, sha256)
    weights = model.head.weights.astype(np.float16).astype(np.float32)
    model = replace(model, head=Head(weights, model.head.bias))
    whole = export_onnx(model, tmp_path / "whole.onnx", backbone_file)
    monkeypatch.setattr(module, "HALF_FROM", 0)
    half = export_onnx(model, tmp_path / "half.onnx", backbone_file)
    pixels = np.random.default_rng(1).integers(0, 256, (9, SIZE, SIZE, 3), np.uint8)
    found = [run(path, ["probs"], pixels)[0] for path in (whole, half)]
    assert np.abs(found[0] - found[1]).max() < 1e-5
    types = {t.name: t.data_type for t in onnx.load(half).graph.initializer}
    assert types["listlens.weights"] == TensorProto.FLOAT16


def test_the_file_says_what_it_is_and_holds_no_more_than_needed(exported):
    model, path = exported
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    told = {p.key: p.value for p in proto.metadata_props}
    assert json.loads(told["listlens.classes"]) == list(model.classes)
    assert told["listlens.kind"] == model.kind
    assert "8 x 8 px" in told["listlens.preprocessing"]
    assert [o.name for o in proto.graph.output] == ["probs", "embedding"]
    assert "spare" not in {t.name for t in proto.graph.initializer}


def test_another_backbone_than_trained_on_is_refused(trained, to_model, backbone_file, tmp_path):
    with pytest.raises(ModelError, match="was trained on 000000000000"):
        export_onnx(to_model(trained), tmp_path / "m.onnx", backbone_file)
    with pytest.raises(InputError, match="no backbone file"):
        export_onnx(to_model(trained), tmp_path / "m.onnx", tmp_path / "none.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("wrong", [{"image": "x"}, {"embedding": "features"}], ids=str)
def test_a_name_the_backbone_lacks_is_refused(exported, backbone_file, tmp_path, wrong):
    with pytest.raises(InputError, match="it has"):
        export_onnx(exported[0], tmp_path / "m.onnx", backbone_file, **wrong)
