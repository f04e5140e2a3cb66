"""Check that CHANGELOG.md has an entry for the current version. Exit code 1 if not.

Usage: python tools/changelog.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Check the repository that this file belongs to."""
    from listlens._version import __version__

    problem = missing(ROOT.joinpath("CHANGELOG.md").read_text(encoding="utf-8"), __version__)
    print(f"changelog: {problem or f'has {__version__}'}")
    return 1 if problem else 0


def missing(text: str, version: str) -> str:
    """Say what a changelog lacks for a version; empty where it lacks nothing."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    entry = next((s for s in sections if re.match(rf"{re.escape(version)}(\s|$)", s)), None)
    if entry is None:
        return f"no section '## {version}'"
    if not re.search(r"^- \S", entry, flags=re.MULTILINE):
        return f"the section '## {version}' says nothing"
    return ""


if __name__ == "__main__":
    sys.exit(main())
