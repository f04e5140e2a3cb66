"""What a model keeps of its training, to compare others with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from listlens.core.errors import ModelError
from listlens.learn.reference import FILE, MOST_CLASSES, Reference

RNG = np.random.default_rng(3)
DIM = 64
MIX = RNG.normal(size=(10, DIM))


def photos(n: int, shift: float = 0.0) -> np.ndarray:
    """Embeddings whose variety has ten directions, as photos' have fewer than numbers."""
    made = RNG.normal(size=(n, 10)) @ MIX + RNG.normal(size=(n, DIM)) * 0.3
    return np.asarray(made + shift, np.float16)


def sure(n: int, classes: np.ndarray, k: int = 3) -> np.ndarray:
    probs = np.full((n, k), 0.02 / (k - 1), np.float32)
    probs[np.arange(n), classes] = 0.98
    return probs


def fitted(n: int = 400, k: int = 3) -> Reference:
    return Reference.fit(
        photos(n), sure(n, np.arange(n) % k, k), np.arange(n) % 20 == 0, np.arange(n) // 4,
        np.arange(k) + 10, "single",
    )  # fmt: skip


def compare(reference: Reference, embeddings: np.ndarray, probs: np.ndarray, review: float = 0.05):
    n = len(probs)
    rows = reference.rows(embeddings, probs, np.arange(n) < review * n)
    return {one.part: one for one in reference.compare(rows.sum(axis=0), n)}


def test_new_photos_of_the_same_kind_are_like_the_training_and_others_are_not() -> None:
    made = fitted()
    same = compare(made, photos(200), sure(200, np.arange(200) % 3))
    assert not any(one.found for one in same.values())
    moved = compare(made, photos(200, 0.8), sure(200, np.arange(200) % 3))
    assert moved["look"].found and moved["look"].distance > 2 * same["look"].distance
    assert not moved["classes"].found
    other = RNG.normal(size=(200, DIM)).astype(np.float16) * 3  # in no direction of the training's
    assert compare(made, other, sure(200, np.arange(200) % 3))["look"].found


def test_other_classes_less_sure_answers_and_more_reviews_are_each_found() -> None:
    made, same = fitted(), photos(300)
    one_class = compare(made, same, sure(300, np.zeros(300, int)))
    assert one_class["classes"].found and not one_class["sureness"].found
    blunt = sure(300, np.arange(300) % 3)
    blunt[:200] = blunt[:200] * 0.5 + 1 / 6
    unsure = compare(made, same, blunt)
    assert unsure["sureness"].found and not unsure["classes"].found
    assert compare(made, same, sure(300, np.arange(300) % 3), review=0.4)["review"].found


def test_it_is_read_as_it_was_written_and_takes_few_kilobytes(tmp_path: Path) -> None:
    made = fitted()
    made.save(tmp_path)
    read = Reference.load(tmp_path)
    new, probs, review = photos(50), sure(50, np.arange(50) % 3), np.zeros(50, np.bool_)
    np.testing.assert_array_equal(made.rows(new, probs, review), read.rows(new, probs, review))
    assert (tmp_path / FILE).stat().st_size < 10_000
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-40])
    with pytest.raises(ModelError, match="damaged"):
        Reference.load(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(ModelError, match="Train the task again"):
        Reference.load(tmp_path)


def test_too_few_photos_say_nothing_of_how_others_look() -> None:
    made = fitted(60)
    assert [*compare(made, photos(100), sure(100, np.arange(100) % 3))] == [
        "classes", "sureness", "review",
    ]  # fmt: skip


def test_rare_classes_of_very_many_share_a_column() -> None:
    n, k = 2000, 300
    classes = np.minimum(RNG.geometric(0.02, n) - 1, k - 1)
    made = Reference.fit(
        photos(n), sure(n, classes, k), np.zeros(n, np.bool_), np.arange(n), np.arange(k), "single"
    )
    assert len(made.class_ids) == MOST_CLASSES and made.class_ids[-1] == -1
    same = compare(made, photos(200), sure(200, classes[:200], k))
    assert not same["classes"].found
    rare = compare(made, photos(200), sure(200, np.full(200, k - 1), k))
    assert rare["classes"].found


def test_of_several_tags_each_has_its_rate_and_none_is_one_too() -> None:
    n = 400
    given = np.stack([np.arange(n) % 2 == 0, np.arange(n) % 4 == 0], axis=1)
    probs = np.where(given, 0.9, 0.1).astype(np.float32)
    made = Reference.fit(
        photos(n), probs, np.zeros(n, np.bool_), np.arange(n) // 4, np.array([5, 6]), "multi"
    )
    rows = made.rows(photos(n), probs, np.zeros(n, np.bool_))
    shares = {pk: now for pk, _, now in made.shares(rows.sum(axis=0), n)}
    assert shares == {5: 0.5, 6: 0.25, -2: 0.5}
    bare = np.full((n, 2), 0.1, np.float32)
    assert compare(made, photos(n), bare, review=0)["classes"].found


def test_rows_without_a_held_out_answer_still_say_how_photos_look() -> None:
    probs = sure(400, np.arange(400) % 3)
    probs[::2] = np.nan
    made = Reference.fit(
        photos(400), probs, np.zeros(400, np.bool_), np.arange(400) // 4, np.arange(3), "single"
    )
    assert made.n.tolist() == [400, 200, 200, 200]
    assert not any(
        one.found
        for one in compare(made, photos(200), sure(200, np.arange(200) % 3), review=0).values()
    )
