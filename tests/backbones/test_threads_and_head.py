"""The embedded backbone under load, in any partition, and its own classifier."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.backbones.registry import (
    MODEL_SHA256,
    engines,
    imagenet_head,
    load_backbone,
    model_file,
)
from listlens.core.errors import InputError, NotFoundError
from listlens.core.ports import Backbone

HERE = [(e.name, p) for e in engines() for p in e.precisions]
N = 6


def squares(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 14, 14, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)


@pytest.fixture(scope="module", params=HERE, ids="-".join)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    engine, precision = request.param
    return load_backbone(engine=engine, precision=precision, n_threads=2)


@pytest.fixture(scope="module")
def whole(backbone: Backbone) -> np.ndarray:
    return backbone.embed(squares(N))


@settings(max_examples=3, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=4), order=st.permutations(range(N)))
def test_any_partition_in_any_order_gives_the_same_bits(backbone, whole, cuts, order):
    """What is resumed after an interruption equals what ran through."""
    images = squares(N)[list(order)]
    parts = np.split(images, sorted(cuts))
    found = np.concatenate([backbone.embed(part) for part in parts])
    assert np.array_equal(found, whole[list(order)])


def test_eight_threads_at_once_get_each_its_own_rows(backbone, whole):
    images, barrier = squares(N), threading.Barrier(8)

    def embed(shift: int) -> np.ndarray:
        barrier.wait(30)
        return backbone.embed(np.roll(images, shift, axis=0)[: N - shift % 2])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(embed, range(8)))
    for shift, rows in enumerate(found):
        assert np.array_equal(rows, np.roll(whole, shift, axis=0)[: N - shift % 2])


def test_embeddings_and_maps_asked_at_once_do_not_mix(backbone, whole):
    images = squares(4)
    alone = backbone.feature_maps(images)
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(ask, images)
            for ask in (backbone.embed, backbone.feature_maps)
            for _ in "ab"
        ]
        done = [one.result() for one in asked]
    for rows in done[:2]:
        assert np.array_equal(rows, whole[:4])
    for maps in done[2:]:
        assert np.array_equal(maps, alone)


def test_equal_photos_have_equal_bits_within_one_call(backbone):
    rows = backbone.embed(np.repeat(squares(1), 7, axis=0))
    assert np.array_equal(rows, np.repeat(rows[:1], 7, axis=0))


@pytest.mark.parametrize("n_threads", [0, -1, -100])
def test_a_number_of_threads_that_cannot_run_is_refused(n_threads):
    with pytest.raises(InputError, match=rf"n_threads is {n_threads}; allowed: 1 or more"):
        load_backbone(n_threads=n_threads)


@pytest.mark.parametrize(
    "providers",
    [("NoSuchExecutionProvider",), ("CPUExecutionProvider", "Nope"), ("cpu",)],
    ids="+".join,
)
def test_an_unknown_provider_is_refused_with_those_that_are_here(providers):
    with pytest.raises(InputError, match="no provider") as caught:
        load_backbone(providers=providers)
    for name in ort.get_available_providers():
        assert name in str(caught.value)


@pytest.mark.parametrize("name", ["", "EfficientNet-Lite0", "efficientnet-lite0 ", "resnet50"])
def test_a_backbone_that_does_not_exist_is_refused_with_the_one_that_does(name):
    with pytest.raises(InputError, match="'efficientnet-lite0'"):
        load_backbone(name)


def test_a_file_that_is_not_there_names_the_file(tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.onnx cannot be read"):
        load_backbone(str(tmp_path / "none.onnx"))


def test_what_doctor_lists_can_be_loaded_and_says_the_same_of_itself():
    for engine in engines():
        for precision in engine.precisions:
            space = load_backbone(engine=engine.name, precision=precision).space
            assert (space.engine, space.precision) == (engine.name, precision)
            assert engine.version[0].isdigit()


def test_the_cheaper_precision_comes_first_where_there_are_two():
    """Bfloat16 comes first where the processor has it."""
    for engine in engines():
        assert list(engine.precisions) == sorted(engine.precisions)


@pytest.mark.parametrize("reduced_px", [224, 448, 1000])
def test_the_scale_of_decoding_is_part_of_the_space(reduced_px):
    space = load_backbone(reduced_px=reduced_px).space
    assert space.id.split(f"draft{reduced_px}")[0].startswith("efficientnet-lite0-")
    assert MODEL_SHA256.startswith(space.id.split("-")[2])


def test_the_head_is_the_graphs_own_for_many_photos():
    weights, bias, names = imagenet_head()
    session = ort.InferenceSession(model_file(), providers=["CPUExecutionProvider"])
    embedding, logits = session.run(["embedding", "logits"], {"image": squares(6, seed=5)})
    ours = embedding @ weights.T + bias
    np.testing.assert_allclose(ours, logits, atol=1e-4)
    assert [names[i] for i in ours.argmax(1)] == [names[i] for i in logits.argmax(1)]


def test_the_head_on_stored_embeddings_gives_nearly_the_graphs_logits(backbone):
    """Stored embeddings are float16, of any engine."""
    weights, bias, _ = imagenet_head()
    images = squares(6, seed=8)
    session = ort.InferenceSession(model_file(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": images})
    ours = backbone.embed(images).astype(np.float32) @ weights.T + bias
    tolerance = 0.35 if backbone.space.precision == "bf16" else 0.01
    assert np.abs(ours - logits).max() < tolerance


def test_the_head_is_one_object_that_nobody_can_change():
    weights, bias, _ = imagenet_head()
    assert imagenet_head()[0] is weights
    for array in (weights, bias):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_graph_takes_uint8_and_says_so():
    session = ort.InferenceSession(model_file(), providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    assert (image.name, image.type) == ("image", "tensor(uint8)")
    assert image.shape[1:] == [224, 224, 3]
    assert [o.name for o in session.get_outputs()] == ["embedding", "feature_map", "logits"]
