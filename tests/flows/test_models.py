"""The life of a model by command: candidate, live, back, shadow, canary, retired."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.cli.models import user
from listlens.core.errors import InputError, NotFoundError

Cli = Callable[..., Any]
TASK = "label"


@pytest.fixture
def two(two_models: Path) -> Path:
    return two_models


def listed(cli: Cli, project: Path) -> dict[int, dict[str, Any]]:
    models = cli("models", "list", "-p", project, "--json").json["models"]
    return {m["version"]: m for m in models}


def stages(cli: Cli, project: Path) -> dict[int, str]:
    return {version: m["stage"] for version, m in listed(cli, project).items()}


def test_a_second_training_makes_a_candidate_and_says_how_to_promote_it(
    cli: Cli, project: Path
) -> None:
    ran = cli("train", TASK, "--force", "--seed", "1", "-p", project)
    last = ran.out.strip().splitlines()[-1]
    assert last.startswith("Model 2 is a candidate: model 1 goes on answering.")
    command = last.rpartition(": ")[2].split()
    assert stages(cli, project) == {1: "live", 2: "candidate"}
    assert listed(cli, project)[2]["who"] == user()
    status = cli("status", "-p", project)
    assert "2 is newer" in status.out
    assert cli(*command[1:]).code == 0  # as it was printed
    assert stages(cli, project) == {1: "retired", 2: "live"}
    again = cli("train", TASK, "--seed", "1", "-p", project, "--json").json
    assert (again["version"], again["reused"], again["stage"], again["promotes"]) == (
        2, True, "live", ""
    )  # fmt: skip


@pytest.mark.slow
def test_what_answers_is_the_live_model_and_what_is_judged_the_newest(
    cli: Cli, two: Path, shop: Any, tmp_path: Path
) -> None:
    out = tmp_path / "answers.csv"
    for version in (1, 2):
        assert cli("tag", "-p", two).code == 0
        cli("export", out, "-p", two)
        with out.open(newline="", encoding="utf-8") as file:
            assert {row[f"{TASK}:model"] for row in csv.DictReader(file)} == {str(version)}
        assert cli("explain", TASK, shop.photos / "home-02/0.jpg", "-p", two, "--out", tmp_path,
                   "--json", "--method", "occlusion").json["version"] == version  # fmt: skip
        assert cli("evaluate", TASK, "-p", two, "--json").json["version"] == 2
        assert cli("status", "-p", two, "--json").json["tasks"][0]["model"] == version
        cli("models", "promote", TASK, "-p", two)
    assert cli("evaluate", TASK, "--version", "1", "-p", two, "--json").json["version"] == 1
    assert cli("evaluate", TASK, "--version", "9", "-p", two).code == 3


def test_auto_again_reports_the_newest_model_and_leaves_the_live_one_answering(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    labels = shop.write_labels(tmp_path / "new" / "labels.csv", {"home-03/1.jpg": "stripes"})
    ran = cli("auto", shop.photos, labels, "--out", project, "--json")
    assert (ran.json["train"]["version"], ran.json["train"]["stage"]) == (2, "candidate")
    with listlens.open(project) as opened:
        assert [m.version for m in opened.models([TASK])] == [1]
        row = opened.store.models.get(1, 2)
        assert opened.store.predictions.count(row.model_id) == len(shop.classes)
    columns = (project / "predictions.csv").read_text("utf-8").splitlines()[0]
    assert "p:disc" in columns
    told = json.loads((project / "report.json").read_bytes())
    assert told["model"]["version"] == 2
    promoted = cli("auto", shop.photos, labels, "--out", project, "--promote")
    assert promoted.code == 0, promoted.err
    assert "Promoted: it is not worse than model 1." in promoted.out
    assert stages(cli, project) == {1: "retired", 2: "live"}


def test_a_worse_model_is_not_promoted_by_itself(cli: Cli, project: Path, shop: Any) -> None:
    turned = {"disc": "speckle", "speckle": "stripes", "stripes": "disc"}
    names = list(shop.classes)
    swapped = {n: turned[shop.classes[n]] for n in names[: len(names) // 2]}
    wrong = shop.write_labels(project / "wrong.csv", swapped)
    cli("labels", "import", TASK, wrong, "-p", project)
    assert cli("train", TASK, "-p", project).code == 0
    cli("labels", "import", TASK, shop.write_labels(project / "right.csv"), "-p", project)
    with listlens.open(project) as opened:
        assert "Model 1 is better than model 2" in opened.registry.worse(TASK, 2)
        result = opened.promoted(opened.evaluate(TASK))
        assert result.promotion.startswith("Not promoted: Model 1 is better")
        assert (result.stage, result.live) == ("candidate", 1)
        assert result.promotion in result.text()
        assert opened.registry.worse(TASK, 1) == "" or "different" in opened.registry.worse(TASK, 1)


def test_a_promotion_answers_the_stock_before_it_takes_over(cli: Cli, two: Path, shop: Any) -> None:
    n = len(shop.classes)
    dry = cli("models", "promote", TASK, "--dry-run", "-p", two, "--json").json
    assert (dry["dry_run"], dry["to_answer"], dry["before"], dry["live"]) == (True, n, 1, 2)
    assert stages(cli, two) == {1: "live", 2: "candidate"}
    done = cli(
        "models", "promote", TASK, "--why", "new labels", "--who", "ann", "-p", two, "--json"
    )
    assert (done.json["answered"], done.json["to_answer"]) == (n, 0)
    models = listed(cli, two)
    assert (models[2]["stage"], models[2]["answers"]) == ("live", n)
    assert (models[2]["who"], models[2]["why"]) == ("ann", "new labels")
    assert cli("search", "disc", "-p", two, "--json").json["photos"]
    again = cli("models", "promote", TASK, "-p", two)
    assert (again.code, "nothing changed" in again.out) == (0, True)


def test_a_rollback_returns_and_the_history_tells_it(cli: Cli, two: Path) -> None:
    assert cli("models", "rollback", TASK, "-p", two).code == 3
    cli("models", "promote", TASK, "-p", two)
    dry = cli("models", "rollback", TASK, "--dry-run", "-p", two, "--json").json
    assert (dry["before"], dry["live"], stages(cli, two)[2]) == (2, 1, "live")
    done = cli("models", "rollback", TASK, "--why", "too eager", "-p", two)
    assert "Model 1 of 'label' answers again, instead of model 2." in done.out
    assert stages(cli, two) == {1: "live", 2: "retired"}
    told = cli("models", "history", TASK, "-p", two, "--json").json["changes"]
    assert [(c["version"], c["action"]) for c in told[2:]] == [
        (1, "superseded"), (2, "promoted"), (2, "rolled_back"), (1, "restored")
    ]  # fmt: skip
    assert told[-1]["why"] == "too eager"
    assert "too eager" in cli("models", "history", TASK, "-p", two).out
    refused = cli("models", "promote", TASK, "-p", two)  # a rolled back one comes back by name only
    assert (refused.code, "retired" in refused.err) == (2, True)
    assert cli("models", "promote", TASK, "2", "-p", two).code == 0


def test_a_damaged_model_never_takes_over(cli: Cli, two: Path) -> None:
    head = two / "models" / TASK / "2" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-4] + b"abcd")
    for more in ([], ["--shadow"], ["--canary", "5%"]):
        assert cli("models", "promote", TASK, *more, "-p", two).code == 6
    assert stages(cli, two) == {1: "live", 2: "candidate"}


def test_a_shadow_answers_beside_and_a_canary_shows_its_share(cli: Cli, two: Path) -> None:
    assert cli("models", "promote", TASK, "--shadow", "-p", two).code == 0
    tagged = cli("tag", "-p", two, "--json").json
    assert tagged[f"{TASK}/2"]["predicted"] == 36
    assert stages(cli, two)[2] == "shadow"
    assert cli("models", "promote", TASK, "--canary", "5%", "-p", two).code == 0
    assert "canary 5 %" in cli("models", "list", "-p", two).out
    assert listed(cli, two)[2]["share"] == 0.05
    assert cli("models", "promote", TASK, "--canary", "0%", "-p", two).code == 0
    assert (stages(cli, two)[2], listed(cli, two)[2]["share"]) == ("candidate", 0)
    for wrong in ("100%", "1", "-5%", "much", "5 %%"):
        assert cli("models", "promote", TASK, "--canary", wrong, "-p", two).code == 2, wrong
    assert cli("models", "promote", TASK, "--shadow", "--canary", "5%", "-p", two).code == 2
    assert cli("models", "promote", TASK, "1", "--shadow", "-p", two).code == 2  # it is live


def test_retiring_removes_answers_and_leaves_the_folder(cli: Cli, two: Path) -> None:
    cli("models", "promote", TASK, "-p", two)
    refused = cli("models", "retire", TASK, "2", "-p", two)
    assert (refused.code, "--force" in refused.err) == (2, True)
    dry = cli("models", "retire", TASK, "1", "--dry-run", "-p", two, "--json").json
    assert dry["swept"] == {"n_predictions": 36, "n_vectors": 0}
    assert listed(cli, two)[1]["answers"] == 36
    assert cli("models", "retire", TASK, "1", "-p", two).code == 0
    assert listed(cli, two)[1]["answers"] == 0
    assert (two / "models" / TASK / "1").is_dir()
    assert cli("models", "rollback", TASK, "-p", two).code == 3  # passed over
    assert cli("models", "retire", TASK, "2", "--force", "-p", two).code == 0
    gone = cli("predict", two / "nothing.jpg", "--task", TASK, "-p", two)
    assert (gone.code, "models promote label" in gone.err) == (3, True)
    assert cli("models", "promote", TASK, "1", "-p", two, "--json").json["answered"] == 36


def test_what_is_not_there_is_refused_in_words(cli: Cli, two: Path) -> None:
    assert cli("models", "promote", "rom", "-p", two).code == 3
    assert cli("models", "promote", TASK, "7", "-p", two).code == 3
    assert cli("models", "history", "rom", "-p", two).code == 3
    assert cli("models", "list", "rom", "-p", two).code == 3
    with listlens.open(two) as opened:
        with pytest.raises(InputError, match="share"):
            opened.registry.beside(TASK, share=1.0)
        opened.add_task("view", "single", ["a"])
        with pytest.raises(NotFoundError, match="train view"):
            opened.registry.promote("view")
        assert opened.registry.list(["view"]) == []
