"""What scripts rely on: exit codes, one JSON document, words instead of stack traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listlens.cli.output import ExitCode, exit_code, progress, show, table
from listlens.core import errors

Cli = Callable[..., Any]
LISTLENS = [sys.executable, "-c", "import sys; from listlens.cli import main; main()"]

COMMANDS = [
    ["init"], ["ingest"], ["check"], ["task", "add"], ["task", "list"], ["labels", "import"],
    ["labels", "export"], ["train"], ["evaluate"], ["tag"], ["predict"], ["export"], ["search"],
    ["forget"], ["status"], ["doctor"], ["auto"], ["quality"], ["import-keras"],
    ["backbone", "export"], ["work"], ["events", "put"], ["dead", "list"], ["dead", "show"],
    ["dead", "replay"], ["ledger"],
]  # fmt: skip


def listlens(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LISTLENS, *map(str, args)], capture_output=True, text=True, timeout=120, check=False,
        **options)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_teaches(cli: Cli, command: list[str]) -> None:
    ran = cli(*command, "--help")
    assert ran.code == 0
    assert "--json" in ran.out
    assert len(ran.out.splitlines()) > 8
    alone = (["doctor"], ["init"], ["auto"], ["quality"], ["import-keras"], ["backbone", "export"])
    if command not in alone:
        assert "--project" in ran.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("x"), ExitCode.WRONG_INPUT),
        (errors.ConfigError("x"), ExitCode.WRONG_INPUT),
        (errors.LabelError("x"), ExitCode.WRONG_INPUT),
        (errors.TrainingError("x"), ExitCode.WRONG_INPUT),
        (errors.NotFoundError("x"), ExitCode.NOT_FOUND),
        (errors.StoreBusyError("x"), ExitCode.TRY_AGAIN),
        (errors.DiskFullError(28, "x"), ExitCode.TRY_AGAIN),
        (errors.StoreError("x"), ExitCode.CANNOT),
        (errors.ModelError("x"), ExitCode.CANNOT),
        (errors.MissingExtraError("x", "tables"), ExitCode.CANNOT),
    ],
)
def test_each_kind_of_error_has_its_code(error: errors.ListlensError, code: ExitCode) -> None:
    assert exit_code(error) is code


def test_where_there_is_no_project_every_command_says_how_to_make_one(
    cli: Cli, tmp_path: Path, shop: Any
) -> None:
    photo = shop.photos / next(iter(shop.classes))
    for args in (["status"], ["check"], ["tag"], ["ingest", shop.photos], ["search", "bed"],
                 ["train", "room"], ["evaluate", "room"], ["task", "list"], ["predict", photo],
                 ["task", "add", "x"], ["labels", "import", "room", shop.labels],
                 ["labels", "export", "room", tmp_path / "x.csv"], ["export", tmp_path / "x.csv"],
                 ["forget", "--listing", "x", "--yes"]):  # fmt: skip
        ran = cli(*args, "-p", tmp_path)
        assert ran.code == 3, args
        assert "listlens init" in ran.err, args
        assert ran.out == ""
    assert list(tmp_path.iterdir()) == []


def test_wrong_requests_say_what_is_allowed(cli: Cli, project: Path, tmp_path: Path) -> None:
    for args, code, words in (
        (["train", "labl"], 3, ["'label'", "labl"]),
        (["evaluate", "labl"], 3, ["'label'"]),
        (["tag", "--task", "labl"], 3, ["'label'"]),
        (["labels", "export", "labl", tmp_path / "x.csv"], 3, ["'label'"]),
        (["task", "add", "label"], 2, ["already"]),
        (["task", "add", "new", "--kind", "pair"], 2, ["single", "multi"]),
        (["task", "add", ""], 2, []),
        (["search", "dics"], 3, ["'disc'"]),
        (["export", tmp_path / "x.xls"], 2, [".csv", ".parquet"]),
        (["export", tmp_path / "none" / "x.csv"], 2, ["no folder"]),
        (["export", "--embeddings", tmp_path / "x.csv"], 2, [".npy"]),
        (["forget", "--yes"], 2, ["listing", "seller"]),
        (["forget", "--seller", "a", "--listing", "b", "--yes"], 2, []),
        (["forget", "--seller", "nobody", "--yes"], 3, ["nobody"]),
        (["train", "label", "--target", "best"], 2, ["best-f1"]),
        (["train", "label", "--target", "precision>=2"], 2, ["precision"]),
        (["ingest", tmp_path / "none"], 2, ["none"]),
        (["ingest", tmp_path, "--pattern", "("], 2, ["regular expression"]),
        (["ingest", tmp_path, "--pattern", "x"], 2, ["(?P<listing>"]),
        (["ingest", tmp_path, "--map", "image=b"], 2, ["table"]),
        (["labels", "import", "label", tmp_path / "none.csv"], 2, ["none.csv"]),
        (["init", project], 2, ["already"]),
        (["init", tmp_path / "q", "--template", "homs"], 2, ["'homes'"]),
    ):
        where = [] if args[0] == "init" else ["-p", project]
        ran = cli(*args, *where)
        assert ran.code == code or (code == 2 and ran.code == 3), (args, ran)
        for word in words:
            assert word in ran.err, (args, ran.err)


def test_a_wrong_key_in_the_settings_is_named_by_every_command(cli: Cli, project: Path) -> None:
    with (project / "listlens.toml").open("a", encoding="utf-8") as file:
        file.write("\n[limit]\nmax_byte = 3\n")
    for args in (["status"], ["tag"], ["train", "label"]):
        ran = cli(*args, "-p", project)
        assert ran.code == 2
        assert "limit: unknown key. Did you mean 'limits'?" in ran.err


def test_a_task_that_changed_its_kind_is_refused(cli: Cli, project: Path) -> None:
    toml = project / "listlens.toml"
    text = toml.read_text(encoding="utf-8")
    toml.write_text(text.replace('kind = "single"', 'kind = "multi"'), encoding="utf-8")
    ran = cli("status", "-p", project)
    assert ran.code == 2
    assert "keeps its kind" in ran.err


def test_a_store_that_is_no_database_is_named(cli: Cli, project: Path) -> None:
    for path in project.glob("listlens.db*"):
        path.unlink()
    (project / "listlens.db").write_bytes(b"not a database at all" * 100)
    ran = cli("status", "-p", project)
    assert ran.code == 6
    assert "listlens.db" in ran.err


def test_a_task_may_have_any_name_and_stays_inside_the_project(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    for name in ("../../out", "a/b", "wohn räume", "🏠"):
        assert cli("task", "add", name, "-p", project).code == 0
        assert cli("labels", "import", name, shop.labels, "-p", project).code == 0
    ran = cli("train", "../../out", "-p", project, "--json")
    assert ran.code == 0
    for path in ran.json["files"].values():
        assert Path(path).resolve().is_relative_to(project.resolve())
    names = [t["name"] for t in cli("task", "list", "-p", project, "--json").json["tasks"]]
    assert names == ["label", "../../out", "a/b", "wohn räume", "🏠"]


def test_a_task_named_like_a_column_does_not_hide_it(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    cli("task", "add", "status", "-p", project)
    cli("labels", "import", "status", shop.labels, "-p", project)
    cli("train", "status", "-p", project)
    cli("tag", "-p", project)
    cli("export", tmp_path / "t.jsonl", "-p", project)
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["status:answer"] for row in rows} == {"disc", "speckle", "stripes"}


def test_search_finds_as_many_as_asked_though_some_are_gone(
    cli: Cli, new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    shop = new_shop(tmp_path, n_listings=12)
    out = tmp_path / "OUT"
    assert cli("auto", shop.photos, shop.labels, "--out", out).code == 0
    found = cli("search", "disc", "-p", out, "--limit", 4, "--json").json["photos"]
    for hit in found:
        (shop.photos / hit["image"]).unlink()
    cli("ingest", shop.photos, "-p", out)
    again = cli("search", "disc", "-p", out, "--limit", 4, "--json").json["photos"]
    assert len(again) == 4
    assert not {h["image"] for h in again} & {h["image"] for h in found}


def test_the_project_may_come_from_the_environment(project: Path) -> None:
    ran = listlens("status", "--json", env={**os.environ, "LISTLENS_PROJECT": str(project)})
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["project"] == str(project)


def test_the_project_is_the_current_folder_by_default(project: Path) -> None:
    assert json.loads(listlens("status", "--json", cwd=project).stdout)["contents"] == 36


def test_a_reader_that_leaves_early_is_no_error(project: Path, shop: Any) -> None:
    photos = " ".join(f"'{shop.photos / image}'" for image in shop.classes)
    python = " ".join([f"'{LISTLENS[0]}'", "-c", f"'{LISTLENS[2]}'"])
    ran = subprocess.run(
        ["bash", "-c", f"{python} predict {photos} -p '{project}' --json | head -n 1"],
        capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert json.loads(ran.stdout)["status"] == "ok"
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


@pytest.mark.slow
def test_a_plain_terminal_shows_names_of_any_language(project: Path, tmp_path: Path) -> None:
    env = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"}
    (tmp_path / "küche.jpg").write_bytes(b"no photo")
    ran = listlens("predict", tmp_path / "küche.jpg", "-p", project, env=env)
    assert ran.returncode == 4
    assert "Traceback" not in ran.stderr
    assert "not_an_image" in ran.stdout
    ran = listlens("predict", tmp_path / "küche.jpg", "-p", project, "--json", env=env)
    assert json.loads(ran.stdout)["image"].endswith("küche.jpg")


def test_version_and_no_arguments(cli: Cli) -> None:
    assert cli("--version").out.startswith("listlens ")
    assert "Usage" in cli().out
    unknown = cli("trian")
    assert unknown.code == 2
    assert "train" in unknown.err


def test_a_result_is_shown_once_as_json_or_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"größe": 1, "path": Path("a/b")}
    show(result, "one", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"größe": 1, "path": "a/b"}
    show(result, "one", as_json=False)
    assert capsys.readouterr().out == "one\n"


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    text = table([("a", 1), ("long name", 2000), (None, 3)], ("name", "n"))
    assert text.splitlines() == [
        "name          n",
        "a             1",
        "long name  2000",
        "              3",
    ]
    assert table([], ("name", "n")).startswith("name")


def test_progress_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("work") as update:
        update(1, 10, "")
        update(2, None, "3 failed")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")
