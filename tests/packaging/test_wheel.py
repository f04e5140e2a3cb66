"""What users install: the wheel holds all it needs, and runs where the repository is not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import listlens
assert listlens.__file__.startswith(sys.argv[1]), listlens.__file__
from listlens.backbones.registry import imagenet_head
from listlens.labels.starter import StarterTags
assert len(imagenet_head()[2]) == 1000
assert 'bed' in StarterTags.load().names
listlens.init(sys.argv[2], template='homes').close()
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.mark.slow
def test_the_wheel_holds_every_data_file_of_the_source(unpacked):
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "listlens").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    there = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    assert wanted - there == set()


@pytest.mark.slow
def test_the_wheel_carries_both_licences(unpacked):
    names = {path.name for path in unpacked.rglob("*LICENSE*")}
    assert {"LICENSE", "LICENSE.efficientnet-lite0"} <= names


@pytest.mark.slow
def test_the_wheel_runs_where_the_repository_is_not(unpacked, tmp_path):
    command = [sys.executable, "-c", RUN, str(unpacked), str(tmp_path / "shop")]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
