"""Lint the Dockerfile with hadolint where it is installed. Exit code 1 on a finding.

Usage: python tools/lint_dockerfile.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Check the repository that this file belongs to."""
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        print("dockerfile: not linted, hadolint has no build for this platform")
        return 0
    command = [hadolint, "--failure-threshold", "info", "Dockerfile"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    print(f"dockerfile: {'has findings' if done.returncode else 'clean'}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
