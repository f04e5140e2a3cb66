"""Run the notebooks in `examples/` and write their outputs back, without what is private or large.

Usage: python tools/notebooks.py [--check]; with --check nothing is written.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MAX_BYTES = 400_000
"""Of a notebook with its outputs: reviewers and clones should not feel it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only run them")
    check = parser.parse_args().check
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        notebook = run(path)
        text = nbformat.writes(notebook) + "\n"
        print(f"{path.name}: ran, {len(text):,} bytes")
        if len(text) > MAX_BYTES:
            print(f"{path.name} is larger than {MAX_BYTES:,} bytes", file=sys.stderr)
            return 1
        if not check:
            path.write_text(text, encoding="utf-8")
    return 0


def run(path: Path) -> Any:
    """Execute a notebook in its folder; return it with cleaned outputs. An error raises."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which change with each run
        for output in cell.get("outputs", ()):
            clean(output)
    return notebook


def clean(output: Any) -> None:
    """Name the temporary folder alike in each run, and nothing of this machine."""
    folder = re.escape(str(Path(tempfile.gettempdir()).resolve())) + r"/listlens-[a-z0-9_]+"
    root = re.escape(str(EXAMPLES.parent))

    def cleaned(text: str) -> str:
        return re.sub(root, ".", re.sub(folder, "WORK", text))

    for key, value in output.get("data", {}).items():
        if isinstance(value, str):
            output["data"][key] = cleaned(value)
    if "text/html" in output.get("data", {}):  # the plain form repeats it, with addresses in it
        output["data"]["text/plain"] = "shown as HTML"
    if "text" in output:
        output["text"] = cleaned(output["text"])


if __name__ == "__main__":
    sys.exit(main())
