"""Places in the shop: among photos alike, by honest answers, and in the columns of tables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from listlens.core.types import Status
from listlens.pipeline.apply import Prediction
from listlens.pipeline.places import SCORED, place_columns, place_photos, with_places

STEPS = ("1", "2", "3")


def store(n: int, attributes: dict[str, dict[str, Any]] | None = None) -> Any:
    """A store as `place_photos` reads it: photo i is content i + 1 of listing i."""
    photos = [
        SimpleNamespace(photo_pk=i, content_id=i + 1, listing_id=f"L{i}", photo_id=f"{i}.jpg")
        for i in range(n)
    ]
    return SimpleNamespace(
        photos=SimpleNamespace(
            scan=lambda status: iter(photos), attributes=lambda: list((attributes or {}).items())
        ),
        contents=SimpleNamespace(get=lambda ids: {i: SimpleNamespace(measures=None) for i in ids}),
    )


def votes(share: float) -> np.ndarray:
    """Between all votes for 1 and all for 3."""
    return np.array([1 - share, 0.0, share], np.float32)


def rising(ids: Any) -> dict[int, np.ndarray]:
    return {i: votes(i / 100) for i in ids}


def test_places_follow_the_scores_and_come_best_first() -> None:
    found = place_photos(store(50), STEPS, rising)
    assert list(found) == list(range(49, -1, -1))
    assert [found[i].image for i in (0, 49)] == ["0.jpg", "49.jpg"]
    assert found[49].percentile == pytest.approx(0.99)
    assert found[0].mean == pytest.approx(1.02)
    assert all(set(place_columns(one)) == set(SCORED) for one in found.values())


def test_photos_are_compared_within_categories_that_are_large_enough() -> None:
    kinds = {f"L{i}": {"Category": "sofa" if i < 40 else "lamp"} for i in range(50)}
    found = place_photos(store(50, kinds), STEPS, rising)
    assert found[39].category == "sofa"
    assert found[39].percentile == pytest.approx(39.5 / 40, abs=1e-4)
    assert found[45].category == ""  # ten lamps are too few: among all photos
    assert found[45].percentile == pytest.approx(45.5 / 50, abs=1e-4)


def test_an_answer_of_models_that_had_not_seen_the_photo_wins() -> None:
    held = SimpleNamespace(probs_of=lambda pk: votes(1.0) if pk == 0 else None)
    found = place_photos(store(30), STEPS, rising, held, {1: votes(0.25)})
    assert next(iter(found)) == 0
    assert found[0].mean == pytest.approx(3.0)
    assert (found[1].given, found[2].given) == (1.5, None)


def test_photos_without_an_answer_have_no_place() -> None:
    found = place_photos(store(30), STEPS, lambda ids: {i: votes(0.5) for i in ids if i % 2})
    assert set(found) == set(range(0, 30, 2))
    assert place_photos(store(30), STEPS, lambda ids: {}) == {}


def test_a_photo_from_outside_is_placed_only_where_the_shop_has_scores() -> None:
    blocks = [(np.arange(3), np.stack([votes(0.1), votes(0.2), votes(0.3)]))]
    model = SimpleNamespace(task="look", kind="score", classes=STEPS, model_id=1)
    answer = Prediction("new.jpg", Status.OK, score=1.5)
    other = Prediction("new.jpg", Status.OK, classes=("bed",))
    for scanned, wanted in ((blocks, 2 / 3), ([], None)):
        shop = SimpleNamespace(
            predictions=SimpleNamespace(scan=lambda pk, found=scanned: iter(found))
        )
        said = dict(with_places(shop, [model], iter([("look", answer), ("room", other)])))
        assert said["look"].percentile == (wanted and pytest.approx(wanted, abs=1e-4))
        assert said["room"] == other
