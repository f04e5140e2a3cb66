"""Peak memory of an ingest by the number of photos, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photos import CACHE, HERE, write_set

COUNTS = (1_000, 5_000, 20_000)
SMOKE_COUNTS = (20,)


def peaks(photos: list[bytes], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Ingest each number of photos with default settings; return the measurements."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            warm_up, measured = Path(folder) / "warm-up", Path(folder) / "photos"
            write_set(warm_up, photos[:1], 1, seed=0)
            write_set(measured, photos, count, seed=1)
            command = [sys.executable, HERE / "ingest.py", warm_up, measured]
            command += ["--keep", "thumbnails"]
            done = subprocess.run(
                list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True
            )
        result = json.loads(done.stdout.splitlines()[-1])
        print(f"memory, {count:,} photos: {result['peak_mb']:.0f} MB", flush=True)
        found.append(result)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return the table, as Markdown."""
    rows = ["| photos of 256 x 192 | peak MB | CPU ms a photo | photos/s |", "|---|---|---|---|"]
    rows += [
        f"| {r['n']:,} | {r['peak_mb']:.0f} | {r['cpu_ms']:.2f} | {1000 / r['wall_ms']:.0f} |"
        for r in found
    ]
    return "\n".join(rows) + "\n"
