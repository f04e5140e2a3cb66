"""The code of docs/client.md, beside a running server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "client.md"


@pytest.mark.slow
def test_the_code_of_the_page_runs(served: Any, shop: Any, photo_host: str, tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    first, second = sorted(shop.classes)[:2]
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "1.jpg").symlink_to(shop.photos / first)
    (tmp_path / "new" / "2.jpg").symlink_to(shop.photos / second)
    changed = {"http://127.0.0.1:8000": served.url, "https://...": f"{photo_host}/{first}",
               '"kitchen"': '"disc"'}  # fmt: skip
    for old, new in changed.items():
        assert old in code
        code = code.replace(old, new)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "LISTLENS_TOKEN": served.token},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert f"prediction='{shop.classes[first]}'" in done.stdout
