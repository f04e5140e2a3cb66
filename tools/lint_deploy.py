"""Lint what deploy/ holds: units, the compose file and the manifests. Exit code 1 on a finding.

Usage: python tools/lint_deploy.py [FOLDER]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

EXPOSURE = 20
"""Most that `systemd-analyze security` may say, in tenths; it calls 5.0 and above exposed."""

PROGRAM = "/opt/listlens/bin/listlens"


def main(arguments: list[str]) -> int:
    """Check a folder; by default this repository's."""
    folder = Path(arguments[0]) if arguments else ROOT / "deploy"
    found = [*units(folder), *compose(folder), *manifests(folder)]
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"deploy: {len(found)} findings")
    return 1 if found else 0


def units(folder: Path) -> list[str]:
    """Let systemd itself read the units, and say how far each is shut off."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        print("deploy: units not linted, there is no systemd-analyze")
        return []
    found: list[str] = []
    with tempfile.TemporaryDirectory() as copies:
        for unit in sorted([*folder.glob("*.service"), *folder.glob("*.timer")]):
            # The program is not installed where this runs; anything that can be started will do.
            text = unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true")
            (Path(copies) / unit.name).write_text(text, encoding="utf-8")
        for copy in sorted(Path(copies).iterdir()):
            name = copy.with_name(copy.name.replace("@.", "@1."))
            if name != copy:
                copy.rename(name)
            found += run([tool, "verify", "--man=no", str(name)], copies)
            if name.suffix == ".service":
                limit = f"--threshold={EXPOSURE}"
                found += run([tool, "security", "--offline=yes", "--no-pager", limit, str(name)],
                             copies, last=True)  # fmt: skip
    return found


def compose(folder: Path) -> list[str]:
    """Hold the compose file against the schema of the Compose specification."""
    tool = Path(sys.executable).with_name("check-jsonschema")
    schema = ["--builtin-schema", "vendor.compose-spec"]
    files = sorted(map(str, folder.glob("compose*.yml")))
    return run([str(tool), *schema, *files], str(folder)) if files else []


def manifests(folder: Path) -> list[str]:
    """Hold the manifests against the schemas of Kubernetes, unknown keys included."""
    import kubernetes_validate
    import yaml

    found: list[str] = []
    for path in sorted((folder / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            try:
                kubernetes_validate.validate(document, "1.32", strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{path.name}: {error.message}")
    return found


def run(command: list[str], folder: str, *, last: bool = False) -> list[str]:
    """Run a linter; return what it found: all it said, or its last line alone."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    said = (done.stdout + done.stderr).strip().splitlines()
    # systemd ignores what it cannot read, says so, and is content.
    warned = any("ignoring" in line for line in said)
    if not done.returncode and not warned:
        return []
    return [f"{Path(command[-1]).name}: {line}" for line in (said[-1:] if last else said)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
