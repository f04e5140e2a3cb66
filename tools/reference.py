"""Write the parts of the docs that derive from the code: commands, options, settings.

Usage: python tools/reference.py            rewrite them
       python tools/reference.py --check    exit code 1 where the docs and the code differ

A derived part stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`; all else is written
by people and left alone.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    """Rewrite or check the docs of the repository that this file belongs to."""
    stale = 0
    for path, (name, write) in DERIVED.items():
        file = ROOT / path
        old = file.read_text(encoding="utf-8") if file.exists() else f"# {name.capitalize()}\n"
        new = replaced(old, name, write())
        if old == new and file.exists():
            continue
        stale += 1
        if "--check" in arguments:
            print(f"{path}: not what the code says; run `make reference`", file=sys.stderr)
        else:
            file.write_text(new, encoding="utf-8")
            print(f"wrote {path}")
    print(f"reference: {stale} of {len(DERIVED)} files differed")
    return 1 if stale and "--check" in arguments else 0


def replaced(text: str, name: str, part: str) -> str:
    """Put a derived part between its markers; at the end where there are none yet."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    block = f"{begin}\n{part.strip()}\n{end}"
    if begin not in text:
        return f"{text.rstrip()}\n\n{block}\n"
    head, rest = text.split(begin, 1)
    return f"{head}{block}{rest.split(end, 1)[1]}"


def commands() -> str:
    """Return every command with its arguments and options, as Markdown."""
    import typer.main

    from listlens.cli.app import app

    return "\n\n".join(described(path, c) for path, c in leaves(typer.main.get_command(app), ""))


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with the words that call it."""
    if getattr(command, "commands", None):
        for name, child in command.commands.items():
            yield from leaves(child, f"{path} {name}".strip())
    else:
        yield path, command


def described(path: str, command: Any) -> str:
    """Return one command as Markdown: what it does, how it is called, its options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join(["listlens", path, *map(metavar, arguments), *(["[OPTIONS]"] * bool(options))])
    rows = [f"| `{metavar(a)}` | {cell(a.help)} |" for a in arguments]
    rows += [f"| {spelled(o)} | {cell(o.help)}{default(o)} |" for o in options]
    lines = [f"## {path}", "", plain(command.help or ""), "", f"    {usage}"]
    if rows:
        lines += ["", "| | |", "|---|---|", *rows]
    return "\n".join(lines)


def metavar(argument: Any) -> str:
    """Return an argument as it stands in a usage line."""
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def spelled(option: Any) -> str:
    """Return the spellings of an option, with its value where it takes one."""
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.opts[0].lstrip('-').upper()}"


def default(option: Any) -> str:
    """Return the default, where saying it helps."""
    value = option.default
    if option.is_flag or value is None or callable(value) or value in ((), [], "", Path()):
        return ""
    return f" Default: `{value}`."


def cell(text: str | None) -> str:
    """Return text that fits in a cell of a Markdown table."""
    line = plain(text or "").replace("\n", " ").replace("|", "\\|")
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", line)


def plain(text: str) -> str:
    """Return help text as it is in Markdown."""
    return inspect.cleandoc(text).replace("\f", "").strip()


def settings() -> str:
    """Return every key of listlens.toml, as Markdown tables."""
    from listlens.core.config import Config

    parts = []
    for name, field in Config.model_fields.items():
        models = [t for t in (field.annotation, *get_args(field.annotation)) if is_section(t)]
        for model in models:
            title = f"[{name}]" if model is field.annotation else f"[{name}.NAME]"
            parts += section(title, field.description, model)
            for key, about in model.model_fields.items():
                for inner in filter(is_section, get_args(about.annotation)):
                    parts += section(f"[{name}.{key}.NAME]", about.description, inner)
        if not models:
            parts += [f"`{name}`: {cell(field.description)} Default: {shown(field)}.", ""]
    return "\n".join(parts)


def section(title: str, description: str, model: Any) -> list[str]:
    """Return one table of the file as lines of Markdown."""
    rows = [
        f"| `{key}` | {shown(about)} | {cell(about.description)} |"
        for key, about in model.model_fields.items()
    ]
    head = ["| key | default | meaning |", "|---|---|---|"]
    return [f"## `{title}`", "", cell(description), "", *head, *rows, ""]


def is_section(kind: Any) -> bool:
    """Tell whether a setting's type is a table of the file."""
    return hasattr(kind, "model_fields")


def shown(field: Any) -> str:
    """Return a setting's default as it would stand in the file."""
    if field.is_required():
        return "none: must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


DERIVED: dict[str, tuple[str, Callable[[], str]]] = {
    "docs/cli.md": ("commands", commands),
    "docs/configuration.md": ("settings", settings),
}
"""Which file holds which derived part."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
