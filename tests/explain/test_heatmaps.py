"""Heat-maps are exact, and the picture shows where the evidence is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from listlens.explain.heatmaps import class_activation, contrast, overlay


def jpeg(width=120, height=80, colour=(40, 120, 40)):
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "JPEG")
    return out.getvalue()


@given(st.integers(0, 2**31))
def test_the_mean_of_the_map_plus_bias_is_the_logit(seed):
    rng = np.random.default_rng(seed)
    features, weights, bias = rng.random((16, 7, 7)), rng.normal(size=16), rng.normal()
    logit = weights @ features.mean(axis=(1, 2)) + bias
    assert class_activation(features, weights).mean() + bias == pytest.approx(logit)


def test_what_raises_all_classes_alike_is_no_evidence():
    weights = np.array([[1.0, 5.0], [0.0, 5.0], [-1.0, 5.0]])
    assert contrast(weights, 0).tolist() == [1.5, 0.0]
    assert contrast(weights[:1], 0).tolist() == [1.0, 5.0]


def test_the_evidence_is_tinted_orange_where_it_is_and_nowhere_else():
    heat = np.zeros((7, 7))
    heat[:, :2] = 1
    with Image.open(io.BytesIO(overlay(jpeg(), heat))) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape == (80, 120, 3)
    redness = pixels[..., 0] - pixels[..., 1]
    assert redness[:, :25].mean() > 40
    assert redness[:, 70:].mean() < 0


def test_a_flat_map_leaves_the_photo_as_it_is():
    with Image.open(io.BytesIO(overlay(jpeg(), np.ones((7, 7))))) as image:
        assert np.abs(np.asarray(image).astype(int) - [40, 120, 40]).max() < 6
