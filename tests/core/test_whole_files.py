"""A file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from listlens.core.files import whole


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(LookupError), whole(path) as temporary:
        temporary.write_text("half")
        raise LookupError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_name_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"), whole(tmp_path / "folder") as temporary:
        temporary.write_text("all")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
