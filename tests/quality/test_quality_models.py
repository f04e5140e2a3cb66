"""The shipped quality models: their cards, their weights, what they promise of their numbers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from listlens.backbones.network import MODEL_SHA256
from listlens.core.errors import ModelError
from listlens.images.distortions import DISTORTIONS
from listlens.quality import weights
from listlens.quality.aesthetic import aesthetic_model
from listlens.quality.signals import N_SIGNALS, signals
from listlens.quality.technical import MEASURES, score, technical_model

NAMES = ("technical", "aesthetic")


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_the_model_was_trained_on_and_under_which_licence(name):
    card = weights.read_card(name)
    trained_on = str(card["trained_on"])
    assert "licence" in trained_on
    assert card["limits"]
    assert card["backbone_sha256"] == MODEL_SHA256
    for forbidden in ("houses", "cars", "flipkart"):
        assert forbidden not in trained_on


def test_the_aesthetic_card_says_that_it_saw_only_crops():
    assert "80 PX CROPS" in weights.read_card("aesthetic")["limits"]


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_small_and_are_the_cards(name):
    data = (weights.DATA / f"{name}.safetensors").read_bytes()
    assert len(data) < 300_000
    assert hashlib.sha256(data).hexdigest() == weights.read_card(name)["sha256"]


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    for name in ("technical.json", "technical.safetensors"):
        (tmp_path / name).write_bytes((weights.DATA / name).read_bytes())
    monkeypatch.setattr(weights, "DATA", tmp_path)
    (tmp_path / "technical.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ModelError, match="Install listlens again"):
        weights.load_weights("technical")


def test_every_family_of_distortions_can_be_a_reason():
    families = {one.family for one in DISTORTIONS.values()} - {"crop"}
    assert set(technical_model().families) == families


def test_penalties_are_never_negative_and_the_score_stays_between_0_and_1():
    model = technical_model()
    rng = np.random.default_rng(0)
    for _ in range(20):
        photo = rng.normal(0, 50, 1280 + len(MEASURES) + N_SIGNALS).astype(np.float32)
        penalties = model.penalties(photo)
        assert penalties.min() >= 0
        assert 0 <= score(penalties) <= 1
        assert len(model.reasons(penalties)) <= len(model.families)


def test_votes_are_a_distribution_and_the_score_their_mean_from_0_to_1():
    embeddings = np.random.default_rng(0).normal(0, 1, (5, 1280)).astype(np.float16)
    model = aesthetic_model()
    votes = model.votes(embeddings)
    assert votes.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert 0 <= model.score(embeddings[0]) <= 1


@pytest.mark.parametrize("value", [0, 17, 255])
def test_an_even_picture_has_finite_signals(value):
    found = signals(np.full((50, 70, 3), value, np.uint8))
    assert found.shape == (N_SIGNALS,)
    assert np.isfinite(found).all()


def test_signals_of_any_size_are_finite():
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (2, 300), (33, 31), (64, 1)):
        assert np.isfinite(signals(rng.integers(0, 256, (*shape, 3)).astype(np.uint8))).all()
