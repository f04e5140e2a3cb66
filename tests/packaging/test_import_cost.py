"""Importing listlens, and asking it for help, loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import listlens

PUBLIC = [
    "ListlensError",
    "PhotoClassifier",
    "PhotoModel",
    "Project",
    "__version__",
    "auto",
    "init",
    "load_model",
    "open",
    "photo_quality",
]
"""The whole public interface. Adding a name here is a promise to keep it."""

NEVER_BY_HELP = {
    "PIL",
    "alembic",
    "duckdb",
    "fastapi",
    "httpx",
    "limits",
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "pandas",
    "polars",
    "prometheus_client",
    "psycopg",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "structlog",
    "torch",
    "uvicorn",
}
NEVER_BY_IMPORT = NEVER_BY_HELP | {"jinja2", "pillow_heif", "pydantic", "rich", "typer"}

HELP = [
    "numpy",
    "PIL",
    "onnx",
    "onnxruntime",
    "openvino",
    "sklearn",
    "scipy",
    "pandas",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "duckdb",
    "torch",
    "polars",
    "psycopg",
]

HELP = """
from listlens.cli import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
"""


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Run code in a fresh interpreter; return the top-level modules it has loaded in the end."""
    tail = "\nimport sys\nprint(sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code + tail, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_importing_listlens_loads_none_of_the_heavy_packages():
    assert loaded_by("import listlens").isdisjoint(NEVER_BY_IMPORT)


def test_the_measure_of_import_cost_would_notice():
    assert "numpy" in loaded_by("import listlens, numpy")


@pytest.mark.parametrize(
    "command", ["", "auto", "ingest", "train", "search", "doctor", "serve", "token create"]
)
def test_help_loads_none_of_the_heavy_packages(command):
    assert loaded_by(HELP, *command.split(), "--help").isdisjoint(NEVER_BY_HELP)


def test_the_public_names_are_these_and_no_more():
    assert sorted(listlens.__all__) == PUBLIC
    assert len(PUBLIC) <= 16


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_explains_itself(name):
    value = getattr(listlens, name)
    assert name == "__version__" or (value.__doc__ or "").strip()


def test_an_unknown_public_name_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = listlens.opne


def test_dir_shows_the_public_names():
    assert dir(listlens) == PUBLIC


def test_the_type_marker_is_shipped():
    from importlib import resources

    assert (resources.files("listlens") / "py.typed").is_file()
