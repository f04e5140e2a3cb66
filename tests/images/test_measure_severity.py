"""Measures follow what was done to the photo, step by step, and hashes know a photo again."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from listlens.core.types import Preprocessing
from listlens.images.measures import Measures
from listlens.images.prepare import prepare

PREPROCESSING = Preprocessing()


def scene(seed: int = 0, height: int = 270, width: int = 360) -> Image.Image:
    """Furniture-like blocks of many colours on a gradient, with some texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 180 / width, y * 180 / height, (x + y) * 80 / width], axis=2) + 30
    for _ in range(120):
        top, left = rng.integers(0, height), rng.integers(0, width)
        down, right = rng.integers(8, height // 4), rng.integers(8, width // 4)
        pixels[top : top + down, left : left + right] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def measured(image: Image.Image, fmt: str = "PNG", **options: object) -> Measures:
    stream = io.BytesIO()
    image.save(stream, fmt, **options)
    measures = prepare(stream.getvalue(), PREPROCESSING).measures
    assert measures is not None
    return measures


def noisy(image: Image.Image, level: float) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, level, (*image.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def blurred(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def dimmed(image: Image.Image, share: float) -> Image.Image:
    return image.point(lambda level: level * share)


def washed_out(image: Image.Image, share: float) -> Image.Image:
    return image.point(lambda level: 255 * share + level * (1 - share))


def flattened(image: Image.Image, share: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(1 - share)


def faded(image: Image.Image, share: float) -> Image.Image:
    return ImageEnhance.Color(image).enhance(1 - share)


SEVERITIES = {
    "blur lowers sharpness": (blurred, (0, 0.7, 1.5, 3, 6), "sharpness", -1),
    "noise raises noise": (noisy, (0, 4, 8, 16, 32), "noise", +1),
    "dimming lowers the lights": (dimmed, (1, 0.8, 0.5, 0.3, 0.1), "dark", -1),
    "dimming lowers brightness": (dimmed, (1, 0.8, 0.5, 0.3, 0.1), "brightness", -1),
    "washing out raises the darks": (washed_out, (0, 0.2, 0.5, 0.8, 0.95), "bright", +1),
    "washing out raises brightness": (washed_out, (0, 0.2, 0.5, 0.8, 0.95), "brightness", +1),
    "flattening lowers contrast": (flattened, (0, 0.3, 0.6, 0.9, 0.98), "contrast", -1),
    "flattening lowers entropy": (flattened, (0, 0.5, 0.8, 0.95, 0.99), "entropy", -1),
    "fading lowers colourfulness": (faded, (0, 0.3, 0.6, 0.9, 1.0), "colourfulness", -1),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("alter", "steps", "name", "sign"), SEVERITIES.values(), ids=SEVERITIES)
def test_every_step_worse_is_measured_as_worse(alter, steps, name, sign, seed):
    values = [getattr(measured(alter(scene(seed), step)), name) for step in steps]
    assert all(sign * (b - a) > 0 for a, b in pairwise(values)), values


@pytest.mark.parametrize("level", [5.0, 10.0, 20.0])
def test_noise_is_estimated_in_grey_levels(level):
    """On a smooth picture the estimate is the noise's own standard deviation."""
    ramp = Image.linear_gradient("L").resize((480, 360)).convert("RGB")
    middle = ramp.point(lambda value: 80 + value * 0.35)
    assert measured(noisy(middle, level)).noise == pytest.approx(level, rel=0.1)


EXTREMES = {
    "black": ((0, 0, 0), 0.0),
    "white": ((255, 255, 255), 1.0),
    "mid grey": ((128, 128, 128), 128 / 255),
    "pure green": ((0, 255, 0), 0.691**0.5),
    "pure blue": ((0, 0, 255), 0.068**0.5),
    "pure red": ((255, 0, 0), 0.241**0.5),
}


@pytest.mark.parametrize(("colour", "brightness"), EXTREMES.values(), ids=EXTREMES)
def test_even_colours_have_the_brightness_of_the_formula_and_nothing_else(colour, brightness):
    m = measured(Image.new("RGB", (300, 200), colour))
    for value in (m.brightness, m.dark, m.bright):
        assert value == pytest.approx(brightness, abs=0.004)
    assert (m.contrast, m.sharpness, m.noise, m.entropy) == (0, 0, 0, 0)
    assert (m.border_left, m.border_right, m.border_top, m.border_bottom) == (1, 1, 1, 1)


def test_half_black_half_white_has_one_bit_and_the_greatest_contrast():
    image = Image.new("RGB", (320, 320))
    image.paste((255, 255, 255), (160, 0, 320, 320))
    m = measured(image)
    assert m.contrast == pytest.approx(0.5, abs=0.01)
    assert m.entropy == pytest.approx(1.0, abs=0.15)
    assert (m.dark, m.bright) == (1.0, 0.0)
    assert m.colourfulness == 0
    assert m.border_left == pytest.approx(0.5, abs=0.02)
    assert m.border_top == 0


SIDES = ("left", "top", "right", "bottom")


@pytest.mark.parametrize("colour", ["white", "black", "#807060"])
@pytest.mark.parametrize("share", [0.03, 0.08, 0.15, 0.3])
@pytest.mark.parametrize("side", SIDES)
def test_a_bar_is_found_on_its_side_with_its_width(side, share, colour):
    image = scene(1, 400, 500)
    along, across = (500, 400) if side in ("left", "right") else (400, 500)
    width = round(along * share)
    box = {
        "left": (0, 0, width, across),
        "right": (along - width, 0, along, across),
        "top": (0, 0, across, width),
        "bottom": (0, along - width, across, along),
    }[side]
    image.paste(colour, box)
    m = measured(image, "JPEG", quality=88)
    assert getattr(m, f"border_{side}") == pytest.approx(share, abs=0.012)
    for other in SIDES:
        if other != side:
            assert getattr(m, f"border_{other}") <= 0.012


@pytest.mark.parametrize("seed", range(2))
def test_a_photo_without_a_frame_has_none(seed):
    m = measured(scene(seed))
    assert max(m.border_left, m.border_right, m.border_top, m.border_bottom) < 0.02


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_the_format_hardly_changes_a_measure(fmt):
    options = {} if fmt == "PNG" else {"quality": 92}
    image = blurred(scene(2), 1)
    plain, other = measured(image), measured(image, fmt, **options)
    for name in ("dark", "bright", "brightness", "contrast", "border_left", "border_top"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name), abs=0.015)
    assert (plain.phash ^ other.phash).bit_count() <= 2


ALTERATIONS = {
    "half size": lambda i: i.resize((i.width // 2, i.height // 2)),
    "twice as large": lambda i: i.resize((i.width * 2, i.height * 2)),
    "another aspect ratio": lambda i: i.resize((i.width, i.height * 3 // 4)),
    "darker": lambda i: dimmed(i, 0.75),
    "less contrast": lambda i: flattened(i, 0.3),
    "blurred": lambda i: blurred(i, 2),
    "noisy": lambda i: noisy(i, 12),
    "grey": lambda i: i.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS)
def test_the_hash_knows_an_altered_photo_again(alter, seed):
    image = scene(seed)
    assert (measured(image).phash ^ measured(alter(image)).phash).bit_count() <= 6


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_the_hash_survives_recompression(quality):
    image = scene(4)
    again = measured(image, "JPEG", quality=quality)
    assert (measured(image).phash ^ again.phash).bit_count() <= 5


TURNED = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "upside down": Image.Transpose.ROTATE_180,
    "on its side": Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED)
def test_a_turned_photo_is_another_picture(turn):
    image = scene(5)
    assert (measured(image).phash ^ measured(image.transpose(turn)).phash).bit_count() > 12


def test_different_photos_have_far_hashes():
    hashes = [measured(scene(seed)).phash for seed in range(12)]
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 12
    assert 28 < np.mean(apart) < 36  # as of independent bits


def test_a_hash_has_as_many_ones_as_zeros():
    for seed in range(5):
        assert 28 <= measured(scene(seed)).phash.bit_count() <= 32


@pytest.mark.data
def test_real_photos_are_known_again_and_told_apart(data_dir):
    paths = sorted((data_dir / "houses" / "images").glob("*.jpg"))[::60]
    photos = [Image.open(path).convert("RGB") for path in paths]
    hashes = [measured(photo).phash for photo in photos]
    for photo, original in zip(photos, hashes, strict=True):
        small = photo.resize((photo.width * 3 // 4, photo.height * 3 // 4))
        again = measured(small, "JPEG", quality=60).phash
        assert (original ^ again).bit_count() <= 8
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert np.mean(np.array(apart) <= 8) < 0.01


@pytest.mark.data
@pytest.mark.parametrize(
    ("alter", "name", "sign"),
    [
        (lambda i: blurred(i, 2), "sharpness", -1),
        (lambda i: noisy(i, 15), "noise", +1),
        (lambda i: dimmed(i, 0.4), "dark", -1),
        (lambda i: washed_out(i, 0.6), "bright", +1),
        (lambda i: faded(i, 1.0), "colourfulness", -1),
    ],
    ids=["blur", "noise", "dim", "wash out", "fade"],
)
def test_every_real_photo_is_measured_as_worse_when_it_is(data_dir, alter, name, sign):
    paths = sorted((data_dir / "houses" / "images").glob("*.jpg"))[::150]
    for path in paths:
        photo = Image.open(path).convert("RGB")
        before, after = (getattr(measured(i), name) for i in (photo, alter(photo)))
        assert sign * (after - before) > 0, path.name
