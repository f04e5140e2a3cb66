"""What the shipped quality models are worth: `listlens quality` against published scores.

    python benchmarks/quality.py kadid      # order of KADID-10k's published means, types re-created
    python benchmarks/quality.py unseen     # does each distortion lower the score of unseen photos?
    python benchmarks/quality.py aesthetic  # five-fold on aesthetic_thumbs, beside ridge and NIMA

Needs LISTLENS_DATA; photos are read there and nowhere copied. `kadid` fetches the demo's photos.
None of the photos used here was trained on (`aesthetic` holds folds out).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from build_quality import DATA, TEST_SEED, aesthetic_set, out_of_fold
from quality_originals import photos
from quality_samples import encoded, measured, prepared
from upright import has_upright

import listlens.quality.signals
from listlens.images.distortions import DISTORTIONS, N_LEVELS, apply, distort
from listlens.metrics.intervals import Bootstrap
from listlens.metrics.ordinal import srcc, srcc_estimate
from listlens.quality.technical import score, technical_model

# KADID-10k's types: our distortion, and its amounts as published with the set's code (Lin, Hosu
# and Saupe 2019, "KADID-10k: A large-scale artificially distorted IQA database"; the same numbers
# in ARNIQA's re-creation, github.com/miccunifi/ARNIQA), in our units. Denoising (15) is left out:
# it needs the authors' network.
KADID: dict[int, tuple[str, tuple[float, ...]]] = {
    1: ("gaussian_blur", (0.1, 0.5, 1, 2, 5)),
    2: ("lens_blur", (1, 2, 4, 6, 8)),
    3: ("motion_blur", (1, 2, 4, 6, 10)),
    4: ("colour_bleeding", (1, 3, 6, 8, 12)),
    5: ("colour_fringes", (1, 3, 6, 8, 12)),
    6: ("dithering", tuple(256 / n for n in (64, 48, 32, 16, 8))),
    7: ("desaturation", tuple(1 - f for f in (0.4, 0.2, 0.1, 0, -0.4))),
    8: ("oversaturation", tuple(f - 1.0 for f in (1, 2, 3, 6, 9))),
    9: ("jpeg2000", (16, 32, 45, 120, 400)),
    10: ("jpeg", tuple(100.0 - q for q in (43, 36, 24, 7, 4))),
    11: ("noise", tuple(255 * v**0.5 for v in (0.001, 0.002, 0.003, 0.005, 0.01))),
    12: ("ycbcr_noise", tuple(255 * v**0.5 for v in (0.0001, 0.0005, 0.001, 0.002, 0.003))),
    13: ("impulse_noise", (0.001, 0.005, 0.01, 0.02, 0.03)),
    14: ("speckle", tuple(v**0.5 for v in (0.001, 0.005, 0.01, 0.02, 0.05))),
    16: ("brightening", (0.1, 0.2, 0.4, 0.7, 1.1)),
    17: ("darkening", (0.05, 0.1, 0.2, 0.4, 0.8)),
    18: ("mean_shift", tuple(255 * v for v in (0.15, 0.08, 0, -0.08, -0.15))),
    19: ("jitter", (0.05, 0.1, 0.2, 0.5, 1)),
    20: ("patches", (20, 40, 60, 80, 100)),
    21: ("pixelation", tuple(1 / (1 - s) for s in (0.01, 0.05, 0.1, 0.2, 0.5))),
    22: ("banding", tuple(256 / n for n in (20, 16, 13, 10, 7))),
    23: ("colour_blocks", (2, 4, 6, 8, 10)),
    24: ("oversharpening", (1, 2, 3, 6, 12)),
    25: ("contrast_curve", (0.3, 0.15, 0, -0.4, -0.6)),
}
KADID_SIZE = (512, 384)
UNSEEN = (("houses", 80), ("cars", 60), ("flipkart", 60))
KADID_MORE = (("houses", 16), ("cars", 16))
"""Beside the eight of the demo, so that no photo's content weighs much; drawn after `UNSEEN`'s."""
Lowered = dict[tuple[str, int], np.ndarray]
"""By distortion and level: for each photo whether its score fell, 1 or 0."""
SIGNALS = (Path(listlens.quality.signals.__file__)).read_bytes()
ASKED = (
    *("gaussian_blur", "motion_blur", "noise", "jpeg", "webp", "over_exposure", "under_exposure"),
    *("low_contrast", "colour_cast", "upscaling", "banding", "tilt"),
)
"""The twelve that were promised; the others were added."""
MONOTONE = ("gaussian_blur", "motion_blur", "noise", "jpeg", "jpeg2000", "under_exposure")
LEAST_SHARE = 0.95
NOTHING = (1, 1)
"""Type and level of KADID-10k that changes nothing: a blur of 0.1 px."""


def told_from() -> dict[str, float]:
    """Mildest published amount of a distortion that people told from the original, by name.

    The rule, fixed before anything was measured by it: a published type and level is told from the
    original where its mean score lies below that of `NOTHING` by more than the 95 % interval of
    the difference (1.96 standard errors, of the deviations that the set's photos have). A level of
    ours counts where its amount is at least the mildest such amount of its type. All levels of a
    type that KADID-10k does not have count.
    """
    published: dict[tuple[int, int], tuple[float, float]] = {}
    with (DATA / "quality_scores" / "kadid10k_mean_by_type_level.csv").open() as file:
        for row in csv.DictReader(file):
            spread = float(row["sd"]) ** 2 / int(row["n"])
            published[int(row["type_id"]), int(row["level"])] = float(row["mean_score"]), spread
    mean, spread = published[NOTHING]
    found: dict[str, float] = {}
    for (number, level), (theirs, theirs_spread) in published.items():
        if number in KADID and mean - theirs > 1.96 * (spread + theirs_spread) ** 0.5:
            name, amounts = KADID[number]
            # What lies at or below 0 is the other direction of a type that has two.
            if amounts[level - 1] > 0:
                found[name] = min(found.get(name, np.inf), amounts[level - 1])
    return found


def counted() -> dict[str, list[int]]:
    """Levels of each of our distortions that count by the rule of `told_from`."""
    told = told_from()
    return {
        name: [k for k, amount in enumerate(one.levels, 1) if amount >= told.get(name, 0.0)]
        for name, one in DISTORTIONS.items()
        if name != "crop"
    }


def scores(pictures: list[np.ndarray]) -> np.ndarray:
    model = technical_model()
    return np.array([score(model.penalties(row)) for row in kept(pictures)])


def kept(pictures: list[np.ndarray]) -> np.ndarray:
    """Features of pictures, from the folder LISTLENS_QUALITY_CACHE where that names one.

    Measuring takes all the time; another model of the same features is then judged in seconds.
    """
    folder = os.environ.get("LISTLENS_QUALITY_CACHE")
    if not folder:
        return measured([prepared(encoded(one, None)) for one in pictures])
    digest = hashlib.sha256(SIGNALS)
    for one in pictures:
        digest.update(f"{one.shape}".encode() + one.tobytes())
    path = Path(folder) / f"{digest.hexdigest()[:24]}.npy"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.npy")
        np.save(part, measured([prepared(encoded(one, None)) for one in pictures]))
        part.rename(path)
    return np.load(path)


def kadid(n_photos: int, n_workers: int) -> dict[str, object]:
    """Spearman over (type, level): our mean score against KADID's."""
    published: dict[tuple[int, int], float] = {}
    with (DATA / "quality_scores" / "kadid10k_mean_by_type_level.csv").open() as file:
        for row in csv.DictReader(file):
            published[int(row["type_id"]), int(row["level"])] = float(row["mean_score"])
    views = kadid_views()[:n_photos]
    ours: dict[tuple[int, int], float] = {}
    with ProcessPoolExecutor(n_workers) as pool:
        for number, means in zip(KADID, pool.map(partial(by_amount, views), KADID), strict=True):
            ours |= {(number, level): mean for level, mean in enumerate(means, 1)}
            theirs = [published[number, level] for level in range(1, 6)]
            print(number, KADID[number][0], np.round(means, 3).tolist(), theirs, flush=True)
    keys = sorted(ours)
    a, b = [ours[k] for k in keys], [published[k] for k in keys]
    draws = Bootstrap(np.array([number for number, _ in keys]), seed=TEST_SEED)
    return {
        "photos": len(views),
        "pairs": len(keys),
        "srcc": srcc(a, b),
        "interval": vars_of(srcc_estimate(a, b, draws)),
        "mean original": float(scores(views).mean()),
    }


def by_amount(views: list[np.ndarray], number: int) -> list[float]:
    """Mean score of the photos at each published amount of one type."""
    name, amounts = KADID[number]
    made = [apply(v, name, a, seed=i) for a in amounts for i, v in enumerate(views)]
    means = scores(made).reshape(len(amounts), len(views)).mean(axis=1)
    return [float(mean) for mean in means]


def kadid_views() -> list[np.ndarray]:
    """The demo's photos left out, at KADID's size; homes and cars, which are smaller, as they are.

    All in KADID's shape. Enlarging the small ones would spoil the originals.
    """
    found = [one for one in photos(DATA / "grocery", downloads()) if one.source == "test"]
    views = [
        np.asarray(four_to_three(one.pixels).resize(KADID_SIZE, Image.Resampling.LANCZOS))
        for one in found
    ]
    for name, n in KADID_MORE:
        used = dict(UNSEEN)[name]
        fresh = set_photos(name, used + n)[used:]
        views += [np.asarray(four_to_three(Image.fromarray(one))) for one in fresh]
    return views


def four_to_three(image: Image.Image) -> Image.Image:
    """Cut the largest piece of that shape out of the middle."""
    width, height = image.size
    wide = min(width, height * 4 // 3)
    tall = wide * 3 // 4
    left, top = (width - wide) // 2, (height - tall) // 2
    return image.crop((left, top, left + wide, top + tall))


def unseen(share: float, levels: tuple[int, ...], n_workers: int) -> dict[str, object]:
    """Share of unseen photos whose score each distortion lowers, and mean scores by level."""
    sets = {name: set_photos(name, round(n * share)) for name, n in UNSEEN}
    pictures = [one for found in sets.values() for one in found]
    source = np.repeat(list(sets), [len(found) for found in sets.values()])
    originals = scores(pictures)
    kinds = [name for name in DISTORTIONS if name != "crop"]
    lower: Lowered = {}
    means: dict[str, list[float]] = {}
    with ProcessPoolExecutor(n_workers) as pool:
        for name, found in zip(
            kinds, pool.map(partial(by_level, pictures, levels), kinds), strict=True
        ):
            lower |= {(name, k): (v < originals).astype(float) for k, v in found.items()}
            means[name] = [float(v.mean()) for v in (originals, *found.values())]
            shares = {k: round(float((v < originals).mean()), 3) for k, v in found.items()}
            print(name, shares, [round(v, 3) for v in means[name]], flush=True)
    upright = np.array([has_upright(one) for one in pictures])
    told = {key: v for key, v in lower.items() if key[1] in counted()[key[0]]}
    fair = {key: np.where(upright, v, np.nan) if key[0] == "tilt" else v for key, v in told.items()}
    return {
        "photos": len(pictures),
        "lowered": {f"{name} {k}": float(v.mean()) for (name, k), v in lower.items()},
        "tilt": of_tilt(lower, source, upright),
        "all levels and photos": summed(lower, source),
        "levels told from the original by people, all photos": summed(told, source),
        "the same, tilt only where something is upright": summed(fair, source),
        "means, original first": means,
        "monotone": {name: bool(np.all(np.diff(means[name]) < 0)) for name in MONOTONE},
        "originals, deviation": float(originals.std()),
    }


def of_tilt(lower: Lowered, source: np.ndarray, upright: np.ndarray) -> dict[str, object]:
    """Share lowered by degrees, by set, and where something is upright or level or nothing is."""
    parts = {name: source == name for name, _ in UNSEEN}
    parts |= {"something upright": upright, "nothing upright": ~upright}
    degrees = dict(enumerate(DISTORTIONS["tilt"].levels, 1))
    return {
        name: {"photos": int(part.sum()), "with something upright": int(upright[part].sum())}
        | {
            f"{degrees[k]} degrees": round(float(v[part].mean()), 3)
            for (kind, k), v in lower.items()
            if kind == "tilt" and part.any()
        }
        for name, part in parts.items()
    }


def summed(lower: Lowered, source: np.ndarray) -> dict[str, object]:
    """How many of the distortions, over their levels and at each, lower 95 % of the photos.

    A photo that does not count for a distortion is NaN there.
    """
    names = list(dict.fromkeys(name for name, _ in lower))
    pooled = {
        n: float(np.nanmean([v for (name, _), v in lower.items() if name == n])) for n in names
    }
    levels = sorted({k for _, k in lower})
    shares = {k: [np.nanmean(v) for (_, level), v in lower.items() if level == k] for k in levels}
    every = np.stack(list(lower.values()))
    return {
        "share of cases": float(np.nanmean(every)),
        "share of cases, by set": {
            name: float(np.nanmean(every[:, source == name])) for name, _ in UNSEEN
        },
        "share of cases, by level": {k: float(np.mean(v)) for k, v in shares.items()},
        "distortions": len(names),
        "of them lower 95 %, levels together": sum(v >= LEAST_SHARE for v in pooled.values()),
        "of the twelve promised": sum(pooled[name] >= LEAST_SHARE for name in ASKED),
        "of them lower 95 %, by level": {
            k: f"{sum(share >= LEAST_SHARE for share in v)} of {len(v)}" for k, v in shares.items()
        },
        "below 95 %": {n: round(v, 3) for n, v in pooled.items() if v < LEAST_SHARE},
        "levels together": {n: round(v, 3) for n, v in pooled.items()},
    }


def by_level(
    pictures: list[np.ndarray], levels: tuple[int, ...], name: str
) -> dict[int, np.ndarray]:
    asked = range(1, N_LEVELS + 1) if name in MONOTONE else levels
    return {
        level: scores([distort(v, name, level, seed=i) for i, v in enumerate(pictures)])
        for level in asked
    }


def set_photos(name: str, n: int) -> list[np.ndarray]:
    with (DATA / name / "labels.csv").open(encoding="utf-8") as file:
        rows = [row["image"] for row in csv.DictReader(file)]
    drawn = np.random.default_rng(TEST_SEED).permutation(len(rows))[:n]
    return [np.asarray(Image.open(DATA / name / rows[i]).convert("RGB")) for i in drawn]


def downloads() -> Path:
    path = Path(os.environ.get("LISTLENS_DOWNLOADS", "demo/out/download"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def vars_of(estimate: object) -> list[float]:
    return [estimate.low, estimate.high]


def aesthetic() -> dict[str, object]:
    """Five-fold: our score head, its strength chosen inside; ridge likewise; NIMA as published."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    given = aesthetic_set()
    ours = out_of_fold(given)
    ridge = np.zeros(len(given.ratings))
    for a, b in KFold(5, shuffle=True, random_state=TEST_SEED).split(given.embeddings):
        scaler = StandardScaler().fit(given.embeddings[a])
        model = RidgeCV(np.logspace(2, 5, 13)).fit(
            scaler.transform(given.embeddings[a]), given.ratings[a]
        )
        ridge[b] = model.predict(scaler.transform(given.embeddings[b]))
    draws = Bootstrap(np.arange(len(ridge)), seed=TEST_SEED)
    gaps = []
    for index in np.random.default_rng(TEST_SEED).integers(0, len(ridge), (1000, len(ridge))):
        y = given.ratings[index]
        gaps.append(srcc(ours[index], y) - srcc(ridge[index], y))
    return {
        "photos": len(ridge),
        "ours": srcc(ours, given.ratings),
        "interval": vars_of(srcc_estimate(ours, given.ratings, draws)),
        "ridge": srcc(ridge, given.ratings),
        "ours minus ridge, 95 %": np.quantile(gaps, (0.025, 0.975)).tolist(),
        "NIMA on the whole photos": srcc(given.nima, given.ratings),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["kadid", "unseen", "aesthetic"])
    parser.add_argument("--share", type=float, default=1.0, help="of the photos, to be quick")
    parser.add_argument(
        "--levels", default="1,2,3,4,5", help="of the types besides the monotone six"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.what == "kadid":
        result = kadid(max(1, round(40 * options.share)), options.workers)
    elif options.what == "unseen":
        result = unseen(options.share, tuple(map(int, options.levels.split(","))), options.workers)
    else:
        result = aesthetic()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
