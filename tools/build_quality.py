"""Train the quality models that ship with listlens, and write them with their cards.

    pip install -r tools/build_quality_requirements.txt
    LISTLENS_DATA=folder python tools/build_quality.py technical --downloads folder --cache folder
    LISTLENS_DATA=folder python tools/build_quality.py aesthetic

Technical: photos that may be redistributed (`quality_originals.py`), spoilt in known ways
(`quality_samples.py`). The network (`quality_training.py`) learns how much each family of
distortions costs, from differences between views of one photo: a spoilt photo against its
original, a strong distortion against a mild one. Aesthetic: our score head on embeddings of the CC0
photos of aesthetic_thumbs. Same seeds and inputs, same weights, up to the arithmetic of the
processor. `--check` trains on four fifths of the photos and judges on the rest.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np
from quality_originals import GROCERY_LICENCE, PACKAGES, photos
from quality_samples import Severity, prepared, samples
from quality_training import (
    FAMILIES,
    KINDS,
    LAYERS,
    N_EMBEDDING,
    Options,
    averaged,
    family_of,
    train,
)
from scipy.special import softmax
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from listlens.backbones.registry import MODEL_SHA256
from listlens.labels.histograms import max_entropy
from listlens.learn.heads import fit, fit_path, rotate
from listlens.learn.objectives import encode
from listlens.metrics.ordinal import srcc
from listlens.quality import aesthetic, technical
from listlens.quality.signals import N_SIGNALS, VIEW_PX
from listlens.quality.weights import write_weights

DATA = Path(os.environ.get("LISTLENS_DATA", "data"))
TEST_SEED = 0

STEPS = ("1", "2", "3", "4", "5")
STRENGTHS = (1e-3, 3e-3, 6e-3, 1e-2)
N_FOLDS = 5

NOTICED_SHARE = 0.95
"""A family is a reason from the penalty on that this share of undistorted photos stays below."""
LEAST_NOTICED = 0.08
"""And from this penalty on, which lowers a score by 8 %; chosen."""


def all_penalties(model: technical.TechnicalModel, features: np.ndarray) -> np.ndarray:
    """Of features `(views, rows, d)`."""
    flat = features.reshape(-1, features.shape[-1])
    return np.stack([model.penalties(row) for row in flat]).reshape(*features.shape[:2], -1)


def judged(model: technical.TechnicalModel, rows: dict[str, np.ndarray], keep: np.ndarray) -> dict:
    """What the model makes of views it has not seen: orders, and correlation with the targets."""
    penalties = all_penalties(model, rows["features"][keep])
    total, kind = penalties.sum(-1), rows["kind"][keep]
    family = family_of(kind)
    lower = total > total[:, :1]
    mild = np.zeros(kind.shape, bool)
    mild[:, 1::2] = True
    spoilt = family >= 0
    worst = (penalties - penalties[:, :1]).argmax(-1)
    return {
        "views": int(keep.sum()),
        "srcc with the targets": round(
            srcc(np.exp(-total[spoilt]), rows["score"][keep][spoilt]), 3
        ),
        "mild ones lower the score": round(float(lower[spoilt & mild].mean()), 3),
        "strong ones lower the score": round(float(lower[spoilt & ~mild].mean()), 3),
        "right family among 18, strong": round(float((worst == family)[spoilt & ~mild].mean()), 3),
        "score of originals, mean": round(float(np.exp(-total[:, 0]).mean()), 3),
        "mild, by distortion": {
            name: round(float(lower[mild & (kind == i)].mean()), 2)
            for i, name in enumerate(KINDS)
            if name != "crop" and (mild & (kind == i)).any()
        },
    }


def with_thresholds(model: technical.TechnicalModel, features: np.ndarray):
    """Choose from which penalty on a family is named, on undistorted photos."""
    clean = np.stack([model.penalties(row) for row in features])
    noticed = np.maximum(np.quantile(clean, NOTICED_SHARE, axis=0), LEAST_NOTICED)
    return replace(model, noticed=noticed.astype(np.float32))


def by_view(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows `(n, ...)` as `(views, rows a view, ...)`."""
    n_views = int(rows["view"].max()) + 1
    return {key: value.reshape(n_views, -1, *value.shape[1:]) for key, value in rows.items()}


def build_technical(downloads: Path, cache: Path, n_workers: int, check: bool) -> None:
    found = photos(DATA / "grocery", downloads)
    severity = Severity(DATA / "quality_scores" / "tid2013_mean_by_type_level.csv")
    rows = by_view(samples(found, severity, cache, n_workers))
    photo = rows["photo"][:, 0]
    test = np.array([found[i].source == "test" for i in photo])
    drawn = np.random.default_rng(TEST_SEED).permutation(len(found))[: len(found) // 5]
    held = np.isin(photo, drawn) | test
    options = Options()
    results = judged(train(rows, ~held, options), rows, held)
    print(results)
    if check:
        return
    clean = ~test & ~rows["worn"][:, 0]
    model = with_thresholds(averaged(rows, ~test, options), rows["features"][clean][:, 0])
    n_photos = {
        source: sum(one.source == source for one in found) for source in (*PACKAGES, "grocery")
    }
    arrays = {key: np.asarray(getattr(model, key)) for key in ARRAYS}
    for key in LAYERS:
        arrays[key] = arrays[key].astype(np.float16)
    path = write_weights(technical.NAME, arrays, technical_card(options, n_photos, results, rows))
    print(f"{path}: {path.stat().st_size:,} bytes")


ARRAYS = ("mean", "scale", *LAYERS, "noticed")


def technical_card(options: Options, n_photos: dict, results: dict, rows: dict) -> dict:
    return {
        "what": "technical quality in [0, 1]: exp(-sum of penalties), one penalty a family",
        "families": FAMILIES,
        "reads": f"{N_EMBEDDING} of the embedding, {len(technical.MEASURES)} measures, "
        f"{N_SIGNALS} signals",
        "view_px": VIEW_PX,
        "backbone_sha256": MODEL_SHA256,
        "built_by": "tools/build_quality.py technical",
        "trained_on": {
            "photos": n_photos,
            "views": int((rows["kind"][:, 0] < 0).sum()),
            "pictures": int(rows["kind"].size),
            "views of an original that was a little spoilt before": int(rows["worn"][:, 0].sum()),
            "distortions": list(KINDS),
            "licences": {
                **{
                    name: f"{package.requirement}: {package.licence}"
                    for name, package in PACKAGES.items()
                },
                "grocery": GROCERY_LICENCE,
            },
        },
        "results_are_on": "a fifth of the photos, a third of them a little spoilt before",
        "severities": "mean scores of TID2013 by type and level; of KADID-10k nothing",
        "options": vars(options),
        "results_of_one_network_on_held_out_photos": results,
        "limits": "judges what is seen with the short side at 384 px; does not know what a photo "
        "is for: a picture meant to be dark, soft or grey counts as faulty",
        "versions": versions(),
    }


@dataclass(frozen=True)
class Rated:
    """Embeddings `(n, d)` of aesthetic_thumbs, mean ratings 1 to 5, and NIMA's published ones."""

    embeddings: np.ndarray
    ratings: np.ndarray
    nima: np.ndarray
    votes: np.ndarray = field(repr=False)


def aesthetic_set() -> Rated:
    folder = DATA / "aesthetic_thumbs"
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pictures = [prepared((folder / row["image"]).read_bytes()) for row in rows]
    embeddings = np.concatenate(
        [embedded(pictures[i : i + 64]) for i in range(0, len(pictures), 64)]
    )
    ratings = np.array([float(row["label"]) for row in rows])
    scale = tuple(map(float, STEPS))
    votes = np.array([max_entropy(scale, rating) for rating in ratings])
    nima = np.array([float(row["nima_aesthetic_pred"]) for row in rows])
    return Rated(embeddings, ratings, nima, votes)


def embedded(pictures: list) -> np.ndarray:
    from quality_samples import backbone

    return backbone().embed(np.stack([one.pixels for one in pictures])).astype(np.float32)


def means_by_strength(given: Rated, seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Mean vote `(strengths, asked)`, learnt from `seen` only."""
    rotated = rotate(given.embeddings[seen])
    scale = np.array(STEPS, float)
    targets = encode(given.votes[seen], len(STEPS), "score")
    return np.stack(
        [
            softmax(rotated.apply(given.embeddings[asked]) @ w + b, axis=1) @ scale
            for w, b in fit_path(rotated, targets, STRENGTHS)
        ]
    )


def best_strength(given: Rated, rows: np.ndarray, seed: int) -> int:
    """Index of the strength with the best rank correlation over folds of `rows`."""
    found = np.zeros((len(STRENGTHS), len(rows)))
    for a, b in KFold(3, shuffle=True, random_state=seed).split(rows):
        found[:, b] = means_by_strength(given, rows[a], rows[b])
    return int(np.argmax([srcc(line, given.ratings[rows]) for line in found]))


def out_of_fold(given: Rated) -> np.ndarray:
    """Mean vote `(n,)` of every photo from a head that did not see it.

    The strength of a fold is chosen inside the other four.
    """
    found = np.zeros(len(given.ratings))
    splits = KFold(N_FOLDS, shuffle=True, random_state=TEST_SEED).split(given.embeddings)
    for a, b in splits:
        best = best_strength(given, a, seed=1)
        found[b] = means_by_strength(given, a, b)[best]
    return found


def build_aesthetic() -> None:
    given = aesthetic_set()
    oof = out_of_fold(given)
    best = best_strength(given, np.arange(len(oof)), seed=1)
    head = fit(given.embeddings, encode(given.votes, len(STEPS), "score"), STRENGTHS[: best + 1])
    card = {
        "what": "aesthetic quality: votes on 1 to 5; the score is (mean - 1) / 4",
        "steps": list(STEPS),
        "backbone_sha256": MODEL_SHA256,
        "built_by": "tools/build_quality.py aesthetic",
        "trained_on": {
            "photos": len(oof),
            "set": "aesthetic_thumbs, from https://github.com/"
            "Telecommunication-Telemedia-Assessment/sophoappeal_images (Goering and Raake 2023)",
            "licence": "photos CC0; ratings from a GPL-3.0 repository; no photo is in listlens",
        },
        "loss": "squared Earth Mover's distance to the maximum-entropy histogram of the mean",
        "strength": STRENGTHS[best],
        "results": {
            "srcc, five-fold": round(srcc(oof, given.ratings), 3),
            "srcc of NIMA on the whole photos": round(srcc(given.nima, given.ratings), 3),
        },
        "limits": "SAW ONLY 80 PX CROPS: the photos' centres, enlarged to 224 px, while people "
        "rated the whole photos. It has learnt little of composition, and nothing of what only a "
        "sharp photo shows. Good for an order among similar photos; not a verdict on one.",
        "versions": versions(),
    }
    arrays = {"weights": head.weights, "bias": head.bias}
    print(card["results"], write_weights(aesthetic.NAME, arrays, card))


def versions() -> dict[str, str]:
    names = ("numpy", "scipy", "pillow", "openvino", "torch")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["technical", "aesthetic"])
    parser.add_argument("--downloads", type=Path, default=Path("demo/out/download"))
    parser.add_argument("--cache", type=Path, default=Path("demo/out/quality"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--check", action="store_true", help="judge held-out photos only")
    options = parser.parse_args()
    with threadpool_limits(1):
        if options.what == "aesthetic":
            build_aesthetic()
        else:
            options.downloads.mkdir(parents=True, exist_ok=True)
            build_technical(options.downloads, options.cache, options.workers, options.check)


if __name__ == "__main__":
    main()
