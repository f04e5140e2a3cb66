"""What every backbone owes, on every engine and precision that this machine has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from listlens.backbones.registry import MODEL_SHA256, engines, load_backbone
from listlens.core.errors import InputError
from listlens.core.ports import Backbone

HERE = [(e.name, p) for e in engines() for p in e.precisions]
N = 11  # two blocks and a remainder


@pytest.fixture(scope="module", params=HERE, ids="-".join)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    engine, precision = request.param
    return load_backbone(engine=engine, precision=precision, n_threads=2)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Photos of coarse coloured squares with a gradient, so that all layers have work."""
    rng = np.random.default_rng(7)
    squares = rng.integers(0, 256, (N, 14, 14, 3)).repeat(16, axis=1).repeat(16, axis=2)
    gradient = np.linspace(-60, 60, 224)[None, :, None, None]
    return np.clip(squares + gradient, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def embeddings(backbone: Backbone, images: np.ndarray) -> np.ndarray:
    return backbone.embed(images)


def test_an_embedding_is_one_float16_row_per_photo(backbone, embeddings):
    assert embeddings.shape == (N, backbone.space.dim) == (N, 1280)
    assert embeddings.dtype == np.float16
    assert np.isfinite(embeddings).all()
    assert (embeddings >= 0).all() and (embeddings <= 6).all()  # means of ReLU6


def test_different_photos_have_different_embeddings(embeddings):
    assert len(np.unique(embeddings, axis=0)) == N


def test_no_photos_give_no_rows(backbone):
    none = np.zeros((0, 224, 224, 3), np.uint8)
    assert backbone.embed(none).shape == (0, 1280)
    assert backbone.embed(none).dtype == np.float16
    assert backbone.feature_maps(none).shape[:2] == (0, 1280)


def test_the_same_photos_give_the_same_bits_again(backbone, images, embeddings):
    np.testing.assert_array_equal(backbone.embed(images), embeddings)


def test_the_bits_of_a_photo_do_not_depend_on_its_company(backbone, images, embeddings):
    one_by_one = np.concatenate([backbone.embed(images[i : i + 1]) for i in range(N)])
    np.testing.assert_array_equal(one_by_one, embeddings)
    np.testing.assert_array_equal(backbone.embed(images[::-1])[::-1], embeddings)
    for at in (2, 9):
        parts = [backbone.embed(images[:at]), backbone.embed(images[at:])]
        np.testing.assert_array_equal(np.concatenate(parts), embeddings)


def test_the_bits_do_not_depend_on_the_number_of_threads(backbone, images, embeddings):
    engine, precision = backbone.space.engine, backbone.space.precision
    for n_threads in (1, 3):
        other = load_backbone(engine=engine, precision=precision, n_threads=n_threads)
        np.testing.assert_array_equal(other.embed(images), embeddings)


def test_it_may_be_called_from_several_threads_at_once(backbone, images, embeddings):
    with ThreadPoolExecutor(4) as pool:
        parts = [np.roll(images, k, axis=0) for k in range(6)]
        found = list(pool.map(backbone.embed, parts))
    for k, rows in enumerate(found):
        np.testing.assert_array_equal(rows, np.roll(embeddings, k, axis=0))


def test_a_result_is_not_overwritten_by_the_next_call(backbone, images, embeddings):
    first = backbone.embed(images[:8])
    maps = backbone.feature_maps(images[:1])
    kept, kept_maps = first.copy(), maps.copy()
    backbone.embed(images[3:11])
    backbone.feature_maps(images[1:2])
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(maps, kept_maps)


def test_the_mean_of_a_feature_map_is_the_embedding(backbone, images, embeddings):
    maps = backbone.feature_maps(images[:9])
    assert maps.shape == (9, 1280, 7, 7)
    assert maps.dtype == np.float32
    tolerance = 0.03 if backbone.space.precision == "bf16" else 0.002  # f32: float16 rounding
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), embeddings[:9], atol=tolerance)


def test_read_only_and_non_contiguous_photos_are_taken_as_they_are(backbone, images, embeddings):
    frozen = images.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(backbone.embed(frozen), embeddings)
    wide = np.zeros((N, 224, 448, 3), np.uint8)
    wide[:, :, ::2] = images
    np.testing.assert_array_equal(backbone.embed(wide[:, :, ::2]), embeddings)


def test_photos_are_left_unchanged(backbone, images):
    before = images.copy()
    backbone.embed(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((2, 224, 224, 3), np.float32), "float32"),
        (np.zeros((2, 3, 224, 224), np.uint8), r"\(2, 3, 224, 224\)"),
        (np.zeros((2, 256, 224, 3), np.uint8), r"\(2, 256, 224, 3\)"),
        (np.zeros((224, 224, 3), np.uint8), r"images\[np.newaxis\]"),
        (np.zeros((2, 224, 224, 4), np.uint8), r"\(2, 224, 224, 4\)"),
        ([[1, 2, 3]], "list"),
    ],
)
def test_wrong_pixels_are_refused_with_what_is_allowed(backbone, wrong, said):
    for ask in (backbone.embed, backbone.feature_maps):
        with pytest.raises(InputError, match=said) as caught:
            ask(wrong)
        assert "uint8 array of shape (n, 224, 224, 3)" in str(caught.value)


def test_the_space_names_weights_preprocessing_engine_and_precision(backbone):
    space = backbone.space
    assert space.backbone == "efficientnet-lite0"
    assert space.weights_sha256 == MODEL_SHA256
    assert space.preprocessing == backbone.preprocessing.id
    assert (space.engine, space.precision) in HERE
    other = load_backbone(engine=space.engine, precision=space.precision, reduced_px=224)
    assert other.space.id != space.id
    assert other.space.comparable(space)
