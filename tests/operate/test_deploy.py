"""What deploy/ holds is what the linters, the command line and the settings say it can be."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import listlens

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def lint() -> ModuleType:
    path = ROOT / "tools" / "lint_deploy.py"
    spec = importlib.util.spec_from_file_location("lint_deploy", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", ""),
        ("Restart=always", "Restart=allways", "Failed to parse service restart specifier"),
        ("[Service]", "[Servcie]", "Unknown section 'Servcie'"),
        ("CapabilityBoundingSet=\n", "", "Overall exposure"),
    ],
    ids=["as it is", "value", "section", "rights"],
)
def test_units_are_read_by_systemd_and_shut_off(
    lint: ModuleType, tmp_path: Path, old: str, new: str, said: str
) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    unit = tmp_path / "deploy" / "listlens.service"
    unit.write_text(unit.read_text().replace(old, new) if old else unit.read_text())
    found = lint.units(tmp_path / "deploy")
    assert bool(found) is bool(said) and said in "".join(found), found


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("compose.yml", "restart: unless-stopped", "restart: [1]"),
        ("compose.yml", "    volumes:", "    volumse:"),
        ("kubernetes/listlens.yaml", "replicas: 1", "replicsa: 1"),
        ("kubernetes/workers.yaml", "replicas: 2", "replicas: two"),
    ],
)
def test_files_are_held_against_their_schemas(
    lint: ModuleType, tmp_path: Path, name: str, old: str, new: str
) -> None:
    """As they are, `make check` finds nothing in them."""
    file, text = tmp_path / name, (DEPLOY / name).read_text()
    assert old in text
    file.parent.mkdir(exist_ok=True)
    file.write_text(text.replace(old, new))
    assert lint.compose(tmp_path) + lint.manifests(tmp_path)


def commands() -> list[list[str]]:
    """Every call of listlens that deploy/ holds."""
    found = []
    for unit in DEPLOY.glob("*.service"):
        lines = re.findall(r"^ExecStart=.*?bin/listlens ([^']*)", unit.read_text(), re.M)
        found += [line.replace('"', "").split() for line in lines]
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    found += [one["command"] for one in compose["services"].values() if one.get("command")]
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            pod = document["spec"].get("template", {}).get("spec", {})
            found += [one["args"] for one in pod.get("containers", ())]
    return found


def test_the_commands_and_options_that_are_started_exist() -> None:
    import typer.main

    from listlens.cli.app import app

    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert len(commands()) >= 7
    for name, *arguments in commands():
        options = {o for p in known[name].params for o in (*p.opts, *p.secondary_opts)}
        assert {one for one in arguments if one.startswith("--")} <= options, name


def test_the_image_holds_what_the_containers_start_and_its_tag_is_the_version() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "serve" in re.findall(r'"\.\[(.*?)\]"', dockerfile)[0].split(",")
    script = re.findall(r"^COPY deploy/prepare.sh (\S+)", dockerfile, re.M)[0]
    assert "!deploy/prepare.sh" in (ROOT / ".dockerignore").read_text().splitlines()
    for path in (DEPLOY / "compose.yml", DEPLOY / "kubernetes" / "listlens.yaml"):
        assert script in path.read_text()
    tags = set(
        re.findall(r"image: listlens:(\S+)", (DEPLOY / "kubernetes" / "listlens.yaml").read_text())
    )
    assert tags == {listlens.__version__}
    uid = re.findall(r"--uid (\d+)", dockerfile)[0]
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        assert f"runAsUser: {uid}" in path.read_text()


def test_the_first_start_makes_the_project_on_the_named_store_and_later_ones_leave_it(
    tmp_path: Path,
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "listlens"
    code = "import sys; from listlens.cli import main; sys.exit(main())"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    store = "postgresql+psycopg://listlens@database/listlens?schema=shop&sslmode=require"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    project = tmp_path / "project"
    project.mkdir()

    def prepare(**more: str) -> str:
        subprocess.run(
            ["sh", str(DEPLOY / "prepare.sh")], cwd=project, env={**environment, **more}, check=True
        )
        return (project / "listlens.toml").read_text()

    from listlens.core.config import load_config

    (project / ".making").mkdir()
    (project / ".making" / "listlens.toml").touch()  # of one that was killed
    prepare(LISTLENS_STORE=store)
    assert [one.name for one in project.iterdir()] == ["listlens.toml"]
    assert load_config(project / "listlens.toml").store.url == store
    assert prepare(LISTLENS_STORE="other") == (project / "listlens.toml").read_text()
    assert load_config(project / "listlens.toml").store.url == store


@pytest.mark.slow
def test_the_containers_ask_an_address_that_answers(served: Any, cli: Callable[..., Any]) -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    _, python, _, code = compose["services"]["server"]["healthcheck"]["test"]
    assert python == "python"
    here = code.replace("http://127.0.0.1:8000", served.url)
    assert here != code
    with served.client() as client:
        client.health()  # until it has warmed up, whoever asks waits
    subprocess.run([sys.executable, "-c", here], check=True, timeout=60)
