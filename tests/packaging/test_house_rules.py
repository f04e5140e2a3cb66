"""The code keeps its shape, and the tool that says so can tell when it does not."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


house = tool("house_rules")


def package(folder: Path, **files: str) -> Path:
    """Write a package `listlens` from file contents; `core__types` is core/types.py."""
    root = folder / "listlens"
    for name, text in {"__init__": "", **files}.items():
        path = root.joinpath(*name.split("___")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        (path.parent / "__init__.py").touch()
    return root


def test_the_code_keeps_the_house_rules():
    assert house.problems(ROOT / "src" / "listlens") == []


def test_every_folder_and_module_of_the_package_stands_in_a_layer():
    root = ROOT / "src" / "listlens"
    folders = {p.name for p in root.iterdir() if p.is_dir() and p.name != "__pycache__"}
    loose = {p.stem for p in root.glob("*.py")} - {"__init__"}
    assert folders | loose <= set(house.LAYERS)


@pytest.mark.parametrize(
    ("files", "breach"),
    [
        (
            {"images___a": "from listlens.learn import b\n", "learn___b": ""},
            "images imports learn, which stands above it",
        ),
        (
            {"images___a": "import listlens.store.b\n", "store___b": ""},
            "images imports store, its neighbour in layer 1",
        ),
        (
            {"labels___a": "def f():\n    from listlens.learn import b\n", "learn___b": ""},
            "labels imports learn, its neighbour in layer 2",
        ),
        (
            {"store___a": "from ..metrics import b\n", "metrics___b": ""},
            "store imports metrics, its neighbour in layer 1",
        ),
        (
            {
                "core___a": "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from listlens.cli import b\n",
                "cli___b": "",
            },
            "core imports cli, which stands above it",
        ),
        ({"images___a": "from listlens import open\n"}, "imports the package root"),
        ({"images___a": "import listlens\n"}, "imports the package root"),
        ({"attic___a": ""}, "'attic' stands in no layer"),
        (
            {
                "images___a": "from listlens.images import b\n",
                "images___b": "def f():\n    import listlens.images.a\n",
            },
            "import cycle: listlens.images.a -> listlens.images.b",
        ),
        ({"images___utils": ""}, "a name that says nothing"),
        ({"images___a": "x = 1\n" * 401}, "401 lines; at most 400"),
        ({"images___a": "def f():\n" + "    x = 1\n" * 60}, "f has 61 lines; at most 60"),
    ],
    ids=[
        "upward",
        "sideways",
        "sideways-in-a-function",
        "sideways-relative",
        "upward-for-types",
        "root-name",
        "root",
        "no-layer",
        "cycle",
        "empty-name",
        "long-module",
        "long-function",
    ],
)
def test_a_breach_is_found(tmp_path, files, breach):
    assert any(breach in problem for problem in house.problems(package(tmp_path, **files)))


@pytest.mark.parametrize(
    "files",
    [
        {"learn___a": "from listlens.labels import b\n", "labels___b": ""},
        {"learn___a": "import listlens.core.b\n", "core___b": ""},
        {
            "cli___a": "import listlens.project\n",
            "project": "from listlens import one_shot\n",
            "one_shot": "",
        },
        {
            "images___a": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from listlens.images import b\n",
            "images___b": "from listlens.images import a\n",
        },
        {"images___a": "def f():\n    '''Long\n" + "\n" * 80 + "    '''\n"},
        {"images___a": "import listlens_other\nfrom pathlib import Path\n"},
    ],
    ids=["allowed-neighbour", "downward", "facades", "cycle-for-types", "long-docstring", "others"],
)
def test_what_is_allowed_is_no_breach(tmp_path, files):
    assert house.problems(package(tmp_path, **files)) == []


def test_tests_are_at_least_four_fifths_as_long_as_the_code():
    def lines(folder: Path) -> int:
        return sum(len(p.read_text(encoding="utf-8").splitlines()) for p in folder.rglob("*.py"))

    assert lines(ROOT / "tests") >= 0.8 * lines(ROOT / "src")


def test_nothing_is_pickled():
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text and "allow_pickle=True" not in text, path
        assert "import joblib" not in text, path
        assert not re.search(r"torch\.load\((?![^)]*weights_only=True)", text), path
