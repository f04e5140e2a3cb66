"""Hold the shape of the code: layers, import cycles, sizes. Prints each breach; exit code 1 if any.

Usage: python tools/house_rules.py
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAYERS: dict[str, float] = {
    "_version": 0,
    "core": 0,
    "templates": 0,
    "images": 1,
    "store": 1,
    "sources": 1,
    "backbones": 1,
    "brokers": 1,
    "metrics": 1,
    "duplicates": 2,
    "labels": 2,
    "learn": 2,
    "evaluate": 3,
    "explain": 3,
    "finetune": 3,
    "gallery": 3,
    "insights": 3,
    "quality": 3,
    "pipeline": 3.2,
    "changing": 3.5,
    "doctor": 3.5,
    "estimator": 3.5,
    "finding": 3.5,
    "streaming": 3.5,
    "image_atm": 3.5,
    "one_shot": 3.5,
    "project": 3.5,
    "scaffold": 3.5,
    "stream": 4,
    "serve": 4,
    "web": 4,
    "scale": 4,
    "cli": 4,
    "client": 4,
}
"""What may import what: only downward. Modules at 3.5 stand beside the folders, as facades."""

FACADES = 3.5
SIDEWAYS = {
    *(("learn", "labels"), ("learn", "duplicates")),
    *(("cli", "serve"), ("cli", "stream"), ("serve", "stream"), ("client", "serve")),
}
"""Learning reads labels and duplicate groups, commands start servers and workers, the server runs a
worker, and the client reads the types that the server writes; nothing else goes sideways."""

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MIGRATIONS = "versions"
"""Folder of the migrations: each is one flat list of tables, as long as the schema is."""
BANNED_NAMES = {"utils", "util", "helpers", "manager", "misc", "common"}


@dataclass(frozen=True)
class Import:
    """One import inside the package: of which module, on which line, and when it happens."""

    target: str
    line: int
    at_run_time: bool


def main() -> int:
    """Check the repository that this file belongs to."""
    root = Path(__file__).resolve().parents[1] / "src" / "listlens"
    found = problems(root)
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"house rules: {len(modules(root))} modules, {len(found)} breaches")
    return 1 if found else 0


def problems(root: Path) -> list[str]:
    """Return every breach in a package, as `file:line: what is wrong`."""
    files = modules(root)
    imports = {name: list(imports_of(path, name, files)) for name, path in files.items()}
    found = [
        f"{path.relative_to(root)}:{line}: {what}"
        for name, path in files.items()
        for line, what in [*layer_breaches(root.name, name, imports[name]), *size_breaches(path)]
    ]
    graph = {
        name: {i.target for i in uses if i.at_run_time}
        for name, uses in imports.items()
        if name != root.name  # the root resolves its public names lazily
    }
    return found + [f"import cycle: {' -> '.join(part)}" for part in cycles(graph)]


def modules(root: Path) -> dict[str, Path]:
    """Return every module of a package by its dotted name."""
    names = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(path: Path, name: str, files: dict[str, Path]) -> Iterator[Import]:
    """Yield the imports of the package's own modules, those inside functions included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node, at_run_time in walk(tree, at_run_time=True):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            targets = [
                full if (full := f"{base}.{alias.name}") in files else base for alias in node.names
            ]
        root = name.partition(".")[0]
        for target in targets:
            if target.partition(".")[0] == root and target != name:
                yield Import(target, node.lineno, at_run_time)


def walk(node: ast.AST, *, at_run_time: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield every statement, and whether it runs (not so under `if TYPE_CHECKING`)."""
    for child in ast.iter_child_nodes(node):
        runs = at_run_time
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            runs = False
        if isinstance(child, ast.stmt):
            yield child, runs
        yield from walk(child, at_run_time=runs)


def layer_breaches(package: str, name: str, imports: list[Import]) -> Iterator[tuple[int, str]]:
    """Yield imports that go up or sideways, or reach the package root."""
    if name == package:
        return
    here = name.split(".")[1]
    if here not in LAYERS:
        yield 1, f"{here!r} stands in no layer; give it one in tools/house_rules.py"
        return
    for use in imports:
        if use.target == package:
            if LAYERS[here] < max(LAYERS.values()):
                yield use.line, "imports the package root; import the module that has it"
            continue
        there = use.target.split(".")[1]
        if there == here:
            continue
        beside = LAYERS.get(there) == LAYERS[here] != FACADES
        if beside and (here, there) not in SIDEWAYS and LAYERS[here] > 0:
            yield use.line, f"{here} imports {there}, its neighbour in layer {LAYERS[here]:g}"
        elif LAYERS.get(there, 0) > LAYERS[here]:
            yield use.line, f"{here} imports {there}, which stands above it"


def size_breaches(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what is too long to be read at once, and names that say nothing."""
    if path.parent.name == MIGRATIONS:
        return
    text = path.read_text(encoding="utf-8")
    n_lines = len(text.splitlines())
    if n_lines > MAX_MODULE_LINES:
        yield n_lines, f"{n_lines} lines; at most {MAX_MODULE_LINES}"
    if path.stem in BANNED_NAMES or path.parent.name in BANNED_NAMES:
        yield 1, "a name that says nothing about what is inside"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = body_lines(node)
            if lines > MAX_FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {lines} lines; at most {MAX_FUNCTION_LINES}"


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's length without its docstring, which may be as long as it needs."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    doc = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - doc


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the import cycles: groups of modules that all reach each other."""
    reach = {name: reachable(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
        for name in graph
        if name in reach[name]
    }
    return sorted(list(group) for group in groups)


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return all modules that importing `start` imports."""
    seen: set[str] = set()
    todo = list(graph[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += graph.get(name, ())
    return seen


if __name__ == "__main__":
    sys.exit(main())
