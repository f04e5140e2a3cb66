"""Run commands and code one after another, each in a child of a process that has imported already.

The code of the docs is some hundred short programs that all import scikit-learn first, which takes
longer than what most of them do. A child starts as a new process would, less the imports.

Reads a line of JSON a job on stdin: argv (of listlens, or ["-c", code]), folder; answers with one:
code, out, err.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

PRELOADED = (
    *("numpy", "PIL.Image", "scipy.optimize", "scipy.ndimage", "scipy.cluster.hierarchy"),
    *("sklearn.linear_model", "sklearn.model_selection", "sqlalchemy", "alembic.command"),
    *("pydantic", "typer", "rich", "jinja2", "safetensors.numpy", "onnx"),
)
"""Slow to import, and none starts a thread, which would not live on in a child."""


def main() -> None:
    for name in PRELOADED:
        __import__(name)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(done(job["argv"], job["folder"])), flush=True)


def done(argv: list[str], folder: str) -> dict[str, Any]:
    """Run one job in a child; return what it gave."""
    with tempfile.TemporaryDirectory() as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        child = os.fork()
        if not child:
            os._exit(_in_child(argv, folder, out, err))
        _, status = os.waitpid(child, 0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "out": out.read_text("utf-8", "replace"),
            "err": err.read_text("utf-8", "replace"),
        }


def _in_child(argv: list[str], folder: str, out: Path, err: Path) -> int:
    for stream, path in ((0, Path(os.devnull)), (1, out), (2, err)):
        flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT
        os.dup2(os.open(path, flags, 0o600), stream)
    os.chdir(folder)
    code = 1
    try:
        code = _run(argv)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _run(argv: list[str]) -> int:
    if argv[0] == "-c":
        sys.argv = ["-c"]
        sys.path.insert(0, "")
        exec(compile(argv[1], "<docs>", "exec"), {"__name__": "__main__"})
        return 0
    from listlens.cli.app import run

    sys.argv = argv
    return int(run(argv[1:]))


if __name__ == "__main__":
    main()
