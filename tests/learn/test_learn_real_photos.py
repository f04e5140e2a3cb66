"""On the real cars: no worse than scikit-learn's best, and one graph on every engine."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from listlens.backbones.registry import engines, load_backbone, model_file
from listlens.images.prepare import prepare
from listlens.learn.dataset import TrainingSet
from listlens.learn.model import Model
from listlens.learn.onnx_export import export_onnx
from listlens.learn.recipe import train

pytestmark = [pytest.mark.data, pytest.mark.slow]
STRENGTHS = (1e-2, 1e-1)  # its best on this set


@pytest.fixture(scope="module")
def cars(data_dir):
    with (data_dir / "cars" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    backbone = load_backbone(engine="onnxruntime")
    pixels = np.stack(
        [
            prepare((data_dir / "cars" / r["image"]).read_bytes(), backbone.preprocessing).pixels
            for r in rows
        ]
    )
    return rows, pixels, backbone.embed(pixels).astype(np.float32)


def set_of(kind, classes, embeddings, targets):
    n = len(embeddings)
    return TrainingSet(
        kind, tuple(classes), embeddings, targets, np.arange(n), np.arange(n),
        np.full(n, "", dtype="<U5"), tuple(map(str, range(n))),
    )  # fmt: skip


def view_set(rows, embeddings):
    classes = sorted({r["view"] for r in rows})
    targets = np.array([classes.index(r["view"]) for r in rows])
    return set_of("single", classes, embeddings, targets)


def parts_set(rows, embeddings):
    given = [set(r["parts"].split("|")) - {""} for r in rows]
    classes = sorted(set().union(*given))
    targets = np.array([[c in g for c in classes] for g in given], dtype=np.int8)
    return set_of("multi", classes, embeddings, targets)


def plain(x, y, fold, strength):
    """Out-of-fold probabilities of scikit-learn's logistic regression."""
    out = np.zeros((len(y), int(y.max()) + 1))
    for f in range(int(fold.max()) + 1):
        seen, held = (fold != f) & (y >= 0), fold == f
        mean, scale = x[seen].mean(axis=0), x[seen].std(axis=0) + 1e-9
        head = LogisticRegression(C=strength, max_iter=100, tol=1e-2)
        head.fit((x[seen] - mean) / scale, y[seen])
        out[held] = head.predict_proba((x[held] - mean) / scale)
    return out


def test_view_is_within_a_point_of_the_best_logistic_regression(cars):
    rows, _, embeddings = cars
    data = view_set(rows, embeddings)
    trained = train(data)
    ours = (trained.oof_probs.argmax(axis=1) == data.targets).mean()
    theirs = [
        (plain(embeddings, data.targets, trained.fold, c).argmax(axis=1) == data.targets).mean()
        for c in STRENGTHS
    ]
    assert ours >= max(theirs) - 0.01


@pytest.mark.parametrize("unknown", [0.0, 0.3], ids=["all answers", "30 % unknown"])
def test_parts_are_within_a_hundredth_of_one_vs_rest(cars, unknown):
    rows, _, embeddings = cars
    data = parts_set(rows, embeddings)
    hidden = np.random.default_rng(0).random(data.targets.shape) < unknown
    partly = replace(data, targets=np.where(hidden, -1, data.targets))
    trained = train(partly)

    def macro_ap(scores):
        k = range(len(data.classes))
        return np.mean([average_precision_score(data.targets[:, c], scores[:, c]) for c in k])

    columns = [plain(embeddings, y, trained.fold, 3e-3)[:, 1] for y in partly.targets.T]
    assert macro_ap(trained.oof_probs) >= macro_ap(np.column_stack(columns)) - 0.01


@pytest.mark.parametrize(
    ("engine", "precision", "allowed"),
    [("onnxruntime", "f32", 1e-3), ("openvino", "f32", 1e-3), ("openvino", "bf16", 0.02)],
)
def test_the_exported_graph_equals_the_python_path_on_the_same_engine(
    cars, tmp_path, engine, precision, allowed
):
    info = {e.name: e for e in engines()}[engine]
    if not info.available or precision not in info.precisions:
        pytest.skip(f"{engine} {precision} is not offered here")
    rows, pixels, _ = cars
    backbone = load_backbone(engine=engine, precision=precision)
    stored = backbone.embed(pixels)
    trained = train(view_set(rows, stored.astype(np.float32)))
    model = Model.from_trained(
        trained, space=backbone.space, preprocessing=backbone.preprocessing, task="view"
    )
    path = export_onnx(model, tmp_path / "view.onnx", model_file())
    found, expected = run_graph(path, engine, precision, pixels), model.probs(stored)
    assert np.abs(found - expected).max() < allowed
    assert (found.argmax(axis=1) != expected.argmax(axis=1)).mean() < 0.005


def run_graph(path, engine, precision, pixels):
    blocks = [pixels[i : i + 50] for i in range(0, len(pixels), 50)]
    if engine == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        return np.concatenate([session.run(["probs"], {"image": b})[0] for b in blocks])
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return np.concatenate([np.array(compiled(b)["probs"]) for b in blocks])
