"""`PhotoClassifier` in scikit-learn's hands, and model folders in everybody's."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score

import listlens
from listlens.core.errors import InputError, ModelError, TrainingError


def paths_and_labels(shop: Any) -> tuple[list[Path], list[str], list[str]]:
    images = list(shop.classes)
    return (
        [shop.photos / image for image in images],
        list(shop.classes.values()),
        [image.split("/")[0] for image in images],
    )


def test_fit_predict_and_score(shop: Any) -> None:
    paths, labels, listings = paths_and_labels(shop)
    model = listlens.PhotoClassifier().fit(paths, labels, groups=listings)
    assert model.classes_.tolist() == ["disc", "speckle", "stripes"]
    probs = model.predict_proba(paths)
    assert probs.shape == (36, 3)
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (model.predict(paths) == model.classes_[probs.argmax(axis=1)]).all()
    assert model.score(paths, labels) == 1.0
    assert model.predict([]).shape == (0,)
    assert model.predict_proba([]).shape == (0, 3)


def test_text_paths_arrays_and_number_labels_will_do(shop: Any) -> None:
    paths, labels, _ = paths_and_labels(shop)
    numbers = [("disc", "speckle", "stripes").index(name) * 10 for name in labels]
    model = listlens.PhotoClassifier().fit(np.array(list(map(str, paths))), numbers)
    assert model.classes_.tolist() == [0, 10, 20]
    assert model.predict(list(map(str, paths[:3]))).tolist() == numbers[:3]


def test_cross_val_score_with_groups(shop: Any) -> None:
    paths, labels, listings = paths_and_labels(shop)
    scores = cross_val_score(
        listlens.PhotoClassifier(), list(map(str, paths)), labels, groups=listings,
        cv=GroupKFold(3))  # fmt: skip
    assert scores.shape == (3,)
    assert scores.mean() >= 0.9


def test_a_clone_has_the_options_and_nothing_learned(shop: Any) -> None:
    paths, labels, _ = paths_and_labels(shop)
    model = listlens.PhotoClassifier(seed=7, class_weight="balanced").fit(paths, labels)
    copy = clone(model)
    assert copy.get_params() == {"seed": 7, "engine": "auto", "class_weight": "balanced"}
    with pytest.raises(NotFittedError):
        copy.predict(paths)
    again = copy.fit(paths, labels)
    assert (again.predict_proba(paths) == model.predict_proba(paths)).all()


def test_every_bad_photo_is_named_at_once(shop: Any, tmp_path: Path) -> None:
    paths, labels, _ = paths_and_labels(shop)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>")
    bad = [tmp_path / "empty.jpg", tmp_path / "page.jpg", tmp_path / "gone.jpg"]
    with pytest.raises(InputError, match="3 photos cannot be used") as caught:
        listlens.PhotoClassifier().fit([*paths, *bad], [*labels, "disc", "disc", "disc"])
    for path in bad:
        assert path.name in str(caught.value)
    with pytest.raises(InputError, match=r"page\.jpg"):
        listlens.PhotoClassifier().fit(paths, labels).predict([paths[0], bad[1]])


def test_a_photo_that_changed_is_looked_at_again(
    shop: Any, tmp_path: Path, draw_photo: Callable[..., Image.Image]
) -> None:
    paths, labels, _ = paths_and_labels(shop)
    model = listlens.PhotoClassifier().fit(paths, labels)
    path = tmp_path / "one.png"
    for shape in ("disc", "speckle", "stripes"):
        draw_photo(shape, 500).save(path)
        assert model.predict([path]).tolist() == [shape]


def test_lengths_and_classes_are_checked_in_words(shop: Any) -> None:
    paths, labels, _ = paths_and_labels(shop)
    with pytest.raises(InputError, match="36 photos need as many labels"):
        listlens.PhotoClassifier().fit(paths, labels[:-1])
    with pytest.raises(InputError, match="groups"):
        listlens.PhotoClassifier().fit(paths, labels, groups=[1])
    with pytest.raises(TrainingError, match="two classes"):
        listlens.PhotoClassifier().fit(paths, ["disc"] * 36)
    with pytest.raises(InputError, match="engine"):
        listlens.PhotoClassifier(engine="warp").fit(paths, labels)


def test_a_model_folder_works_away_from_its_project(
    project: Path, shop: Any, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    (project / "models" / "label" / "1").rename(alone)
    model = listlens.load_model(alone)
    assert model.classes == ("disc", "speckle", "stripes")
    paths, labels, _ = paths_and_labels(shop)
    answers = model.predict(paths)
    assert [a.classes[0] for a in answers] == labels
    assert all(a.status.value == "ok" and a.reason is None for a in answers)
    assert list(answers[0].probs) == list(model.classes)
    assert np.isnan(model.predict_proba([tmp_path / "gone.jpg", paths[0]])[0]).all()
    assert model.predict([]) == []
    assert model.predict_proba([]).shape == (0, 3)


def test_predictions_stream_lazily(project: Path, shop: Any) -> None:
    paths, _, _ = paths_and_labels(shop)
    asked = 0

    def endless() -> Any:
        nonlocal asked
        while True:
            asked += 1
            yield paths[asked % 36]

    answers = listlens.load_model(project / "models" / "label" / "1").stream(endless())
    for _ in range(10):
        assert next(answers).status.value == "ok"
    assert asked <= 200


def test_what_is_no_model_folder_is_refused(tmp_path: Path, project: Path) -> None:
    with pytest.raises(ModelError):
        listlens.load_model(tmp_path)
    folder = project / "models" / "label" / "1"
    card = (folder / "model.json").read_text(encoding="utf-8")
    (folder / "model.json").write_text(card[: len(card) // 2], encoding="utf-8")
    with pytest.raises(ModelError):
        listlens.load_model(folder)


def test_bytes_are_prepared_alike_whatever_the_file_is_called(
    project: Path, shop: Any, tmp_path: Path
) -> None:
    photo = shop.photos / next(iter(shop.classes))
    model = listlens.load_model(project / "models" / "label" / "1")
    expected = model.predict_proba([photo])
    for name in ("plain.jpg", "no-suffix", "wrong.png", "spaced name.JPG", "ümlaut.jpeg"):
        (tmp_path / name).write_bytes(photo.read_bytes())
        assert np.allclose(model.predict_proba([tmp_path / name]), expected, atol=1e-5)
    buffer = io.BytesIO()
    Image.open(photo).save(buffer, "PNG")
    (tmp_path / "same.png").write_bytes(buffer.getvalue())
    assert np.allclose(model.predict_proba([tmp_path / "same.png"]), expected, atol=0.05)
