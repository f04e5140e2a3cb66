"""What is scored is what the model had not seen, and decided by thresholds that had not either."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from listlens.core.errors import ModelError, TrainingError
from listlens.core.types import Policy
from listlens.labels.consensus import Label
from listlens.learn.dataset import TrainingSet
from listlens.learn.policies import answers, named
from listlens.learn.recipe import Trained, TrainOptions, train
from listlens.pipeline.heldout import FILE, Heldout
from listlens.pipeline.judging import Judged, judge
from listlens.pipeline.label_growth import measure_learning_curve

Cli = Callable[..., Any]
DIM = 24
POLICY = Policy((0.5,) * 3, (0.4,) * 3, (0.6,) * 3)
UNKNOWN = Label((), (), "no", (), 0.0, 0)


def noisy(n: int, kind: str, seed: int, *, split: bool = False) -> TrainingSet:
    """A set that is hard to learn, two photos a listing."""
    rng = np.random.default_rng(seed)
    yes = (rng.random((n, 3)) < 0.3).astype(np.int8)
    single = rng.choice(3, n, p=[0.8, 0.1, 0.1]).astype(np.int64)
    x = (yes if kind == "multi" else np.eye(3)[single]) @ np.eye(3, DIM) * 1.2
    groups = np.arange(n) // 2
    sides = np.array(["train", "train", "val", "test"])[groups % 4]
    return TrainingSet(
        kind=kind,  # type: ignore[arg-type]
        classes=("a", "b", "c"),
        embeddings=(x + rng.normal(size=(n, DIM))).astype(np.float32),
        targets=yes if kind == "multi" else single,
        groups=groups,
        listings=groups,
        given_split=sides if split else np.full(n, "", "<U5"),
        names=tuple(f"{i}.jpg" for i in range(n)),
    )


def examples_of(data: TrainingSet) -> Any:
    """Examples as `judge` reads them: photo i is row i of the store."""
    photos = [
        SimpleNamespace(photo=SimpleNamespace(photo_pk=i, sha256=str(i)), label=UNKNOWN)
        for i in range(len(data.names))
    ]
    return SimpleNamespace(data=data, given=data.targets, photos=photos)


def judged(data: TrainingSet, trained: Trained, heldout: Heldout | None = None) -> Judged:
    held = heldout or Heldout.from_trained(trained, range(len(data.names)))
    return judge(examples_of(data), held, trained.classes, trained.policy, None)


def widened(trained: Trained, more: TrainingSet) -> Heldout:
    """The heldout of a training, with the model's answers for photos labelled since."""
    held = Heldout.from_trained(trained, range(len(trained.split)))
    probs = trained.calibration.probs(trained.head.logits(more.embeddings), more.kind)
    decided = answers(probs, trained.policy, more.kind)
    return held.extended(range(len(more.names)), probs, decided)


def with_more(data: TrainingSet, listings: list[int]) -> TrainingSet:
    """The set with a photo more of each of these listings."""
    rows = np.array([*range(len(data.names)), *(0 for _ in listings)])
    groups = np.concatenate([data.groups, listings])
    return TrainingSet(
        kind=data.kind,
        classes=data.classes,
        embeddings=data.embeddings[rows],
        targets=data.targets[rows],
        groups=groups,
        listings=groups,
        given_split=data.given_split[rows],
        names=tuple(f"{i}.jpg" for i in range(len(rows))),
    )


def test_the_reported_tags_are_those_of_thresholds_chosen_on_other_folds() -> None:
    data = noisy(80, "multi", 3)
    trained = train(data)
    found = judged(data, trained).cross_validation
    honest, rosy = trained.oof_decided.given, trained.oof_probs >= trained.policy.thresholds
    yes = data.targets == 1
    assert (honest != rosy).any()
    macro = [2 * (g & yes).sum(0) / (g.sum(0) + yes.sum(0)) for g in (honest, rosy)]
    assert found.scores.macro.f1.value == pytest.approx(macro[0].mean())
    assert macro[0].mean() < macro[1].mean()
    assert found.accuracy.value == pytest.approx((honest == yes).mean())
    asked = trained.oof_decided.review
    assert found.coverage.policy_coverage.value == pytest.approx(1 - asked.mean())
    assert found.coverage.policy_error.value == pytest.approx((honest != yes)[~asked].mean())


def test_test_photos_are_decided_by_the_shipped_policy() -> None:
    data = noisy(160, "multi", 1, split=True)
    trained = train(data)
    held = Heldout.from_trained(trained, range(160))
    test = data.given_split == "test"
    shipped = answers(trained.test_probs[test], trained.policy, "multi")
    assert (held.decided.given[test] == shipped.given).all()
    assert (held.decided.review[test] == shipped.review).all()
    assert (held.decided.given[~test] == trained.oof_decided.given[~test]).all()
    right = shipped.given == (data.targets[test] == 1)
    assert judged(data, trained).test.accuracy.value == pytest.approx(right.mean())


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_corrected_labels_are_scored_with_the_kept_decisions(kind: str, tmp_path: Path) -> None:
    data = noisy(80, kind, 3)
    trained = train(data)
    Heldout.from_trained(trained, range(80)).save(tmp_path)
    kept = Heldout.of(tmp_path)
    assert (kept.oof_decided.given == trained.oof_decided.given).all()
    assert (kept.oof_decided.review == trained.oof_decided.review).all()
    targets = data.targets.copy()
    targets[:8] = 1 - np.minimum(targets[:8], 1)
    found = judged(replace(data, targets=targets), trained, kept).cross_validation
    truth = targets == 1 if kind == "multi" else np.eye(3, dtype=bool)[targets]
    wrong = trained.oof_decided.given != truth
    asked = trained.oof_decided.review
    if kind == "single":
        wrong, asked = wrong.any(axis=1), asked.any(axis=1)
    assert found.coverage.policy_error.value == pytest.approx(wrong[~asked].mean())


def test_a_file_of_an_older_version_says_to_train_again(tmp_path: Path) -> None:
    data = noisy(60, "multi", 0)
    Heldout.from_trained(train(data), range(60)).save(tmp_path)
    arrays = load_file(tmp_path / FILE)
    old = ("photo_pks", "split", "probs", "oof_probs", "own_split")
    save_file({name: arrays[name] for name in old}, tmp_path / FILE)
    with pytest.raises(ModelError, match=r"older version.*train the task again"):
        Heldout.of(tmp_path)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_more_photos_of_trained_listings_do_not_change_the_score(kind: str) -> None:
    data = noisy(80, kind, 2)
    trained = train(data)
    more = with_more(data, [0, 1, 2, 3, 4, 5])
    before, after = judged(data, trained), judged(more, trained, widened(trained, more))
    assert after.cross_validation.as_dict() == before.cross_validation.as_dict()
    assert after.since is None
    (check,) = after.checks
    assert (check.name, check.severity) == ("labelled_since_of_trained", "note")
    assert check.items == tuple(f"{i}.jpg" for i in range(80, 86))
    assert before.checks == ()


def test_new_listings_get_a_line_of_their_own() -> None:
    data = noisy(80, "single", 2)
    trained = train(data)
    more = with_more(data, [0, 900, 901])
    found = judged(more, trained, widened(trained, more))
    assert (found.cross_validation.n, found.since.n) == (80, 2)
    assert len(found.checks[0].items) == 1
    assert found.metrics()["labelled_since"]["n"] == 2
    assert any("listings labelled since the training" in s for s in found.summary({})["lines"])


def test_a_photo_labelled_since_does_not_make_the_given_split_leak() -> None:
    data = noisy(160, "single", 2, split=True)
    trained = train(data)
    listing = int(data.groups[np.flatnonzero(data.given_split == "test")[0]])
    more = with_more(data, [listing])
    before, after = judged(data, trained), judged(more, trained, widened(trained, more))
    assert after.test.as_dict() == before.test.as_dict()
    assert after.since.n == 1  # the model has seen nothing of this listing


def test_a_test_split_of_unlearned_classes_alone_falls_back_to_the_folds() -> None:
    data = noisy(160, "single", 2, split=True)
    trained = train(data)
    test = data.given_split == "test"
    found = judged(replace(data, targets=np.where(test, -1, data.targets)), trained)
    assert found.test is None
    assert found.held_out is found.cross_validation
    (check,) = found.checks
    assert (check.name, check.severity, len(check.items)) == ("test_without_known", "warning", 40)


def test_without_any_known_answer_left_it_says_to_train_again() -> None:
    data = noisy(60, "single", 2)
    trained = train(data)
    with pytest.raises(TrainingError, match="train again"):
        judged(replace(data, targets=np.full(60, -1)), trained)


def test_the_learning_curve_weighs_classes_as_the_training_did() -> None:
    data = noisy(300, "single", 4)
    curves = {}
    for weight in ("none", "balanced"):
        options = TrainOptions(class_weight=weight, strengths=(0.01,))  # type: ignore[arg-type]
        trained = train(data, options)
        curves[weight] = measure_learning_curve(examples_of(data), trained, 0).points
    assert curves["none"][-1].n_labels == curves["balanced"][-1].n_labels
    assert curves["none"] != curves["balanced"]


def test_the_table_of_photos_shows_the_kept_decisions(cli: Cli, project: Path, shop: Any) -> None:
    folder = project / "models" / "label" / "1"
    held = Heldout.of(folder)
    turned = replace(held.decided, review=held.decided.given)
    replace(held, decided=turned).save(folder)
    (project / "predictions.csv").unlink()
    cli("auto", shop.photos, shop.labels, "--out", project)
    with (project / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    assert {row["review"] for row in rows} == {"True"}


@pytest.mark.slow
def test_a_given_test_split_of_a_rare_class_trains_and_evaluates(
    cli: Cli, new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    shop = new_shop(tmp_path, n_listings=10)
    rows = ["image,listing_id,label,split"]
    for image, name in shop.classes.items():
        listing, test = image.split("/")[0], image == "home-09/0.jpg"
        label, split = ("rare", "test") if test else (name, "train")
        rows.append(f"{image},{listing},{label},{split}")
    shop.labels.write_text("\n".join(rows) + "\n")
    out = tmp_path / "OUT"
    ran = cli("auto", shop.photos, shop.labels, "--out", out, "--json")
    assert ran.code == 0, ran.err
    checks = {c["name"] for c in ran.json["train"]["checks"]}
    assert {"test_without_known", "classes_set_aside"} <= checks
    assert "test_without_known" in (out / "checks.jsonl").read_text()
    again = cli("evaluate", "label", "-p", out, "--json")
    assert again.code == 0, again.err
    assert "test" not in again.json["summary"]


@pytest.mark.slow
def test_labelling_more_photos_of_trained_listings_keeps_the_five_fold_number(
    cli: Cli, new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    shop = new_shop(tmp_path, n_listings=12)
    late = [image for image in shop.classes if image.endswith("/2.jpg") and image < "home-06"]
    named = {image: "" if image in late else name for image, name in shop.classes.items()}
    rows = [f"{image},{image.split('/')[0]},{name}" for image, name in named.items()]
    shop.labels.write_text("\n".join(["image,listing_id,label", *rows]) + "\n")
    out = tmp_path / "OUT"
    first = cli("auto", shop.photos, shop.labels, "--out", out, "--json").json["train"]["summary"]
    more = tmp_path / "later.jsonl"
    more.write_text("\n".join(json.dumps({"image": i, "label": "stripes"}) for i in late))
    assert cli("labels", "import", "label", more, "-p", out, "--json").json["annotations"] == 6
    judged_again = cli("evaluate", "label", "-p", out, "--json").json
    summary = judged_again["summary"]
    assert summary["cross_validation"] == first["cross_validation"]
    assert "labelled_since" not in summary
    checks = {c["name"]: c["count"] for c in judged_again["checks"]}
    assert checks["labelled_since_of_trained"] == 6


def test_named_decisions_are_the_given_classes_most_probable_first() -> None:
    probs = np.array([[0.2, 0.7, 0.9]])
    decided = replace(answers(probs, POLICY, "multi"), given=np.array([[True, False, True]]))
    (decision,) = named(probs, decided, "multi", ("a", "b", "c"))
    assert decision.classes == ("c", "a")
    assert decision.probability == pytest.approx(0.2)
