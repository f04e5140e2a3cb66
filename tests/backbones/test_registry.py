"""The door: names, engines, the checked file and the ImageNet head."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from listlens.backbones import network
from listlens.backbones.registry import (
    MODEL_SHA256,
    engines,
    imagenet_head,
    load_backbone,
    model_file,
)
from listlens.core.errors import InputError, ModelError, NotFoundError


def squares(n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    return rng.integers(0, 256, (n, 14, 14, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)


def test_auto_is_the_first_engine_and_precision_that_doctor_lists():
    first = next(e for e in engines() if e.available)
    space = load_backbone().space
    assert (space.engine, space.precision) == (first.name, first.precisions[0])


def test_engines_are_all_listed_with_version_or_the_reason_why_not():
    found = engines()
    assert [e.name for e in found] == ["openvino", "onnxruntime"]
    for engine in found:
        assert bool(engine.version) == bool(engine.precisions) == engine.available
        assert bool(engine.reason) != engine.available


def test_where_openvino_is_absent_auto_takes_onnx_runtime_and_asking_for_it_says_what_to_do():
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'openvino' else find(name, *a)\n"
        "from listlens.backbones.registry import engines, load_backbone\n"
        "print(load_backbone().space.engine, engines()[0].reason)\n"
        "try: load_backbone(engine='openvino')\n"
        "except ValueError as e: print(e)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = out.stdout.splitlines()
    assert first == "onnxruntime not installed: pip install openvino"
    assert "pip install openvino" in second and "onnxruntime" in second


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "efficientnet-lite"}, "Did you mean 'efficientnet-lite0'"),
        ({"engine": "openvin"}, "Did you mean 'openvino'"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "'onnxruntime'. Allowed: 'f32'"),
        ({"precision": "f16"}, "Allowed"),
        ({"engine": "onnxruntime", "precision": "f16"}, "Allowed"),
        ({"n_threads": 0}, "1 or more"),
        ({"providers": ["NoSuchProvider"]}, "Allowed: .*CPUExecutionProvider"),
        ({"engine": "openvino", "providers": ["CPUExecutionProvider"]}, "leave them out"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(asked, said):
    with pytest.raises(InputError, match=said):
        load_backbone(**asked)


def test_asking_for_a_provider_means_onnx_runtime():
    backbone = load_backbone(providers=("CPUExecutionProvider",))
    assert backbone.space.engine == "onnxruntime"


def test_a_file_that_is_not_there_says_which_two_files_are_needed(tmp_path):
    with pytest.raises(NotFoundError, match=r"model\.onnx\.json"):
        load_backbone(str(tmp_path / "none.onnx"))


def test_the_file_and_its_provenance_agree():
    blob = model_file().read_bytes()
    told = json.loads((network.DATA / "PROVENANCE.json").read_text())
    assert hashlib.sha256(blob).hexdigest() == MODEL_SHA256 == told["sha256"]
    assert max(told["largest_difference_from_pytorch_in_float32"].values()) < 1e-4
    assert min(told["smallest_cosine_of_float16_to_float32_weights"].values()) > 0.9999
    assert told["from"]["licence"] == "Apache-2.0"
    licence = (network.DATA / "LICENSE.efficientnet-lite0").read_text()
    assert "ML Illustrated" in licence and "TERMS AND CONDITIONS" in licence


def test_the_graph_is_sound_and_takes_any_number_of_photos():
    model = onnx.load(model_file())
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model_file(), providers=["CPUExecutionProvider"])
    names = ["embedding", "feature_map", "logits"]
    for n in (1, 3):
        shapes = [o.shape for o in session.run(names, {"image": squares(n)})]
        assert shapes == [(n, 1280), (n, 1280, 7, 7), (n, 1000)]


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    blob = bytearray(model_file().read_bytes())
    blob[-1] ^= 1
    (tmp_path / model_file().name).write_bytes(blob)
    monkeypatch.setattr(network, "DATA", tmp_path)
    with pytest.raises(ModelError, match=r"damaged.*Install listlens again"):
        load_backbone()
    monkeypatch.setattr(network, "DATA", tmp_path / "none")
    with pytest.raises(ModelError, match="cannot be read"):
        load_backbone()


def test_the_imagenet_head_gives_the_graphs_own_logits():
    weights, bias, names = imagenet_head()
    session = ort.InferenceSession(model_file(), providers=["CPUExecutionProvider"])
    embedding, logits = session.run(["embedding", "logits"], {"image": squares(3)})
    np.testing.assert_allclose(embedding @ weights.T + bias, logits, atol=1e-4)
    assert len(set(names)) == len(names) == 1000
    assert (names[0], names[579], names[861], names[999]) == (
        "tench", "grand piano", "toilet seat", "toilet tissue")  # fmt: skip
    assert not weights.flags.writeable


def test_loading_imports_neither_torch_nor_onnx():
    code = (
        "import sys\n"
        "from listlens.backbones.registry import load_backbone\n"
        "load_backbone()\n"
        "print(sorted({'torch', 'onnx', 'sklearn'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
