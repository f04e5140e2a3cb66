"""The page on the photos of a project: nothing is left out without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from listlens import project as projects
from listlens.pipeline import photo_report


def test_files_beyond_what_can_be_compared_are_counted_and_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with projects.open(project) as opened:
        assert opened.check()["not_compared"] == 0
        monkeypatch.setattr(photo_report, "MOST_COMPARED", 30)
        assert opened.check()["not_compared"] == 6
    assert "not searched among 6 files" in (project / "check.html").read_text(encoding="utf-8")


def test_the_command_says_how_many_were_not_compared(
    cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not searched" not in cli("check", "-p", project).out
    monkeypatch.setattr(photo_report, "MOST_COMPARED", 1)
    assert "Look-alikes were not searched among 35 files" in cli("check", "-p", project).out
