"""The command line: parse, call the library, print. No command holds logic of its own."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `listlens` command."""
    from listlens.cli.app import run

    raise SystemExit(run())
