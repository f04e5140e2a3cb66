"""`listlens.toml`: what is written reads back, what is wrong is named."""

from __future__ import annotations

import tomllib
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.config import (
    Config,
    TaskConfig,
    load_config,
    parse_config,
    render_config,
    render_task,
)
from listlens.core.errors import ConfigError

names = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=20)
tasks = st.dictionaries(
    names,
    st.builds(
        TaskConfig, kind=st.sampled_from(["single", "multi"]), classes=st.tuples(names, names)
    ),
    max_size=4,
)


@given(tasks)
def test_what_is_rendered_reads_back(declared: dict[str, TaskConfig]) -> None:
    config = Config(tasks=declared)
    assert parse_config(tomllib.loads(render_config(config))) == config


@given(names, names)
def test_a_task_can_be_appended_to_the_file(name: str, label: str) -> None:
    task = TaskConfig(kind="multi", classes=(label,))
    text = render_config(Config()) + "\n".join(render_task(name, task))
    assert parse_config(tomllib.loads(text)).tasks == {name: task}


def test_every_key_is_explained_in_the_file() -> None:
    lines = render_config(Config()).splitlines()
    for before, line in pairwise(lines):
        if "=" in line and not line.startswith("#"):
            assert before.startswith("# "), line


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "listlens.toml").write_text("")
    assert load_config(tmp_path / "listlens.toml") == Config()


@pytest.mark.parametrize("template", ["homes", "hotels", "cars", "goods"])
def test_templates_are_valid(template: str) -> None:
    text = (resources.files("listlens.templates") / f"{template}.toml").read_text("utf-8")
    config = parse_config(tomllib.loads(text))
    assert config.tasks
    for task in config.tasks.values():
        assert len(set(task.classes)) == len(task.classes) >= 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[stroe]\nurl='x'", ["stroe: unknown key", "Did you mean 'store'", "'backbone'"]),
        ("[store]\nulr='x'", ["store.ulr: unknown key", "Did you mean 'url'"]),
        ("[tasks.room]\nkind='single'\nclases=['a']", ["tasks.room.clases", "'classes'"]),
        ("[tasks.room]\nkind='pair'", ["tasks.room.kind", "'tree' or 'score'", "got 'pair'"]),
        ("[tasks.room]\nclasses=['a']", ["tasks.room.kind", "required"]),
        ("[limits]\nmax_bytes=0", ["limits.max_bytes", "greater than 0"]),
        ("[limits]\nmax_bytes='much'", ["limits.max_bytes", "got 'much'"]),
        ("[backbone]\nengine='warp'", ["backbone.engine", "openvino", "got 'warp'"]),
        ("store = 3", ["store"]),
        ("[limits]\nmax_bytes=true", ["limits.max_bytes: must be a number, not true or false"]),
        ("[worker]\nlease_s=false", ["worker.lease_s: must be a number"]),
        ("[fetch]\nports=[80, true]", ["fetch.ports: must be a number"]),
        ("[budget.sources.a]\ndaily_photos=true", ["budget.sources.a.daily_photos: must be a"]),
        ("[budget.source.a]\ndaily_photos=1", ["budget.source: unknown", "mean 'sources'"]),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(tomllib.loads(text))
    for word in words:
        assert word in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"has 3 problem\(s\)") as caught:
        parse_config(tomllib.loads("[stroe]\n[limits]\nmax_bytes=-1\nmax_pixel=3"))
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("data", [b"[store", b"\xff\xfe", b"a = 'x\n"])
def test_what_is_no_toml_is_refused_with_its_path(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "listlens.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="It must be TOML in UTF-8") as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("more", ["[events]\neach = 'x'", "[events.mapping]\nid = 'x'"])
def test_a_table_that_is_written_twice_is_to_be_changed_where_it_stands(
    tmp_path: Path, more: str
) -> None:
    path = tmp_path / "listlens.toml"
    path.write_text(f"[events]\nmapping = {{}}\n\n{more}\n")
    with pytest.raises(ConfigError, match="already: change what stands there"):
        load_config(path)


def test_settings_cannot_be_changed_in_passing() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().store.url = "x"  # type: ignore[misc]
