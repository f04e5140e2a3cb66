"""Heat-maps on the embedded backbone's own features: where the evidence is, and how much."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from listlens.backbones.registry import imagenet_head, load_backbone
from listlens.explain.heatmaps import class_activation, contrast, overlay


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(precision="f32")


@pytest.fixture(scope="module")
def photos(draw_photo) -> np.ndarray:
    shapes = ("disc", "speckle", "stripes", "disc")
    return np.stack([np.asarray(draw_photo(s, i).resize((224, 224))) for i, s in enumerate(shapes)])


def test_the_mean_of_the_map_plus_the_bias_is_the_very_logit(backbone, photos):
    weights, bias, _ = imagenet_head()
    maps = backbone.feature_maps(photos)
    logits = backbone.embed(photos).astype(np.float64) @ weights.T + bias
    for i, row in enumerate(logits):
        for j in np.argsort(-row)[:5]:
            found = class_activation(maps[i], weights[j]).mean() + bias[j]
            assert found == pytest.approx(row[j], abs=0.01)  # float16 of the stored embedding


def test_what_speaks_for_a_class_rather_than_the_others_adds_up_too(backbone, photos):
    weights, bias, _ = imagenet_head()
    maps = backbone.feature_maps(photos)
    logits = maps.mean((2, 3), dtype=np.float64) @ weights.T + bias
    for i, row in enumerate(logits):
        j = int(row.argmax())
        others = (row.sum() - row[j]) / (len(row) - 1)
        biased = bias[j] - (bias.sum(dtype=np.float64) - bias[j]) / (len(bias) - 1)
        found = class_activation(maps[i], contrast(weights, j)).mean() + biased
        assert found == pytest.approx(row[j] - others, abs=1e-3)


def test_a_standardised_head_folds_into_weights_without_loss(backbone, photos):
    """As in our own heads: logits of (x - mean) / std are linear in x."""
    rng = np.random.default_rng(0)
    mean, std = rng.random(1280), rng.uniform(0.1, 2, 1280)
    head, bias = rng.normal(size=1280), 0.3
    maps = backbone.feature_maps(photos).astype(np.float64)
    direct = ((maps.mean((2, 3)) - mean) / std) @ head + bias
    folded = [class_activation(m, head / std).mean() + bias - head @ (mean / std) for m in maps]
    assert folded == pytest.approx(direct.tolist())


def test_the_evidence_moves_with_the_object(backbone):
    """A mirrored photo has a mirrored map, nearly: the object is where it is."""
    weights, _, _ = imagenet_head()
    image = np.full((224, 224, 3), 200, np.uint8)
    rng = np.random.default_rng(1)
    image[60:160, 10:100] = rng.integers(0, 256, (100, 90, 3))
    both = np.stack([image, image[:, ::-1]])
    maps = backbone.feature_maps(both)
    top = int((backbone.embed(both[:1]).astype(np.float32) @ weights.T).argmax())
    left, right = (class_activation(m, contrast(weights, top)) for m in maps)
    assert left[:, :3].mean() > left[:, 4:].mean()
    assert right[:, 4:].mean() > right[:, :3].mean()


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_contrasts_of_all_classes_cancel_out(seed, k):
    weights = np.random.default_rng(seed).normal(size=(k, 5))
    assert np.allclose(sum(contrast(weights, j) for j in range(k)), 0)
    shifted = weights + np.arange(5)  # the same for every class: no evidence
    assert np.allclose(contrast(shifted, 0), contrast(weights, 0))


def photo(width: int, height: int, mode: str = "RGB", fmt: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (width, height), 120 if mode == "L" else (40, 120, 40)).save(stream, fmt)
    return stream.getvalue()


@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 320), (5, 300), (1, 1)], ids=str)
@pytest.mark.parametrize("grid", [(7, 7), (3, 5), (1, 1)], ids=str)
def test_any_map_fits_over_any_photo(width, height, grid):
    heat = np.random.default_rng(0).normal(size=grid)
    with Image.open(io.BytesIO(overlay(photo(width, height), heat))) as drawn:
        assert (drawn.size, drawn.format, drawn.mode) == ((width, height), "JPEG", "RGB")


@pytest.mark.parametrize("corner", [(0, 0), (0, 6), (6, 0), (6, 6)], ids=str)
def test_the_tint_is_where_the_map_is_highest(corner):
    heat = np.zeros((7, 7))
    heat[corner] = 5.0
    with Image.open(io.BytesIO(overlay(photo(140, 140), heat))) as drawn:
        pixels = np.asarray(drawn).astype(int)
    tint = (pixels[..., 0] - pixels[..., 1]).reshape(7, 20, 7, 20).mean((1, 3))
    assert np.unravel_index(tint.argmax(), tint.shape) == corner
    assert tint[corner] > 30
    opposite = 6 - corner[0], 6 - corner[1]
    assert tint[opposite] < 0


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_the_tint_depends_on_the_shape_of_the_map_and_not_on_its_scale(scale):
    heat = np.random.default_rng(2).normal(size=(7, 7))
    plain = overlay(photo(70, 70), heat)
    assert overlay(photo(70, 70), heat * scale + 3 * scale) == plain


def test_grey_and_png_thumbnails_are_drawn_over_too():
    heat = np.eye(7)
    for drawn in (overlay(photo(70, 70, "L"), heat), overlay(photo(70, 70, fmt="PNG"), heat)):
        with Image.open(io.BytesIO(drawn)) as image:
            assert image.mode == "RGB"
