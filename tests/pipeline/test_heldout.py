"""Held-out answers are kept beside the model, and are those that were reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import listlens
from listlens.core.errors import ModelError
from listlens.learn.policies import Decided
from listlens.pipeline.heldout import FILE, Heldout
from listlens.pipeline.judging import in_classes

Cli = Callable[..., Any]


def some(n: int, k: int = 3, seed: int = 0) -> Heldout:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(k), n).astype(np.float32).reshape(n, k)
    split = np.array([("train", "val", "test", "")[i % 4] for i in range(n)], dtype="U5")
    decided = [Decided(*(rng.random((2, n, k)) < 0.5)) for _ in range(2)]
    others = probs[::-1].copy()
    return Heldout(np.arange(10, 10 + n), split, probs, decided[0], others, decided[1], bool(n % 2))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(0, 30), k=st.integers(1, 5))
def test_what_is_saved_reads_back(tmp_path: Path, n: int, k: int) -> None:
    held = some(n, k)
    held.save(tmp_path)
    back = Heldout.of(tmp_path)
    assert (back.photo_pks == held.photo_pks).all()
    assert back.split.tolist() == held.split.tolist()
    assert (back.probs == held.probs).all()
    assert (back.oof_probs == held.oof_probs).all()
    for ours, theirs in ((held.decided, back.decided), (held.oof_decided, back.oof_decided)):
        assert (ours.given == theirs.given).all()
        assert (ours.review == theirs.review).all()
    assert back.own_split is held.own_split


def test_photos_are_found_by_their_row_and_others_are_not() -> None:
    held = some(4)
    assert held.rows_of([12, 99, 10]).tolist() == [2, -1, 0]
    assert held.split_of(12) == "test"
    assert held.split_of(13) is None
    assert held.split_of(99) is None
    assert held.probs_of(99) is None
    assert (held.probs_of(11) == held.probs[1]).all()


def test_photos_that_came_later_are_added_and_known_ones_stay() -> None:
    held = some(4)
    new = np.full((3, 3), 1 / 3, np.float32)
    decided = Decided(np.eye(3, dtype=bool), np.ones((3, 3), bool))
    wider = held.extended([11, 50, 51], new, decided)
    assert wider.rows_of([11, 50, 51]).tolist() == [1, 4, 5]
    assert (wider.probs_of(11) == held.probs[1]).all()
    assert (wider.probs_of(50) == new[1]).all()
    assert wider.split_of(50) == "new"
    assert wider.decided_of(50).given.tolist() == [[False, True, False]]
    assert (wider.decided_of(11).given == held.decided.given[1]).all()
    assert wider.decided_of(99) is None


@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "other"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    some(5).save(tmp_path)
    path = tmp_path / FILE
    if damage == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes({"cut": data[:-9], "empty": b"", "other": b"\xff" * 64}[damage])
    with pytest.raises(ModelError, match="damaged"):
        Heldout.of(tmp_path)


@pytest.mark.slow
def test_photos_labelled_later_are_judged_by_the_model_itself(
    cli: Cli, new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    shop = new_shop(tmp_path, n_listings=12)
    early = {image: "" for image in shop.classes if image >= "home-10"}
    labels = shop.write_labels(tmp_path / "early.csv", early)
    out = tmp_path / "OUT"
    first = cli("auto", shop.photos, labels, "--out", out, "--json").json
    assert first["train"]["summary"]["cross_validation"]["n"] == 30
    later = tmp_path / "later.jsonl"
    rows = [json.dumps({"image": i, "label": shop.classes[i]}) for i in early]
    later.write_text("\n".join(rows))
    assert cli("labels", "import", "label", later, "-p", out, "--json").json["annotations"] == 6
    judged = cli("evaluate", "label", "-p", out, "--json").json
    assert judged["version"] == 1
    assert judged["summary"]["cross_validation"] == first["train"]["summary"]["cross_validation"]
    assert judged["summary"]["labelled_since"]["n"] == 6
    with listlens.open(out) as project:
        held = Heldout.of(out / "models" / "label" / "1")
        pks = {p.photo_id: p.photo_pk for p in project.store.photos.scan()}
        assert all((held.probs_of(pks[i]) is None) is (i in early) for i in shop.classes)


def test_targets_move_to_the_classes_of_a_model() -> None:
    single = np.array([0, 1, 2, -1])
    moved = in_classes("single", ("a", "b", "c"), ("c", "a"), single)
    assert moved.tolist() == [1, -1, 0, -1]
    multi = np.array([[1, 0, -1], [0, 1, 1]], np.int8)
    moved = in_classes("multi", ("a", "b", "c"), ("c", "new", "a"), multi)
    assert moved.tolist() == [[-1, -1, 1], [1, -1, 0]]
