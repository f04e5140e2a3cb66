"""Photos, spoilt in known ways and measured: what `build_quality.py` trains on.

How much a distortion spoils a photo is read from the published mean scores of TID2013 and from
nothing else, see `Severity`. The photos are those of `quality_originals.py`.
"""

from __future__ import annotations

import csv
import hashlib
import io
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from quality_originals import Photo
from scipy.ndimage import gaussian_filter

from listlens.backbones.registry import load_backbone
from listlens.images.distortions import DISTORTIONS, apply
from listlens.images.prepare import Prepared, prepare
from listlens.quality.signals import VIEW_PX
from listlens.quality.technical import features

N_VIEWS = {
    **{"demo": 3, "test": 2, "scikit-image": 5, "grocery": 1, "tuxpaint": 1},
    **dict.fromkeys(("tabler-ui", "lomiri", "mate", "plasma"), 2),
}
STUDIO = {"demo": 2, "grocery": 5}
"""One photo in so many has a view more, cut out before a white wall as shops show goods."""
WORN_SHARE = 0.35
"""Of the views, whose original is itself a little spoilt, as sellers' photos are: noise added to
a noisy photo must lower its score too."""
WEAR = (
    *("gaussian_blur", "noise", "colour_noise", "blotchy_noise", "jpeg", "jpeg", "webp"),
    *("oversharpening", "over_exposure", "under_exposure", "low_contrast", "harsh_contrast"),
    *("colour_cast", "desaturation", "oversaturation", "upscaling"),
)
N_TYPES = 16
"""Distortions a view, drawn; each at a mild and at a strong amount."""

REFERENCE_SCORE = 6.3
"""Of an undistorted photo on TID2013's scale, which does not publish one: the mean of the best
type and level that is no enhancement is 6.11."""
PUBLISHED_PSNR = (33.0, 30.0, 27.0, 24.0, 21.0)
"""Of TID2013's five levels, dB. Ponomarenko et al. 2015, "Image database TID2013: Peculiarities,
results and perspectives", section 2."""
UNSEEN_PSNR = 42.0
"""From here up nobody sees a difference; chosen."""
LIKE = {
    1: ("noise", "oversharpening"),
    2: ("colour_noise", "ycbcr_noise"),
    3: ("blotchy_noise",),
    5: ("fine_noise",),
    6: ("impulse_noise",),
    7: ("banding",),
    8: ("gaussian_blur", "lens_blur", "motion_blur", "upscaling", "pixelation", "jitter"),
    10: ("jpeg",),
    11: ("jpeg2000", "webp"),
    14: ("patches",),
    15: ("colour_blocks",),
    16: (
        *("over_exposure", "brightening", "under_exposure", "darkening", "mean_shift"),
        *("harsh_contrast", "contrast_curve"),
    ),
    17: ("low_contrast",),
    18: ("colour_cast", "desaturation", "oversaturation"),
    19: ("speckle",),
    22: ("dithering",),
    23: ("colour_bleeding", "colour_fringes"),
}
"""TID2013's type by number, and what takes its scores: the same distortion, or the nearest."""
TILT = ((0, 6.3), (2, 6.0), (4, 5.7), (7, 5.3), (11, 4.8), (16, 4.2), (24, 3.5))
"""Degrees and score: chosen, since no published score knows tilt."""
LOWEST_SCORE = 0.6


class Severity:
    """Score of a distorted photo on TID2013's scale, by type and amount.

    TID2013's levels were made at fixed PSNR, so its mean scores are scores by type and PSNR: the
    curve of a type is the line through them, made falling, and goes on below the last level with
    the slope of the last three. Which PSNR an amount has is taken from photos like TID2013's, sharp
    and full of detail (scikit-image's): people see the amount, while the PSNR of a blur on a soft
    photo says that nothing happened.

    Args:
        path: `tid2013_mean_by_type_level.csv`.
    """

    def __init__(self, path: Path) -> None:
        published: dict[int, list[float]] = {}
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                published.setdefault(int(row["type_id"]), []).append(float(row["mean_score"]))
        # Of contrast, levels 2 and 4 are enhancements.
        low = published[17]
        published[17] = [low[0], (low[0] + low[2]) / 2, low[2], (low[2] + low[4]) / 2, low[4]]
        self.curves = {
            name: _falling(published[number]) for number, names in LIKE.items() for name in names
        }

    def calibrate(self, kinds: np.ndarray, amounts: np.ndarray, psnrs: np.ndarray) -> None:
        """Fit each type's PSNR as a line in the logarithm of the amount; all `(n,)`."""
        self.lines: dict[str, tuple[float, float]] = {}
        for kind, name in enumerate(DISTORTIONS):
            x, y = np.log(amounts[kinds == kind]), psnrs[kinds == kind]
            slope = min(0.0, float(np.polyfit(x, y, 1)[0]))
            self.lines[name] = slope, float(y.mean() - slope * x.mean())

    def score(self, name: str, amount: float) -> float:
        """Return the score, `LOWEST_SCORE` to `REFERENCE_SCORE`."""
        if name == "crop":
            return REFERENCE_SCORE
        if name == "tilt":
            found = np.interp(amount, *zip(*TILT, strict=True))
        else:
            at, scores = self.curves[name]
            slope, start = self.lines[name]
            psnr = slope * np.log(amount) + start
            found = np.interp(psnr, at, scores)
            if psnr < at[0]:
                found = scores[0] - (at[0] - psnr) * (scores[2] - scores[0]) / (at[2] - at[0])
        return float(np.clip(found, LOWEST_SCORE, REFERENCE_SCORE))


def _falling(scores: list[float]) -> tuple[list[float], list[float]]:
    """PSNR and score, both rising, of five levels."""
    down = np.minimum.accumulate([min(score, REFERENCE_SCORE) for score in scores])
    return [*PUBLISHED_PSNR[::-1], UNSEEN_PSNR], [*down[::-1].tolist(), REFERENCE_SCORE]


def samples(
    found: list[Photo], severity: Severity, cache: Path, n_workers: int
) -> dict[str, np.ndarray]:
    """Spoil and measure every view of every photo; what is in `cache` is not done again.

    Returns:
        features `(n, d)` float32, and of each row: `view` (rows of one view have one original),
        `photo`, `kind` (index of the distortion, -1 for the original), `amount`, `psnr`, `worn`
        (see `WORN_SHARE`), `score` (where the original is not worn).
    """
    jobs = [(photo, place) for photo in found for place in range(N_VIEWS[photo.source])]
    for source, one_in in STUDIO.items():
        jobs += [(one, N_VIEWS[source]) for one in found if one.source == source][::one_in]
    jobs = [jobs[i] for i in np.random.default_rng(0).permutation(len(jobs))]
    cache.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(n_workers) as pool:
        files = list(pool.map(partial(_kept_view, cache), jobs, chunksize=1))
    parts = [dict(np.load(file)) for file in files]
    rows: dict[str, np.ndarray] = {
        key: np.concatenate([part[key] for part in parts]) for key in parts[0]
    }
    sizes = [len(part["kind"]) for part in parts]
    rows["view"] = np.repeat(np.arange(len(parts)), sizes)
    place = {photo.name: i for i, photo in enumerate(found)}
    rows["photo"] = np.repeat([place[photo.name] for photo, _ in jobs], sizes)
    detailed = np.array([found[i].source == "scikit-image" for i in rows["photo"]])
    detailed &= ~rows["worn"]
    severity.calibrate(*(rows[key][detailed] for key in ("kind", "amount", "psnr")))
    kinds = list(DISTORTIONS)
    rows["score"] = np.array(
        [
            REFERENCE_SCORE if kind < 0 else severity.score(kinds[kind], amount)
            for kind, amount in zip(rows["kind"], rows["amount"], strict=True)
        ]
    )
    return rows


def _kept_view(cache: Path, job: tuple[Photo, int]) -> Path:
    photo, place = job
    key = hashlib.sha256(f"{photo.source}/{photo.name}/{place}".encode()).hexdigest()[:24]
    path = cache / f"{key}.npz"
    if not path.exists():
        studio = place >= N_VIEWS[photo.source]
        made = spoilt_view(photo, studio, np.random.default_rng(int(key, 16) % 2**63))
        np.savez(path.with_suffix(".part.npz"), **made)
        path.with_suffix(".part.npz").rename(path)
    return path


def spoilt_view(photo: Photo, studio: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One view of a photo, and what distortions make of it."""
    original = drawn_view(photo, rng)
    if studio:
        original = before_a_wall(original, rng)
    worn = rng.random() < WORN_SHARE
    if worn:
        original = worn_down(original, rng)
    quality = int(rng.integers(88, 98)) if rng.random() < 0.5 else None
    encode = partial(encoded, quality=quality)
    first = prepared(encode(original))
    rows = [(first, -1, 0.0, 99.0)]
    names = list(DISTORTIONS)
    for kind in rng.permutation(len(names))[:N_TYPES]:
        for mild in (True, False):
            amount = drawn_amount(names[kind], mild, rng)
            scaled = amount * scale_of_px(names[kind], original)
            made = apply(original, names[kind], scaled, int(rng.integers(2**31)))
            done = prepared(encode(made))
            rows.append((done, int(kind), amount, psnr(first, done)))
    return {
        "features": measured([row[0] for row in rows]),
        "kind": np.array([row[1] for row in rows]),
        "amount": np.array([row[2] for row in rows]),
        "psnr": np.array([row[3] for row in rows]),
        "worn": np.full(len(rows), worn),
    }


def worn_down(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spoil a little, in one or two ways, around level 1."""
    for name in rng.choice(WEAR, int(rng.integers(1, 3)), replace=False):
        amount = DISTORTIONS[name].levels[0] * rng.uniform(0.4, 1.3) * scale_of_px(name, pixels)
        least = 1.0 if name == "upscaling" else 0.0
        pixels = apply(pixels, str(name), max(amount, least), int(rng.integers(2**31)))
    return pixels


def drawn_view(photo: Photo, rng: np.random.Generator) -> np.ndarray:
    """A part of the photo at some size: small photos as they are, large ones at 192 px and up."""
    if photo.source == "grocery":
        return np.asarray(photo.pixels)
    if photo.source == "tuxpaint":
        return shown_as_goods(photo.cut_out, rng)
    image = photo.pixels
    share = rng.uniform(0.5, 1) if photo.source != "scikit-image" else rng.uniform(0.8, 1)
    width, height = (max(16, round(side * share)) for side in image.size)
    left, top = (
        int(rng.integers(a - b + 1)) for a, b in zip(image.size, (width, height), strict=True)
    )
    image = image.crop((left, top, left + width, top + height))
    short = int(rng.choice([192, 224, 256, 256, 320, 384, 384, 600]))
    scale = min(1.0, short / min(image.size))
    filters = (Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    size = max(1, round(image.size[0] * scale)), max(1, round(image.size[1] * scale))
    image = image.resize(size, filters[int(rng.integers(3))])
    if rng.random() < 0.5:
        image = Image.open(io.BytesIO(encoded(np.asarray(image), int(rng.integers(82, 96)))))
    return np.asarray(image)


def shown_as_goods(item: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """An object before an even wall, as shops show goods: one or a few, some with a shadow."""
    scale = min(1.0, rng.uniform(150, 340) / max(item.size))
    size = max(8, round(item.width * scale)), max(8, round(item.height * scale))
    item = item.resize(size, Image.Resampling.LANCZOS)
    if rng.random() < 0.5:
        item = item.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    n = int(rng.choice([1, 1, 1, 1, 2, 3])) if item.width < 1.2 * item.height else 1
    width, height = (round(side * rng.uniform(1.03, 1.5)) for side in (n * item.width, item.height))
    if rng.random() < 0.4:
        width = height = max(width, height)
    width, height = max(width, 96), max(height, 96)
    layer = Image.new("RGBA", (width, height))
    left, top = (width - n * item.width) // 2, (height - item.height) // 2
    for i in range(n):
        layer.alpha_composite(item, (left + i * item.width, top))
    pixels = np.asarray(layer, np.float32)
    mask = pixels[..., 3:] / 255
    made = pixels[..., :3] * mask + shadow(mask, rng) * wall(height, width, rng) * (1 - mask)
    found = (made + 0.5).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = int(rng.integers(75, 96))
        found = np.asarray(Image.open(io.BytesIO(encoded(found, quality))).convert("RGB"))
    return found


def wall(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """White in most; nearly white and darker below, or of one colour."""
    drawn = rng.random()
    if drawn < 0.7:
        return np.full((height, width, 3), 255, np.float32)
    if drawn < 0.85:
        slope = np.linspace(0, rng.uniform(-30, 5), height)[:, None, None]
        return np.broadcast_to(rng.uniform(215, 253) + slope, (height, width, 3)).astype(np.float32)
    tint = rng.uniform(60, 250, 3) if drawn > 0.93 else rng.uniform(200, 252, 3)
    return np.broadcast_to(tint, (height, width, 3)).astype(np.float32)


def shadow(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | float:
    """How much light a soft shadow under the object leaves, `(h, w, 1)`; 1 in most."""
    if rng.random() < 0.6:
        return 1.0
    down, right = int(rng.integers(1, 12)), int(rng.integers(-8, 9))
    moved = np.roll(mask[..., 0], (down, right), (0, 1))
    soft = gaussian_filter(moved, rng.uniform(2, 8), mode="nearest")
    return 1 - rng.uniform(0.1, 0.45) * soft[..., None]


def before_a_wall(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a rounded piece out of the middle and set it before a white or nearly white wall."""
    height, width = (min(256, side) for side in pixels.shape[:2])
    pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    power, reach = rng.uniform(2, 6), rng.uniform(0.45, 0.9, 2)
    edge = np.abs(y / reach[0]) ** power + np.abs(x / reach[1]) ** power
    inside = np.clip((1 - edge) * 12 + 0.5, 0, 1)[..., None]
    wall = 255.0 if rng.random() < 0.7 else rng.uniform(225, 252) + 6 * y[..., None]
    return (pixels * inside + wall * (1 - inside) + 0.5).clip(0, 255).astype(np.uint8)


def drawn_amount(name: str, mild: bool, rng: np.random.Generator) -> float:
    """From a little under level 1 to level 3, or from level 3 to a little above level 5."""
    levels = DISTORTIONS[name].levels
    low, high = (levels[0] * 0.8, levels[2]) if mild else (levels[2], levels[4] * 1.2)
    amount = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return min(amount, {"jpeg": 98.0, "webp": 100.0, "crop": 0.6}.get(name, amount))


def scale_of_px(name: str, pixels: np.ndarray) -> float:
    """Amounts in px, and grain, grow with a photo that is looked at smaller than it is."""
    one = DISTORTIONS[name]
    grows = "px" in one.unit.split(", ")[-1].split() or one.family == "noise" or name == "upscaling"
    blocks = name in ("patches", "colour_blocks", "impulse_noise")
    return max(1.0, min(pixels.shape[:2]) / VIEW_PX) if grows and not blocks else 1.0


def encoded(pixels: np.ndarray, quality: int | None) -> bytes:
    """As a file: JPEG, or BMP where there is no quality."""
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    if quality is None:
        image.save(stream, "BMP")
    else:
        image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def prepared(data: bytes) -> Prepared:
    return prepare(data, backbone().preprocessing, view_px=VIEW_PX)


def measured(found: list[Prepared]) -> np.ndarray:
    embeddings = backbone().embed(np.stack([one.pixels for one in found]))
    return np.stack(
        [features(e, one.measures, one.view) for e, one in zip(embeddings, found, strict=True)]
    )


_loaded: list = []


def backbone():
    """One a process."""
    if not _loaded:
        _loaded.append(load_backbone(n_threads=1))
    return _loaded[0]


def psnr(one: Prepared, other: Prepared) -> float:
    """Of two views, dB; of what differs in size, of the smaller inputs of the backbone."""
    a, b = one.view, other.view
    if a.shape != b.shape:
        a, b = one.pixels, other.pixels
    error = float(np.square(a.astype(np.float32) - b.astype(np.float32)).mean())
    return min(99.0, 10 * np.log10(255**2 / max(error, 1e-6)))
