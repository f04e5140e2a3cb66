"""Heads against scikit-learn on several shapes and weights; exports at the edges."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from listlens.core.errors import InputError, ModelError
from listlens.core.types import EmbeddingSpace, Policy, Preprocessing
from listlens.learn import heads
from listlens.learn.calibration import Calibration
from listlens.learn.heads import Head, fit, fit_path, rotate, shared_axes
from listlens.learn.model import Model
from listlens.learn.objectives import balanced, encode
from listlens.learn.onnx_export import export_onnx


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    monkeypatch.setattr(heads, "TOLERANCE", 1e-10)


def scaled(x):
    """As `heads` standardises: a constant column becomes 0."""
    spread = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(spread < 1e-6, 1, spread)


def softmax(logits):
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def drawn(n, dim, k, seed, kind="single"):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, dim)) * rng.uniform(0.1, 4, dim) + rng.normal(size=dim)).astype(
        np.float32
    )
    logits = scaled(x) @ rng.normal(size=(dim, k)) / np.sqrt(dim) * 2
    if kind == "multi":
        return x, (rng.random((n, k)) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return x, (logits + rng.gumbel(size=(n, k))).argmax(axis=1)


SHAPES = {
    "two classes": (200, 6, 2),
    "one column": (120, 1, 2),
    "many classes": (400, 8, 9),
    "wide": (50, 90, 3),
    "square": (40, 40, 3),
}


@pytest.mark.parametrize(("n", "dim", "k"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("weighting", [None, "balanced"], ids=["even", "balanced"])
def test_a_single_head_is_scikit_learns(n, dim, k, weighting):
    strength = 0.003 if weighting else 0.1
    x, answers = drawn(n, dim, k, seed=n + dim)
    targets = encode(answers, k, "single")
    head = fit(x, balanced(targets) if weighting else targets, [strength / 10, strength])
    # Of two classes scikit-learn learns one vector, we one for each: C counts twice.
    same = strength * (2 if k == 2 else 1)
    oracle = LogisticRegression(C=same, class_weight=weighting, max_iter=5000, tol=1e-9)
    expected = oracle.fit(scaled(x), answers).predict_proba(scaled(x))
    found = softmax(head.logits(x).astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=3e-3)


@pytest.mark.parametrize("hidden", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("weighting", [None, "balanced"], ids=["even", "balanced"])
def test_a_multi_head_is_one_scikit_learn_model_per_class_on_its_known_answers(hidden, weighting):
    x, answers = drawn(300, 12, 3, seed=5, kind="multi")
    answers = np.where(np.random.default_rng(1).random(answers.shape) < hidden, -1, answers)
    rotated = rotate(x)
    targets = encode(answers, 3, "multi")
    if weighting:
        targets = balanced(targets)
    head = rotated.head(*fit_path(rotated, targets, [0.02])[0])
    for c in range(3):
        known = answers[:, c] >= 0
        oracle = LogisticRegression(C=0.02, class_weight=weighting, max_iter=5000, tol=1e-9)
        oracle.fit(scaled(x)[known], answers[known, c])
        expected = oracle.predict_proba(scaled(x))[:, 1]
        found = 1 / (1 + np.exp(-head.logits(x)[:, c].astype(np.float64)))
        np.testing.assert_allclose(found, expected, atol=5e-3)


def test_photos_without_an_answer_do_not_move_the_optimum():
    x, answers = drawn(200, 6, 3, seed=2)
    unknown = np.where(np.arange(200) % 4 == 0, -1, answers)
    rotated = rotate(x)
    weights, bias = fit_path(rotated, encode(unknown, 3, "single"), [0.1])[0]
    known = unknown >= 0
    oracle = LogisticRegression(C=0.1, max_iter=5000, tol=1e-9).fit(
        rotated.z[known], answers[known]
    )
    np.testing.assert_allclose(
        softmax(rotated.z @ weights + bias), oracle.predict_proba(rotated.z), atol=3e-3
    )


def test_shared_axes_change_no_probability():
    x, answers = drawn(150, 10, 3, seed=3)
    targets = encode(answers, 3, "single")
    axes = shared_axes(x)
    assert axes is not None
    own, lent = (
        r.head(*fit_path(r, targets, [0.1])[0]) for r in (rotate(x), rotate(x, axes))
    )  # fmt: skip
    np.testing.assert_allclose(own.logits(x), lent.logits(x), atol=5e-3)
    assert shared_axes(x[:5]) is None  # too few photos for as many axes


def test_one_way_of_strengths_gives_the_same_head_at_each_stop():
    x, answers = drawn(150, 10, 3, seed=4)
    targets = encode(answers, 3, "single")
    way = [0.001, 0.01, 0.1]
    rotated = rotate(x)
    stops = fit_path(rotated, targets, way)
    for n, stop in enumerate(stops, 1):
        ends = fit(x, targets, way[:n])
        np.testing.assert_array_equal(rotated.head(*stop).weights, ends.weights)


@pytest.mark.parametrize("factor", [1e-3, 1e3], ids=["tiny", "huge"])
def test_the_scale_of_embeddings_does_not_matter(factor):
    x, answers = drawn(150, 10, 3, seed=6)
    targets = encode(answers, 3, "single")
    small, large = fit(x, targets, [0.1]), fit((x * factor).astype(np.float32), targets, [0.1])
    np.testing.assert_allclose(
        small.logits(x), large.logits((x * factor).astype(np.float32)), atol=0.02
    )


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_balancing_weights_are_scikit_learns(kind):
    rng = np.random.default_rng(0)
    answers = rng.choice(3, 60, p=[0.7, 0.2, 0.1]) if kind == "single" else (
        rng.random((60, 3)) < [0.8, 0.4, 0.1]).astype(np.int8)  # fmt: skip
    weight = balanced(encode(answers, 3, kind)).weight
    for c in range(3):
        column = answers if kind == "single" else answers[:, c]
        for value in np.unique(column):
            rows = column == value
            expected = 60 / (len(np.unique(column)) * rows.sum())
            np.testing.assert_allclose(
                weight[rows, c if kind == "multi" else 0], expected, rtol=1e-6
            )


SIZE = 4


def write_backbone(path, dim):
    """A real, small network from pixels to an embedding."""
    mix = np.random.default_rng(0).normal(0, 0.02, (3, dim)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "mix"], ["embedding"]),
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", dim])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        outputs,
        [numpy_helper.from_array(mix, "mix")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made(kind, k, dim, sha256):
    rng = np.random.default_rng(k)
    thirds = (0.25,) * k, (0.5,) * k, (0.75,) * k
    return Model(
        kind=kind,
        classes=tuple(f"класс {c}" for c in range(k)),
        class_ids=tuple(range(k)),
        head=Head(
            rng.normal(0, 0.1, (k, dim)).astype(np.float32), rng.normal(size=k).astype(np.float32)
        ),
        calibration=Calibration(
            np.linspace(0.5, 2, k).astype(np.float32) if kind == "multi"
            else np.full(k, 0.7, np.float32),
            rng.normal(size=k).astype(np.float32) if kind == "multi" else np.zeros(k, np.float32),
        ),
        policy=Policy(thirds[1], thirds[0], thirds[2]),
        space=EmbeddingSpace("tiny", sha256, "squash4", "onnxruntime", "f32", dim),
        preprocessing=Preprocessing(size_px=SIZE, fit="crop", interpolation="bilinear"),
        task='room "size"',
        fingerprint="f00d",
    )  # fmt: skip


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("dim", [1, 16])
def test_the_exported_graph_gives_the_models_probabilities(tmp_path, kind, k, dim):
    model = made(kind, k, dim, write_backbone(tmp_path / "b.onnx", dim))
    path = export_onnx(model, tmp_path / "m.onnx", tmp_path / "b.onnx")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(2).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    probs, embedding = session.run(["probs", "embedding"], {"image": pixels})
    assert probs.shape == (5, k)
    assert (embedding == embedding.astype(np.float16)).all()
    np.testing.assert_allclose(probs, model.probs(embedding), atol=1e-5)
    alone = session.run(["probs"], {"image": pixels[2:3]})[0]
    np.testing.assert_allclose(alone[0], probs[2], atol=1e-6)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_exported_file_carries_what_its_reader_needs(tmp_path, kind):
    model = made(kind, 3, 4, write_backbone(tmp_path / "b.onnx", 4))
    path = export_onnx(model, tmp_path / "m.onnx", tmp_path / "b.onnx")
    told = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(told["listlens.classes"]) == list(model.classes)
    assert json.loads(told["listlens.thresholds"]) == [0.5] * 3
    assert (told["listlens.task"], told["listlens.kind"]) == (model.task, kind)
    assert told["listlens.trained_on"] == model.space.id
    assert told["listlens.fingerprint"] == "f00d"
    for word in ("bilinear", "the centre", "4 x 4 px", "EXIF"):
        assert word in told["listlens.preprocessing"]


def test_exporting_again_replaces_the_file_with_the_same_bytes(tmp_path):
    model = made("single", 2, 4, write_backbone(tmp_path / "b.onnx", 4))
    path = export_onnx(model, tmp_path / "m.onnx", tmp_path / "b.onnx")
    before = path.read_bytes()
    export_onnx(model, path, tmp_path / "b.onnx")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.onnx", "m.onnx"]


def test_a_backbone_file_with_one_byte_changed_is_another_backbone(tmp_path):
    model = made("single", 2, 4, write_backbone(tmp_path / "b.onnx", 4))
    data = bytearray((tmp_path / "b.onnx").read_bytes())
    data[-1] ^= 1
    (tmp_path / "b.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="was trained on"):
        export_onnx(model, tmp_path / "m.onnx", tmp_path / "b.onnx")
    with pytest.raises(InputError, match="no backbone file"):
        export_onnx(model, tmp_path / "m.onnx", tmp_path)
    assert not (tmp_path / "m.onnx").exists()


def test_a_head_of_another_width_than_the_backbone_is_refused(tmp_path):
    sha256 = write_backbone(tmp_path / "b.onnx", 4)
    with pytest.raises(ModelError, match="not valid"):
        export_onnx(made("single", 2, 5, sha256), tmp_path / "m.onnx", tmp_path / "b.onnx")
