"""CPU seconds a photo from files to stored embeddings, against two plain loops and the limit.

    python benchmarks/run.py --install-peers     # everything: about 15 minutes
    python benchmarks/run.py --repeats 1         # a first look
    python benchmarks/run.py --smoke             # does it still run: seconds

Every measurement is a process of its own that first passes over 24 photos and then measures user
and system time of all its threads and children, until the last embedding is on disk. Repeats are
interleaved; medians are compared within one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import memory
from photos import CACHE, HERE, MIX, drawn, mix, small, write_set

N_WARM_UP = 24
# glibc gives large blocks back to the system after each use and has them zeroed again. These keep
# them: the well-known remedy for PyTorch on the CPU.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}


@dataclass(frozen=True)
class Line:
    """One line of the table: what to run, on how many copies of the mix."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    copies: int = 8
    venv: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def python(self, venvs: Path) -> Path:
        """Return the interpreter that runs it."""
        return venvs / self.venv / "bin" / "python" if self.venv else Path(sys.executable)


TORCH, TENSORFLOW = ".venv-torch", ".venv-tensorflow"
LINES = (
    Line("listlens, default", "ingest.py"),
    Line("listlens, fast", "ingest.py", ("--decode", "fast")),
    Line("listlens, default, with thumbnails", "ingest.py", ("--keep", "thumbnails")),
    Line("listlens, default, ONNX Runtime", "ingest.py", ("--engine", "onnxruntime"), 4),
    Line("(a) PyTorch + Pillow, malloc tuned", "torch_loop.py", copies=2, venv=TORCH, env=MALLOC),
    Line("(a) PyTorch + Pillow, malloc untuned", "torch_loop.py", copies=1, venv=TORCH),
    Line(
        "PyTorch package's network, malloc as tuned",
        "torch_loop.py",
        ("package",),
        1,
        TORCH,
        MALLOC,
    ),
    Line("(b) Keras MobileNet + tf.data", "keras_tfdata.py", copies=4, venv=TENSORFLOW),
    Line("limit", "limit.py", copies=2),
)


def main() -> int:
    """Measure and print; return 0."""
    options = parse()
    if options.install_peers:
        install_peers(options.venvs)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        lines = installed([x for x in LINES if options.only in x.name], options.venvs)
        photos = drawn() if options.smoke else mix()
        whole, repeats = (3, 1) if options.smoke else (len(photos), options.repeats)
        found = speed(Path(folder), photos, lines, options.venvs, repeats=repeats, whole=whole)
    text = speed_table(found)
    counts = () if options.only else memory.SMOKE_COUNTS if options.smoke else memory.COUNTS
    peaks = memory.peaks(photos if options.smoke else small(), counts)
    text += "\n" + memory.table(peaks) if peaks else ""
    print(f"\n{machine()}\n\n{text}")
    if not options.smoke:
        result = {"machine": machine(), "speed": found, "memory": peaks}
        (CACHE / "results.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="of every line; medians are shown")
    parser.add_argument("--only", default="", help="lines with these words; then no memory")
    parser.add_argument("--smoke", action="store_true", help="a few small photos, no statement")
    parser.add_argument(
        "--install-peers", action="store_true", help="PyTorch and TensorFlow, in benchmarks/.venv-*"
    )
    parser.add_argument("--venvs", type=Path, default=HERE, help="where the peers' .venv-* are")
    return parser.parse_args()


def install_peers(venvs: Path) -> None:
    """Make the peers' environments where they are absent or of other versions."""
    for venv in (TORCH, TENSORFLOW):
        wanted = HERE / f"requirements{venv.removeprefix('.venv')}.txt"
        done = venvs / venv / "requirements.txt"
        if done.exists() and done.read_bytes() == wanted.read_bytes():
            continue
        print(f"Installing {wanted.name} into {venvs / venv} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(venvs / venv)], check=True)
        pip = [str(venvs / venv / "bin" / "python"), "-m", "pip", "install", "-qq"]
        subprocess.run([*pip, "-r", str(wanted)], check=True)
        shutil.copy(wanted, done)


def installed(lines: list[Line], venvs: Path) -> list[Line]:
    """Return the lines that can run here; say which cannot."""
    found = [line for line in lines if line.python(venvs).exists()]
    for line in lines:
        if line not in found:
            print(f"skipped: {line.name}: not installed (python benchmarks/run.py --install-peers)")
    return found


def speed(
    folder: Path,
    photos: list[bytes],
    lines: list[Line],
    venvs: Path,
    *,
    repeats: int,
    whole: int,
) -> dict[str, list[dict[str, Any]]]:
    """Return every line's measurements.

    Args:
        folder: where photos are written; removed by the caller.
        photos: the mix.
        lines: what to measure.
        venvs: where the peers' environments are.
        repeats: interleaved passes over the lines.
        whole: photos in one copy of the mix.
    """
    every_fifth = photos[:: max(1, len(photos) // N_WARM_UP)]
    write_set(folder / "warm-up", every_fifth, len(every_fifth), seed=0)
    for copies in {line.copies for line in lines}:
        write_set(folder / f"{copies}", photos, whole * copies, seed=copies)
    found: dict[str, list[dict[str, Any]]] = {line.name: [] for line in lines}
    for repeat in range(repeats):
        for line in lines:
            result = measured(line, line.python(venvs), folder)
            found[line.name].append(result)
            shown = f"{result['cpu_ms']:.2f} ms CPU a photo"
            print(f"{repeat + 1}/{repeats}  {line.name}: {shown}", flush=True)
    return found


def measured(line: Line, python: Path, folder: Path) -> dict[str, Any]:
    """Run one line once."""
    files = python, HERE / line.script, folder / "warm-up", folder / str(line.copies)
    done = subprocess.run(
        [*map(str, files), *line.arguments],
        env={**os.environ, **line.env},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "peak" in result:  # the limit: arithmetic at the peak, on top of decoding
        result["network_ms"] = result["gflop"] / result["peak"] * 1000
        result["cpu_ms"] += result["network_ms"]
    return result


def speed_table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table, as Markdown."""
    medians = {name: median(r["cpu_ms"] for r in results) for name, results in found.items()}
    tuned = next((ms for name, ms in medians.items() if "malloc tuned" in name), None)
    keras = next((ms for name, ms in medians.items() if "(b)" in name), None)
    limit = medians.get("limit")
    rows = [
        "| line | CPU ms a photo: median (min to max) | photos/s | (a) tuned / it | (b) / it "
        "| it / limit | start-up, CPU s | peak MB | runs on |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, results in found.items():
        ms = medians[name]
        spread = [r["cpu_ms"] for r in results]
        cells = [
            name,
            f"{ms:.2f} ({min(spread):.2f} to {max(spread):.2f})",
            f"{1000 / median(r['wall_ms'] for r in results):.0f}" if name != "limit" else "",
            ratio(tuned, ms),
            ratio(keras, ms),
            ratio(ms, limit),
            f"{median(r['start_s'] for r in results):.1f}" if name != "limit" else "",
            f"{max(r['peak_mb'] for r in results):.0f}" if name != "limit" else "",
            results[0]["runs_on"],
        ]
        rows.append(f"| {' | '.join(cells)} |")
    text = "\n".join(rows) + "\n"
    if "limit" in found:
        best = max(found["limit"], key=lambda r: r["peak"])
        text += (
            f"\nThe limit: decoding at 1/8 {limit_decode(found['limit']):.2f} ms, and "
            f"{best['gflop']:.3f} GFLOP at {best['peak']:.0f} GFLOP/s a core "
            f"({best['runs_on']}, measured) {best['network_ms']:.2f} ms.\n"
        )
    return text


def limit_decode(results: list[dict[str, Any]]) -> float:
    return float(median(r["cpu_ms"] - r["network_ms"] for r in results))


def ratio(a: float | None, b: float | None) -> str:
    return f"{a / b:.2f}" if a and b else ""


def machine() -> str:
    """Say on what this ran."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = dict(line.split(":", 1) for line in lines if ":" in line)
        fields = {key.strip(): value.strip() for key, value in names.items()}
        model = "{model name}, family {cpu family}, model {model}".format(**fields)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    libc = " ".join(platform.libc_ver())
    mixed = ", ".join(f"{n} of {w} x {h}" for n, (w, h) in MIX)
    python = platform.python_version()
    return f"{model}, {os.cpu_count()} cores{load}; {libc}; Python {python}; {mixed}"


if __name__ == "__main__":
    sys.exit(main())
