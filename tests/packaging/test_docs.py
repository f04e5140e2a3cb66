"""The documentation cannot lie: its code runs, its tables derive from the code.

The code blocks of one file run in order, in one folder that holds

    photos/<listing>/<n>.jpg   24 photos of 12 listings, bedrooms and kitchens of a kind
    labels.csv                 image, listing_id, label: one class a photo
    categories.csv             image, listing_id, room, detail: two levels, some rows with one
    ratings.csv                image, listing_id, rating: a number from 1 to 5
    pairs.csv                  image_a, image_b, better: a or b
    goods/*.jpg, goods.csv     image, label: one of four classes, two and two alike
    tags.csv                   image, listing_id, labels: any number, separated by |
    new/1.jpg, new/2.jpg       two photos that are in no table

    ```console   lines with `$ listlens ...` run, and must succeed
    ```python    runs as it stands, each block by itself

`<!-- not run: reason -->` on the line before a block leaves it out; `<!-- exits: 2 -->` expects
another exit code of its last command.
"""

from __future__ import annotations

import csv
import doctest
import importlib.util
import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import listlens

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_OURS = {"make", "pip", "python", "docker", "git", "cd", "apt", "export", "createdb"}
"""Commands that a reader types and these tests do not: other tests cover what they stand for."""

RUN = {"console", "python"}
SHOWN = {"csv", "html", "json", "sql", "text", "toml", "yaml"}
"""Languages of blocks: those that run, and those that only show something."""

OPTIONAL = {"torch"}
"""Packages that modules import at the top and that `make test` does not install: too large."""

MAX_NOT_RUN = 7
"""Blocks left out, all pages together. Raise it only for a reason worth writing down. That of
client.md needs a running server; tests/operate runs it beside one."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    not_run: str = ""
    exits: int = 0

    @property
    def commands(self) -> list[list[str]]:
        joined = self.code.replace("\\\n", " ")
        lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
        return [shlex.split(line, comments=True) for line in lines]


def blocks(text: str, page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page, each with the markers on the line before it."""
    pattern = re.compile(
        r"^(?P<mark>[^\n]*)\n+^```(?P<lang>\w*)[^\n]*\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
    )
    for found in pattern.finditer("\n" + text):
        not_run = re.search(r"<!-- not run: (.+?) -->", found["mark"])
        exits = re.search(r"<!-- exits: (\d+) -->", found["mark"])
        yield Block(
            page=page,
            line=text.count("\n", 0, found.start("lang")) + 1,
            language=found["lang"],
            code=found["code"],
            not_run=not_run[1] if not_run else "",
            exits=int(exits[1]) if exits else 0,
        )


def blocks_of(page: Path) -> list[Block]:
    return list(blocks(page.read_text(encoding="utf-8"), page.name))


def photo(path: Path, kind: str, rng: np.random.Generator) -> None:
    """Write a picture of its kind: bedrooms are warm with a block below, kitchens cold stripes."""
    pixels = rng.integers(0, 60, (240, 320, 3), dtype=np.uint8)
    if kind == "bedroom":
        pixels[:, :, 0] += 150
        pixels[120 + rng.integers(0, 40) :, 60:260] = rng.integers(180, 250, 3)
    else:
        pixels[:, :, 2] += 120
        pixels[:, :: rng.integers(16, 40)] = 240
        pixels[:: rng.integers(16, 40)] = 240
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)


def _write_kinds(folder: Path, rows: list[tuple[str, str, str, str]]) -> None:
    """Labels of the same photos for a tree, for a score, and as pairs."""
    nodes = ["image,listing_id,room,detail"]
    ratings = ["image,listing_id,rating"]
    for image, listing, kind, _ in rows:
        detail = ("double bed" if int(listing) % 3 else "") if kind == "bedroom" else "gas"
        nodes.append(f"{image},{listing},{kind},{detail}")
        ratings.append(f"{image},{listing},{(2 if kind == 'bedroom' else 4) + int(listing) % 2}")
    (folder / "categories.csv").write_text("\n".join(nodes) + "\n")
    (folder / "ratings.csv").write_text("\n".join(ratings) + "\n")
    pairs = ["image_a,image_b,better"]
    for n, (image, _, kind, _) in enumerate(rows):
        pairs.append(f"{image},{rows[n - 3][0]},{'a' if kind == 'kitchen' else 'b'}")
        pairs.append(f"{image},{rows[n - 2][0]},tie")
    (folder / "pairs.csv").write_text("\n".join(pairs) + "\n")


def _draw_goods(folder: Path, rng: np.random.Generator) -> None:
    """Photos of four classes, two of them green and two blue, no two alike."""
    rows = ["image,label"]
    for label, colour in [("apple", (40, 200, 40)), ("pear", (120, 220, 40)),
                          ("cup", (30, 60, 220)), ("jug", (30, 130, 230))]:  # fmt: skip
        for n in range(6):
            pixels = np.full((240, 320, 3), 230, np.uint8)
            for y, x in rng.integers(0, (180, 240), (4, 2)):
                height, width = rng.integers(30, 90, 2)
                pixels[y : y + height, x : x + width] = colour
            (folder / "goods").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / "goods" / f"{label}-{n}.jpg", quality=90)
            rows.append(f"{label}-{n}.jpg,{label}")
    (folder / "goods.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the code of the docs runs in; copied for each page."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    rows = []
    for listing in range(12):
        for n, kind in enumerate(["bedroom", "kitchen"]):
            name = f"{listing}/{n}.jpg"
            photo(folder / "photos" / name, kind, rng)
            rows.append((name, str(listing), kind, f"{kind}|bright" if listing % 2 else kind))
    for table, column, index in [("labels.csv", "label", 2), ("tags.csv", "labels", 3)]:
        with (folder / table).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "listing_id", column])
            writer.writerows((row[0], row[1], row[index]) for row in rows)
    _write_kinds(folder, rows)
    _draw_goods(folder, rng)
    photo(folder / "new" / "1.jpg", "bedroom", rng)
    photo(folder / "new" / "2.jpg", "kitchen", rng)
    return folder


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[list[str], Path], Ran]]:
    """Run `listlens ...` or `-c CODE` in a folder, as a process of its own; see `warm.py`."""
    script = [sys.executable, str(Path(__file__).with_name("warm.py"))]
    with subprocess.Popen(script, stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8") as warm:
        assert warm.stdin is not None
        assert warm.stdout is not None

        def run(argv: list[str], folder: Path) -> Ran:
            warm.stdin.write(json.dumps({"argv": argv, "folder": str(folder)}) + "\n")
            warm.stdin.flush()
            return Ran(**json.loads(warm.stdout.readline()))

        yield run
        warm.stdin.close()


def first_read_quickly(page: Path) -> Any:
    """A page to run: those that everybody reads first in each run, the others with what is slow."""
    first = page.name in ("README.md", "getting-started.md")
    return pytest.param(page, id=page.name, marks=() if first else pytest.mark.slow)


@pytest.mark.parametrize("page", [first_read_quickly(page) for page in PAGES])
def test_the_code_of_a_page_runs(page, shop, tmp_path, run):
    shutil.copytree(shop, tmp_path, dirs_exist_ok=True)
    for block in blocks_of(page):
        if block.not_run:
            continue
        if block.language == "python":
            done = run(["-c", block.code], tmp_path)
            assert done.code == 0, f"{block.page}:{block.line}\n{done.err}"
        for command in block.commands if block.language == "console" else []:
            if command[0] != "listlens":
                continue
            expected = block.exits if command == block.commands[-1] else 0
            done = run(command, tmp_path)
            assert done.code == expected, (
                f"{block.page}:{block.line}: {shlex.join(command)} exits {done.code}\n"
                f"{done.out}{done.err}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_is_either_run_or_known_not_to_be(page):
    for block in blocks_of(page):
        where = f"{block.page}:{block.line}"
        assert block.language in RUN | SHOWN, f"{where}: {block.language!r}, not {RUN | SHOWN}"
        if block.language == "console" and not block.not_run:
            assert block.commands, f"{where}: no line begins with '$ '"
            first = {command[0] for command in block.commands}
            assert first <= NOT_OURS | {"listlens"}, f"{where}: {first}"


def test_few_blocks_are_left_out_and_each_says_why():
    left_out = [block for page in PAGES for block in blocks_of(page) if block.not_run]
    assert all(len(block.not_run.split()) >= 3 for block in left_out)
    assert len(left_out) <= MAX_NOT_RUN, [(b.page, b.line, b.not_run) for b in left_out]


def test_every_make_target_that_the_docs_name_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "demo" / "README.md"]
    for page in pages:
        named = re.findall(r"(?:^|`|\$ )make ([a-z-]+)", page.read_text("utf-8"), re.M)
        assert set(named) <= targets, page


def test_every_local_link_of_the_docs_leads_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "demo" / "README.md"]:
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_that_the_code_points_to_exists():
    for path in (ROOT / "src").rglob("*"):
        if path.suffix in {".py", ".toml", ".html", ".mako"}:
            for target in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8")):
                assert (ROOT / target).exists(), f"{path.name}: {target}"


def test_blocks_are_found_with_their_markers():
    text = "# T\n\n```console\n$ listlens auto a \\\n    b  # twice\nprinted\n```\n"
    text += "<!-- not run: needs a server -->\n```python\n1 / 0\n```\n<!-- exits: 3 -->\n"
    text += "```console\n$ listlens status\n```\n"
    first, second, third = blocks(text, "T.md")
    assert first.commands == [["listlens", "auto", "a", "b"]]
    assert (first.line, first.language, first.not_run, first.exits) == (3, "console", "", 0)
    assert (second.language, second.not_run) == ("python", "needs a server")
    assert third.exits == 3


def modules() -> list[str]:
    found = pkgutil.walk_packages(listlens.__path__, "listlens.")
    return ["listlens", *(m.name for m in found if ".migrations." not in m.name)]


def imported(name: str) -> ModuleType | None:
    """The module, or None where a package of `OPTIONAL` is absent; in CI that is an error."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL or os.environ.get("CI") == "true":
            raise
        return None


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = imported(name)
    if module is None:
        pytest.skip(f"{name} needs a package that is not installed")
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder(exclude_empty=True)
    here = [module for name in modules() if (module := imported(name)) is not None]
    tests = [test for module in here for test in finder.find(module)]
    assert sum(bool(test.examples) for test in tests) >= 20


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = tool("reference")


@pytest.mark.parametrize("path", list(reference.DERIVED))
def test_the_derived_part_of_a_page_is_what_the_code_says(path):
    name, write = reference.DERIVED[path]
    text = (ROOT / path).read_text(encoding="utf-8")
    assert f"<!-- begin: {name} -->" in text
    assert reference.replaced(text, name, write()) == text, "run `make reference`"


def test_every_command_has_help_and_every_option_too():
    import typer.main

    from listlens.cli.app import app

    for path, command in reference.leaves(typer.main.get_command(app), ""):
        assert command.help, path
        for parameter in command.params:
            assert parameter.name == "help" or parameter.help, f"{path}: {parameter.name}"


def test_every_setting_has_a_description():
    from listlens.core.config import Config

    for name, section in Config.model_fields.items():
        assert section.description, name
    assert "| `keep` |" in reference.settings()


def test_a_derived_part_is_replaced_and_the_rest_left_alone():
    text = "# T\nby hand\n<!-- begin: x -->\nold\n<!-- end: x -->\nby hand too\n"
    new = reference.replaced(text, "x", "new")
    assert new == "# T\nby hand\n<!-- begin: x -->\nnew\n<!-- end: x -->\nby hand too\n"
    assert reference.replaced(new, "x", "new") == new
    assert "by hand" in reference.replaced("# T\nby hand\n", "x", "new")


def test_the_changelog_has_an_entry_for_the_current_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert tool("changelog").missing(text, listlens.__version__) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# Changelog\n\n## 0.1.0\n\n- One.\n", "no section '## 0.1.00'"),
        ("## 0.1.00 (not released)\n\n", "the section '## 0.1.00' says nothing"),
        ("## 0.1.00\n\n- One.\n", ""),
    ],
    ids=["other-version", "empty", "there"],
)
def test_a_changelog_that_lacks_the_version_is_noticed(text, problem):
    assert tool("changelog").missing(text, "0.1.00") == problem
