"""A model folder comes back as it was saved, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from listlens.core.errors import ModelError
from listlens.core.types import Policy
from listlens.learn.heads import Head
from listlens.learn.model import FILES, Model, folder_hash


def test_a_loaded_model_is_the_saved_one(model, training_set, tmp_path):
    digest = model.save(tmp_path / "room" / "1")
    loaded = Model.load(tmp_path / "room" / "1", digest)
    x = training_set().embeddings
    assert (loaded.probs(x) == model.probs(x)).all()
    for name in ("classes", "class_ids", "policy", "space", "preprocessing", "kind", "created"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.metrics["accuracy"]["value"] == 0.9
    assert loaded.training["protocol"] == "grouped 5-fold"
    assert sorted(p.name for p in (tmp_path / "room" / "1").iterdir()) == sorted(FILES)
    assert [p.name for p in (tmp_path / "room").iterdir()] == ["1"]


def test_equal_models_have_equal_hashes(model, tmp_path):
    assert model.save(tmp_path / "a") == model.save(tmp_path / "b") == folder_hash(tmp_path / "a")
    assert replace(model, task="other").save(tmp_path / "c") != folder_hash(tmp_path / "a")


def test_a_folder_is_never_overwritten(model, tmp_path):
    model.save(tmp_path / "m")
    with pytest.raises(ModelError, match="never overwritten"):
        model.save(tmp_path / "m")


def test_nothing_is_left_when_writing_fails(model, tmp_path):
    with pytest.raises(TypeError):
        replace(model, metrics={"accuracy": object()}).save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_it_is_and_how_good(model, tmp_path):
    model.save(tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text()
    assert card.startswith("# room\n")
    assert "class 0, class 1, class 2" in card
    assert "accuracy: 0.900 (95 % interval 0.800 to 1.000, n = 40)" in card
    assert "scaled to 8 x 8 px" in card
    for part in ("## What it is", "## How good it is", "## Limits", "## How to use it"):
        assert part in card
    limit = "A photo of none of the classes" if model.kind == "single" else "judged by itself"
    assert limit in card


def test_the_card_puts_nested_numbers_and_missing_ones_in_words(model, tmp_path):
    accuracy = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 40}
    metrics = {"test": {"accuracy": accuracy, "n": 40}, "cross_validation": {"accuracy": None}}
    replace(model, metrics=metrics, training={"n_leaking": 3}).save(tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text()
    said = "test split: accuracy 0.900 (95 % interval 0.800 to 1.000, n = 40)."
    assert said in card
    assert "had not seen it: too few to score." in card
    assert "3 photos of the given split share" in card
    assert "{" not in card.split("## Limits")[0]


@pytest.mark.parametrize("n", [0, 1, 7])
def test_probs_do_not_depend_on_the_batch(model, training_set, n):
    x = training_set().embeddings
    probs = model.probs(x[:n])
    assert probs.shape == (n, 3)
    assert probs.dtype == np.float32
    assert np.abs(probs - model.probs(x)[:n]).max(initial=0) <= 1e-6
    half = model.probs(x.astype(np.float16)[:n])
    assert (half == probs).all()


def test_another_policy_may_be_handed_in(model, training_set):
    probs = model.probs(training_set().embeddings)
    strict = Policy((1.0,) * 3, (1.0,) * 3, (1.0,) * 3)
    decisions = model.decide(probs, strict)
    if model.kind == "single":
        assert all(d.review for d in decisions)
    else:
        assert not any(d.classes for d in decisions)


def test_embeddings_of_another_backbone_are_refused(model):
    with pytest.raises(ModelError, match=r"needs \(n, 24\) from tiny"):
        model.probs(np.zeros((2, 25), np.float32))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(model, tmp_path, name):
    model.save(tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    with pytest.raises(ModelError, match=name):
        Model.load(tmp_path / "m")


def test_a_changed_file_does_not_pass_the_hash(model, tmp_path):
    digest = model.save(tmp_path / "m")
    with (tmp_path / "m" / "README.md").open("a") as file:
        file.write("better than it is")
    with pytest.raises(ModelError, match="content hash differs"):
        Model.load(tmp_path / "m", digest)


def test_other_numbers_than_written_are_noticed(model, tmp_path):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "head.safetensors"
    arrays = load_file(path)
    save_file({**arrays, "bias": arrays["bias"] + 1}, path)
    with pytest.raises(ModelError, match=r"not what model\.json was written with"):
        Model.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 99}, "format 99"),
        ({"format": None}, "not a listlens model"),
        ({"kind": "ranking"}, "kind 'ranking'"),
        ({"classes": ["a", "b"]}, "2 classes with 3 ids"),
        ({"policy": {"thresholds": [2, 2, 2]}}, "damaged"),
        ({"space": {}}, "damaged"),
    ],
    ids=["newer", "no format", "kind", "classes", "policy", "space"],
)
def test_a_damaged_description_is_refused(model, tmp_path, change, says):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=says):
        Model.load(tmp_path / "m")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_description_that_is_not_json_is_refused(model, tmp_path, text):
    model.save(tmp_path / "m")
    (tmp_path / "m" / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json"):
        Model.load(tmp_path / "m")


def test_numbers_that_do_not_fit_are_refused(model):
    with pytest.raises(ModelError, match="not finite"):
        replace(model, head=Head(model.head.weights * np.float32(np.nan), model.head.bias))
    with pytest.raises(ModelError, match=r"weights is float32 \(3, 5\); needs float32 \(3, 24\)"):
        replace(model, head=Head(model.head.weights[:, :5], model.head.bias))
