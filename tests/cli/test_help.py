"""What `--help` shows is what was written: nothing is taken for markup and dropped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from listlens.cli.app import app


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def letters(text: str) -> str:
    """A text without spaces, frames and emphasis, so that where lines break is the same."""
    return re.sub(r"[\s│╭╮╰╯─*`]", "", text)


def test_help_shows_all_that_was_written(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("TERMINAL_WIDTH", "1000")
    asked = 0
    for path, command in commands(typer.main.get_command(app)):
        written = [one.help for one in command.params if getattr(one, "help", None)]
        texts = [*(command.help or "").split("\f")[0].split("\n\n"), *written]
        if not re.search(r"[\[<]", "".join(texts)):
            continue  # nothing in it could be taken for markup
        shown, asked = letters(cli(*path, "--help").out), asked + 1
        for text in texts:
            assert letters(text) in shown, f"listlens {' '.join(path)} --help"
    assert asked > 10
