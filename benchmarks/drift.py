"""How often drift is found where there is none, and how little of it is found.

    python benchmarks/drift.py            # the houses, cars and goods of LISTLENS_DATA: minutes
    python benchmarks/drift.py --smoke    # generated photos: seconds, no statement

A model learns from some homes. Photos of the others, drawn by chance or a home at a time, are
compared with its training; then with a share of foreign photos among them, and darkened, blurred
and saved anew. Each row is the part of the draws in which drift is told.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

import listlens
from listlens.learn.reference import Reference

SHARES = (0.02, 0.05, 0.1, 0.2)
ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved anew at quality 60": lambda image: image,
    "darkened to 40 %": lambda image: ImageEnhance.Brightness(image).enhance(0.4),
    "blurred, radius 2": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--homes", type=int, nargs="*", default=[30, 60, 267], help="to train on")
    parser.add_argument("--photos", type=int, default=200, help="of a draw")
    parser.add_argument("--smoke", action="store_true", help="few photos, no statement")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    data = Path(os.environ.get("LISTLENS_DATA", ""))
    if options.smoke:
        return smoke(options, rng)
    rows = list(csv.DictReader((data / "houses" / "labels.csv").open(encoding="utf-8")))
    homes = [(data / "houses" / r["image"], r["label"], r["listing_id"]) for r in rows]
    foreign = {name: sorted((data / name).rglob("*.jpg"))[:500] for name in ("cars", "flipkart")}
    names = sorted({home for _, _, home in homes})
    for n_homes in options.homes:
        chosen = set(rng.choice(names, n_homes, replace=False).tolist())
        with TemporaryDirectory() as folder:
            table = study(Path(folder), homes, chosen, foreign, options, rng)
        print(f"\ntrained on {n_homes} homes; {options.draws} draws of {options.photos} photos")
        print("\n".join(f"| {name} | {100 * found:.1f} % | {d:.2f} |" for name, found, d in table))
    return 0


def smoke(options: argparse.Namespace, rng: np.random.Generator) -> int:
    """Generated homes of a photo in each of two colours; says only that the lines run."""
    options.draws, options.photos = 3, 10
    with TemporaryDirectory() as folder:
        homes = []
        for home in range(40):
            for label, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
                path = Path(folder) / "photos" / f"{home}-{label}.jpg"
                path.parent.mkdir(exist_ok=True)
                noise = rng.integers(0, 50, (96, 96, 3)).astype(np.uint8)
                Image.fromarray(noise + np.array(colour, np.uint8)).save(path)
                homes.append((path, label, str(home)))
        chosen = {str(home) for home in range(30)}
        study(Path(folder) / "p", homes, chosen, {"same": [homes[0][0]] * 4}, options, rng)
    return 0


def study(
    folder: Path,
    homes: list[tuple[Path, str, str]],
    chosen: set[str],
    foreign: dict[str, list[Path]],
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> list[tuple[str, float, float]]:
    """Train on the chosen homes; return (what was drawn, part that is told, mean distance)."""
    labels = folder.with_name(f"{folder.name}-labels.csv")
    root = Path(os.path.commonpath([path for path, _, _ in homes]))
    with labels.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "listing_id"])
        for path, label, home in homes:
            writer.writerow([path.relative_to(root), label if home in chosen else "", home])
    listlens.auto(root, labels, out=folder)
    rest = [(path, home) for path, _, home in homes if home not in chosen]
    with listlens.open(folder) as project:
        (model,) = project.models(["label"])
        reference = Reference.load(model.folder)  # type: ignore[arg-type]

        def rows(photos: list[bytes]) -> Any:
            vectors = np.stack(list(embedded(project, photos)))
            probs = model.probs(vectors)
            review = np.array([one.review for one in model.decide(probs)])
            return reference.rows(vectors, probs, review)

        own = rows([path.read_bytes() for path, _ in rest])
        kinds = {name: rows([p.read_bytes() for p in paths]) for name, paths in foreign.items()}
        some = rng.choice(len(rest), min(len(rest), 500), replace=False).tolist()
        changed = {name: rows([altered(rest[i][0], how) for i in some])
                   for name, how in ALTERED.items()}  # fmt: skip
    n = min(options.photos, len(rest))
    at = np.unique([home for _, home in rest], return_inverse=True)[1]
    draws: dict[str, Callable[[], Any]] = {
        "other homes' photos, by chance": lambda: own[rng.choice(len(own), n, replace=False)],
        "other homes' photos, a home at a time": lambda: own[
            np.isin(at, rng.permutation(at.max() + 1)[: max(1, n // 4)])
        ],
    }
    for name, alien in kinds.items():
        for share in SHARES:
            draws[f"{share:.0%} {name}"] = mixed(own, alien, n, share, rng)
    for name, made in changed.items():
        draws[name] = drawn(made, n, rng)
    return [(name, *told(reference, draw, options.draws)) for name, draw in draws.items()]


def mixed(
    own: Any, alien: Any, n: int, share: float, rng: np.random.Generator
) -> Callable[[], Any]:
    """Return a draw of photos, a share of which is foreign."""
    k = round(n * share)

    def draw() -> Any:
        foreign = alien[rng.choice(len(alien), k, replace=k > len(alien))]
        return np.vstack([own[rng.choice(len(own), n - k, replace=False)], foreign])

    return draw


def drawn(made: Any, n: int, rng: np.random.Generator) -> Callable[[], Any]:
    """Return a draw of photos."""
    return lambda: made[rng.choice(len(made), min(n, len(made)), replace=False)]


def told(reference: Reference, draw: Callable[[], Any], draws: int) -> tuple[float, float]:
    """Return the part of the draws in which anything is told, and the mean distance of the look."""
    found, distances = [], []
    for _ in range(draws):
        rows = draw()
        moved = reference.compare(rows.sum(axis=0), len(rows))
        found.append(any(one.found for one in moved))
        distances.append(moved[0].distance)
    return float(np.mean(found)), float(np.mean(distances))


def embedded(project: Any, photos: list[bytes]) -> Iterator[Any]:
    """Yield the embedding of each photo."""
    from listlens.pipeline.inference import Inference
    from listlens.pipeline.waiting import Priority

    inference = Inference(project.backbone, project.limits)
    for i in range(0, len(photos), 32):
        futures = [inference.submit(p, priority=Priority.BACKFILL) for p in photos[i : i + 32]]
        yield from (future.result().vector for future in futures)
    inference.close()


def altered(path: Path, how: Callable[[Image.Image], Image.Image]) -> bytes:
    """Return a photo altered, as JPEG."""
    stream = io.BytesIO()
    with Image.open(path) as image:
        how(image.convert("RGB")).save(stream, "JPEG", quality=60)
    return stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
