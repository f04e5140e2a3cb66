"""The names that `import listlens` offers, and keeps offering."""

from __future__ import annotations

import subprocess
import sys

import pytest

import listlens


@pytest.mark.parametrize("name", listlens.__all__)
def test_every_public_name_is_there_and_explains_itself(name: str) -> None:
    value = getattr(listlens, name)
    assert value is getattr(listlens, name)
    if name != "__version__":
        assert value.__doc__
        assert callable(value)
    assert name in dir(listlens)


def test_a_public_name_stays_what_it_is_after_its_first_use() -> None:
    # A module of the same name would take its place in the package as soon as it is imported.
    code = (
        "import listlens\n"
        "for _ in range(2):\n"
        "    for name in listlens.__all__:\n"
        "        value = getattr(listlens, name)\n"
        "        assert name == '__version__' or callable(value), (name, value)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_unknown_name_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'listlens' has no attribute 'nothing'"):
        _ = listlens.nothing  # type: ignore[attr-defined]
