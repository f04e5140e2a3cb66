"""Every way a model folder can go wrong is told, naming the file, before anything is predicted."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from listlens.core.errors import ModelError
from listlens.core.types import EmbeddingSpace, Policy, Preprocessing
from listlens.learn.calibration import Calibration
from listlens.learn.heads import Head
from listlens.learn.model import FILES, FORMAT, Model, folder_hash


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "m")
    return tmp_path / "m"


def rewrite(folder, change):
    """Change `model.json` as a program that knows the format would."""
    path = folder / "model.json"
    meta = json.loads(path.read_text("utf-8"))
    change(meta)
    path.write_text(json.dumps(meta), "utf-8")


def rehead(folder, change):
    """Change the numbers, and the hash that guards them."""
    path = folder / "head.safetensors"
    arrays = {name: array.copy() for name, array in load(path.read_bytes()).items()}
    change(arrays)
    path.write_bytes(save(arrays))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(folder, lambda meta: meta.update(head_sha256=sha256))


def setting(*keys, value):
    def change(meta):
        for key in keys[:-1]:
            meta = meta[key]
        meta[keys[-1]] = value

    return change


META = {
    "a newer format": (setting("format", value=FORMAT + 1), f"format {FORMAT + 1}"),
    "a format in words": (setting("format", value="1"), "not a listlens model"),
    "no classes": (setting("classes", value=[]), "classes with"),
    "the same class twice": (setting("classes", value=["a", "a", "b"]), "classes with"),
    "classes as one text": (setting("classes", value="abc"), "class names"),
    "classes that are numbers": (setting("classes", value=[1, 2, 3]), "class names"),
    "an id too few": (setting("class_ids", value=[0, 1]), "2 ids"),
    "thresholds out of order": (setting("policy", "review_below", value=[1.0] * 3), "damaged"),
    "a threshold too few": (setting("policy", "thresholds", value=[0.5]), "damaged"),
    "thresholds in words": (setting("policy", "thresholds", value=["x"] * 3), "damaged"),
    "an unknown policy key": (setting("policy", "mode", value=1), "damaged"),
    "an unknown space key": (setting("space", "colour", value="blue"), "damaged"),
    "another dimension": (setting("space", "dim", value=7), r"weights is float32 \(3, 24\)"),
    "preprocessing is a list": (setting("preprocessing", value=[]), "damaged"),
    "no kind that is known": (setting("kind", value="both"), "single, multi"),
    "another head's hash": (setting("head_sha256", value="0" * 64), r"head\.safetensors"),
}


@pytest.mark.parametrize(("change", "says"), META.values(), ids=META)
def test_a_description_that_does_not_hold_together_is_refused(folder, change, says):
    rewrite(folder, change)
    with pytest.raises(ModelError, match=says):
        Model.load(folder)


@pytest.mark.parametrize(
    "key",
    ["format", "kind", "classes", "class_ids", "space", "preprocessing", "policy", "task",
     "taxonomy_version", "created", "fingerprint", "metrics", "training", "head_sha256"],
)  # fmt: skip
def test_a_description_that_lacks_a_key_is_refused(folder, key):
    rewrite(folder, lambda meta: meta.pop(key))
    with pytest.raises(ModelError, match=r"model\.json"):
        Model.load(folder)


def test_a_key_that_a_later_version_added_is_passed_over(folder, model, training_set):
    rewrite(folder, setting("remark", value={"by": "a later version"}))
    x = training_set().embeddings
    assert (Model.load(folder).probs(x) == model.probs(x)).all()


ARRAYS = {
    "a number that is none": (lambda a: a["weights"].__setitem__((0, 0), np.nan), "weights holds"),
    "an infinite bias": (lambda a: a["bias"].__setitem__(1, np.inf), "bias holds"),
    "a slope for one class only": (lambda a: a.update(slope=a["slope"][:1]), r"slope is float32"),
    "weights turned over": (
        lambda a: a.update(weights=np.ascontiguousarray(a["weights"].T)), r"needs float32 \(3, 24\)"
    ),
    "double precision": (
        lambda a: a.update(weights=a["weights"].astype(np.float64)), "weights is float64"
    ),
    "whole numbers": (lambda a: a.update(offset=np.zeros(3, np.int32)), "offset is int32"),
    "no bias": (lambda a: a.pop("bias"), "lacks bias"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says"), ARRAYS.values(), ids=ARRAYS)
def test_numbers_that_do_not_fit_are_named(folder, change, says):
    rehead(folder, change)
    with pytest.raises(ModelError, match=says):
        Model.load(folder)


def test_arrays_that_a_later_version_added_are_passed_over(folder, model, training_set):
    rehead(folder, lambda arrays: arrays.update(more=np.zeros(2, np.float32)))
    x = training_set().embeddings
    assert (Model.load(folder).probs(x) == model.probs(x)).all()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 200_000, b'{"format": 1}', b"\0" * 100],
    ids=["empty", "cut", "null", "list", "not text", "too deep", "bare", "zeros"],
)
def test_a_description_that_is_no_description_is_refused(folder, data):
    (folder / "model.json").write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.json|head\.safetensors"):
        Model.load(folder)


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 64, b"x" * 1000], ids=len)
def test_a_head_that_is_no_safetensors_is_refused_even_where_the_hash_agrees(folder, data):
    (folder / "head.safetensors").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    rewrite(folder, lambda meta: meta.update(head_sha256=sha256))
    with pytest.raises(ModelError, match=r"head\.safetensors' is damaged|safetensors is damaged"):
        Model.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_one_flipped_byte_anywhere_is_noticed_by_the_hash(folder, name, where):
    digest = folder_hash(folder)
    path = folder / name
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="content hash differs"):
        Model.load(folder, digest)
    if name == "head.safetensors":
        with pytest.raises(ModelError, match=r"head\.safetensors"):
            Model.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_noticed_by_the_hash(folder, name):
    digest = folder_hash(folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(ModelError, match="content hash differs"):
        Model.load(folder, digest)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_named(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ModelError, match=name):
        Model.load(folder)


def test_what_is_no_folder_at_all_names_what_is_missing(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "none", tmp_path / "file", tmp_path):
        with pytest.raises(ModelError, match=r"no model\.json, head\.safetensors, README\.md"):
            Model.load(place)


def test_files_beside_the_models_own_do_not_change_its_hash(folder, model):
    digest = folder_hash(folder)
    (folder / "model.onnx").write_bytes(b"exported")
    assert folder_hash(folder) == digest
    assert Model.load(folder, digest).classes == model.classes


texts = st.text(st.characters(codec="utf-8"), max_size=12)
unit = st.floats(0, 1, width=32)


@st.composite
def models(draw):
    k, dim = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rows = draw(
        st.lists(st.lists(unit, min_size=3, max_size=3).map(sorted), min_size=k, max_size=k)
    )
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    low, mid, high = zip(*rows, strict=True)
    return Model(
        kind=draw(st.sampled_from(["single", "multi"])),
        classes=tuple(draw(st.lists(texts, min_size=k, max_size=k, unique=True))),
        class_ids=tuple(range(5, 5 + k)),
        head=Head(rng.normal(size=(k, dim)).astype(np.float32),
                  rng.normal(size=k).astype(np.float32)),
        calibration=Calibration(np.full(k, 0.5, np.float32), rng.normal(size=k).astype(np.float32)),
        policy=Policy(mid, low, high, draw(st.sampled_from(["best-f1", "error<=0.1"]))),
        space=EmbeddingSpace(draw(texts), "a" * 64, "squash8", "onnxruntime", "f32", dim),
        preprocessing=Preprocessing(size_px=draw(st.integers(1, 512)), fit="crop"),
        task=draw(texts),
        taxonomy_version=draw(st.integers(1, 9)),
        metrics={"f1": {"value": draw(unit), "low": 0.0, "high": 1.0, "n": 3}, "note": draw(texts)},
        training={"protocol": "own split", "set_aside": {draw(texts): draw(texts)}},
    )  # fmt: skip


@given(models())
@settings(max_examples=40, deadline=None)
def test_any_model_comes_back_exactly(model):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "deep" / "m"
        digest = model.save(place)
        back = Model.load(place, digest)
        for name in ("kind", "classes", "class_ids", "policy", "space", "preprocessing", "task",
                     "taxonomy_version", "metrics", "training"):  # fmt: skip
            assert getattr(back, name) == getattr(model, name)
        x = np.random.default_rng(0).normal(size=(3, model.space.dim))
        assert (back.probs(x) == model.probs(x)).all()
        assert back.decide(back.probs(x)) == model.decide(model.probs(x))
        assert back.save(Path(folder) / "again") == digest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "both"}, "single, multi"),
        ({"classes": ("a", "b", "b")}, "3 classes with 3 ids"),
        ({"class_ids": (1, 2)}, "3 classes with 2 ids"),
        ({"policy": Policy((0.5,), (0.5,), (0.5,))}, "1 thresholds for 3 classes"),
    ],
    ids=["kind", "classes", "ids", "policy"],
)
def test_parts_that_do_not_belong_together_make_no_model(model, change, says):
    with pytest.raises(ModelError, match=says):
        replace(model, **change)


@pytest.mark.parametrize(
    "shape", [(24,), (2, 23), (1, 2, 24)], ids=["flat", "narrow", "three deep"]
)
def test_embeddings_of_another_shape_are_refused_with_what_is_needed(model, shape):
    with pytest.raises(ModelError, match=r"needs \(n, 24\) from tiny"):
        model.probs(np.zeros(shape, np.float32))
