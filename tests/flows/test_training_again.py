"""Training and evaluating again: nothing that was found vanishes, and nothing is learned twice."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.evaluate.learning_curve import LearningCurve
from listlens.learn.model import folder_hash

Cli = Callable[..., Any]


def names(checks: Any) -> set[str]:
    return {check["name"] for check in checks}


def in_file(path: Path) -> set[str]:
    return {json.loads(line)["check"] for line in path.read_text("utf-8").splitlines()}


@pytest.fixture
def small_class(shop: Any, tmp_path: Path) -> Path:
    """Labels of which one class has a single photo: it is set aside by every training."""
    return Path(shop.write_labels(tmp_path / "labels.csv", {"home-00/0.jpg": "lone"}))


def test_what_training_found_is_said_again_and_stays_in_every_report(
    cli: Cli, shop: Any, small_class: Path, tmp_path: Path
) -> None:
    out, auto = tmp_path / "OUT", ("auto", shop.photos, small_class, "--json")
    first = cli(*auto, "--out", out).json["train"]
    assert "classes_set_aside" in names(first["checks"])
    assert any("too small to learn: 1 (lone)." in check["message"] for check in first["checks"])
    report = (out / "report.json").read_bytes()
    again = cli(*auto, "--out", out).json["train"]
    assert again["reused"] is True
    assert names(again["checks"]) == names(first["checks"]) == in_file(out / "checks.jsonl")
    assert (out / "report.json").read_bytes() == report

    judged = cli("evaluate", "label", "-p", out, "--json").json
    assert "classes_set_aside" in names(judged["checks"])
    assert "classes_set_aside" in in_file(out / "reports" / "label" / "checks.jsonl")
    told = json.loads((out / "reports" / "label" / "report.json").read_bytes())
    assert told["learning_curve"] == json.loads(report)["learning_curve"]
    assert "classes_set_aside" in told["checks"]
    assert judged["summary"]["lines"] == first["summary"]["lines"]


def test_training_in_an_auto_project_writes_the_report_and_learns_nothing_again(
    cli: Cli, project: Path
) -> None:
    trained = cli("train", "label", "-p", project, "--json").json
    assert (trained["reused"], trained["version"]) == (True, 1)
    html = project / "reports" / "label" / "report.html"
    assert html.is_file()
    html.unlink()
    assert cli("train", "label", "-p", project, "--json").json["reused"] is True
    assert html.is_file()


def test_an_unchanged_training_replaces_the_report_of_other_labels(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    cli("train", "label", "-p", project)
    report = project / "reports" / "label" / "report.json"
    before = json.loads(report.read_bytes())
    (tmp_path / "new").mkdir()
    other = shop.write_labels(tmp_path / "new" / "labels.csv", {"home-02/2.jpg": "disc"})
    labels = tmp_path / "labels.csv"
    for source in (other, shop.labels):
        shutil.copy(source, labels)  # one file, corrected and corrected back
        cli("labels", "import", "label", labels, "-p", project)
        if source == other:
            cli("evaluate", "label", "-p", project)
            assert json.loads(report.read_bytes())["suspect_labels"] != before["suspect_labels"]
    assert cli("train", "label", "-p", project, "--json").json["reused"] is True
    assert json.loads(report.read_bytes())["suspect_labels"] == before["suspect_labels"]


def test_labels_that_fit_no_photo_are_named_though_nothing_can_be_learned(
    cli: Cli, shop: Any, tmp_path: Path
) -> None:
    rows = [f"elsewhere/{i}.jpg,disc" for i in range(5)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    ran = cli("auto", shop.photos, tmp_path / "labels.csv", "--out", tmp_path / "OUT")
    assert ran.code != 0
    assert "elsewhere/0.jpg" in ran.err
    assert str(tmp_path / "OUT" / "checks.jsonl") in ran.err
    assert (tmp_path / "OUT" / "checks.jsonl").read_text("utf-8").count("elsewhere/") == 5


def test_trainings_at_once_each_leave_a_whole_model(project: Path) -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(3)

    def train(seed: int) -> None:
        try:
            with listlens.open(project) as opened:
                start.wait(30)
                opened.train("label", seed=seed, force=True)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=train, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    home = project / "models" / "label"
    assert sorted(path.name for path in home.iterdir()) == ["1", "2", "3", "4"]
    with listlens.open(project) as opened:
        rows = opened.store.models.list(opened.store.labels.task("label").task_id)
        assert [row.stage for row in rows] == ["live", *["candidate"] * 3]
        for row in rows:
            assert folder_hash(home / str(row.version)) == row.sha256


def test_the_folder_of_a_killed_training_is_replaced(cli: Cli, project: Path) -> None:
    left = project / "models" / "label" / "2"
    left.mkdir()
    (left / "model.json").write_text("half")
    assert cli("train", "label", "--force", "-p", project, "--json").json["version"] == 2
    with listlens.open(project) as opened:
        assert opened.registry.promote("label").live == 2  # loading it checks its hash


def test_a_learning_curve_survives_json(trained: Path) -> None:
    with listlens.open(trained) as project:
        (run,) = project.store.models.runs(project.store.labels.task("label").task_id)
    assert run.result is not None
    stored = run.result["curve"]
    assert json.loads(json.dumps(LearningCurve.from_dict(stored).as_dict())) == stored
