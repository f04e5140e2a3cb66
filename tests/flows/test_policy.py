"""Other thresholds without training: in force at once, numbered, and measured on other photos."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import InputError
from listlens.core.types import Policy
from listlens.learn.policies import answers, choose_policy
from listlens.pipeline.heldout import Heldout

Cli = Callable[..., Any]
TASK = "label"


@pytest.fixture
def doubted(cli: Cli, project: Path, shop: Any) -> Path:
    """A project whose model is unsure: a sixth of its labels is wrong."""
    turned = {"disc": "speckle", "speckle": "stripes", "stripes": "disc"}
    wrong = {n: turned[c] for i, (n, c) in enumerate(shop.classes.items()) if i % 6 == 0}
    cli("labels", "import", TASK, shop.write_labels(project / "labels.csv", wrong), "-p", project)
    assert cli("train", TASK, "-p", project).code == 0
    assert cli("models", "promote", TASK, "-p", project).code == 0
    return project


def reviewed(cli: Cli, project: Path, path: Path) -> set[str]:
    """Photos that the export gives to a person."""
    assert cli("export", path, "-p", project).code == 0
    with path.open(newline="", encoding="utf-8") as file:
        return {r["image"] for r in csv.DictReader(file) if r[f"{TASK}:review"] == "True"}


def test_new_thresholds_decide_at_once_and_nothing_is_computed_anew(
    cli: Cli, doubted: Path, tmp_path: Path
) -> None:
    before = reviewed(cli, doubted, tmp_path / "before.csv")
    dry = cli("policy", "set", TASK, "--threshold", "disc=1", "--dry-run", "-p", doubted, "--json")
    assert dry.json["version"] == 2
    assert reviewed(cli, doubted, tmp_path / "still.csv") == before
    done = cli("policy", "set", TASK, "--threshold", "disc=1", "-p", doubted, "--json").json
    assert {**done, "dry_run": True} == dry.json
    after = reviewed(cli, doubted, tmp_path / "after.csv")
    assert before < after
    assert (done["stock_before"], done["stock_after"]) == (len(before), len(after))
    assert done["thresholds"]["disc"] == 1
    assert cli("tag", "-p", doubted, "--json").json[TASK]["predicted"] == 0
    ran = cli("policy", "list", TASK, "-p", doubted, "--json").json["policies"]
    assert [(p["version"], p["in_force"], p["target"]) for p in ran] == [
        (2, True, "by hand"), (1, False, "best-f1")
    ]  # fmt: skip
    assert "in force" in cli("policy", "list", TASK, "-p", doubted).out


def test_earlier_thresholds_come_back_under_a_number_of_their_own(
    cli: Cli, doubted: Path, tmp_path: Path
) -> None:
    before = reviewed(cli, doubted, tmp_path / "before.csv")
    cli("policy", "set", TASK, "--threshold", "disc=1", "-p", doubted)
    ran = cli("policy", "restore", TASK, "1", "-p", doubted, "--json")
    assert ran.json["version"] == 3
    assert reviewed(cli, doubted, tmp_path / "after.csv") == before
    assert cli("policy", "restore", TASK, "9", "-p", doubted).code == 3


def test_the_training_s_own_target_gives_the_training_s_own_thresholds(doubted: Path) -> None:
    with listlens.open(doubted) as project:
        model = project.models([TASK])[0]
        same = project.set_policy(TASK, target="best-f1")
        assert list(same.thresholds.values()) == pytest.approx(model.policy.thresholds, abs=1e-6)
        assert (same.before.n, same.stock_before) == (36, same.stock_after)
        strict = project.set_policy(TASK, target="error<=0.05", dry_run=True)
        assert strict.target == "error<=0.05"
        held = Heldout.of(doubted / "models" / TASK / "2")
        labels = {p.photo_pk: p for p in project.store.photos.scan()}
        assert set(held.photo_pks.tolist()) <= set(labels)


def test_what_is_told_is_measured_on_photos_that_chose_nothing(doubted: Path) -> None:
    with listlens.open(doubted) as project:
        loose = project.set_policy(TASK, target="error<=0.5", dry_run=True)
        strict = project.set_policy(TASK, target="error<=0.02", dry_run=True)
        for found in (loose, strict):
            assert found.after.n == 36
            assert found.after.n_alone == 36 - found.after.n_review
            assert 0 <= found.after.n_wrong <= found.after.n_alone
        assert strict.after.n_review >= loose.after.n_review
        assert strict.after.n_wrong <= loose.after.n_wrong
        assert "answers given without one are wrong" in strict.text()


def test_evaluating_and_predicting_go_by_the_thresholds_in_force(
    cli: Cli, doubted: Path, shop: Any
) -> None:
    photo = shop.photos / next(n for n, c in shop.classes.items() if c == "disc")
    all_to_people = [f"--threshold={name}=1" for name in ("disc", "speckle", "stripes")]
    assert cli("policy", "set", TASK, *all_to_people, "-p", doubted).code == 0
    (answer,) = cli("predict", photo, "--task", TASK, "-p", doubted).out.splitlines()
    assert answer.endswith("(a person should look)")
    cli("evaluate", TASK, "-p", doubted)
    with listlens.open(doubted) as project:
        task = project.store.labels.task(TASK)
        from listlens.pipeline.predictions_file import write_predictions

        write_predictions(project.store, project.root, task, doubted / "p.csv")
    with (doubted / "p.csv").open(newline="", encoding="utf-8") as file:
        assert {row["review"] for row in csv.DictReader(file)} == {"True"}


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "--target"),
        (("--target", "best"), 2, "best-f1"),
        (("--threshold", "disc=2"), 2, "0 to 1"),
        (("--threshold", "dics=0.5"), 3, "Did you mean 'disc'?"),
        (("--threshold", "disc"), 2, "CLASS=NUMBER"),
        (("--threshold", "disc=much"), 2, "CLASS=NUMBER"),
        (("--target", "best-f1", "--version", "9"), 3, "There are: 1"),
    ],
    ids=["nothing", "target", "range", "class", "no-number", "word", "version"],
)
def test_what_cannot_be_set_is_refused_in_words(
    cli: Cli, trained: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    ran = cli("policy", "set", TASK, *args, "-p", trained)
    assert (ran.code, said in ran.err) == (code, True), ran.err


def test_every_kind_but_a_score_has_thresholds(cli: Cli, home: Path) -> None:
    for kind, target in (("single", "error<=0.1"), ("multi", "precision>=0.9"),
                         ("tree", "error<=0.1")):  # fmt: skip
        ran = cli("policy", "set", kind, "--target", target, "--dry-run", "-p", home, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["after"]["n"] == 36
        assert ran.json["after"]["n_wrong"] <= ran.json["after"]["n_alone"]
    by_hand = cli("policy", "set", "multi", "--threshold", "plain=0.9", "--dry-run", "-p", home,
                  "--json")  # fmt: skip
    assert by_hand.json["thresholds"]["plain"] == 0.9
    with listlens.open(home) as project:
        with pytest.raises(InputError, match="score"):
            project.set_policy("score", target="error<=0.1")
        with pytest.raises(InputError, match="tree"):
            project.set_policy("tree", thresholds={"one > disc": 0.5})


def test_held_out_answers_are_decided_anew_and_gaps_stay_gaps() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([1, 1], 20).astype(np.float32)
    probs[3] = np.nan
    truth = rng.integers(0, 2, 20)
    first = choose_policy(probs[4:], truth[4:], "single", "best-f1")
    decided = answers(np.nan_to_num(probs), first, "single")
    held = Heldout(np.arange(20), np.full(20, "train"), probs, decided, probs, decided, False)
    always = Policy((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), "by hand")
    again = held.under(always, "single", ("a", "b"))
    assert again.decided.review.any(axis=1).tolist() == [i != 3 for i in range(20)]
    assert not again.decided.given[3].any()
    assert again.oof_decided is again.decided
    other = Heldout(np.arange(20), np.full(20, "test"), probs, decided, probs[::-1], decided, True)
    apart = other.under(always, "single", ("a", "b"))
    assert apart.oof_decided.review.any(axis=1).tolist() == [i != 16 for i in range(20)]
