"""Measures, checks and the report, on pictures whose faults are known."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from listlens.core.types import Preprocessing
from listlens.images.checks import CHECKS, Flag, flags, scores
from listlens.images.measures import Measures
from listlens.images.prepare import prepare
from listlens.images.report import CheckedPhoto, summary, write_check_report

PREPROCESSING = Preprocessing()


def scene(height: int = 480, width: int = 640, seed: int = 0) -> Image.Image:
    """Rectangles of many colours over a gradient: sharp, well lit, no border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 200 / width, y * 200 / height, (x + y) * 90 / width], axis=2) + 20
    for _ in range(220):
        top, left = rng.integers(0, height), rng.integers(0, width)
        down, right = rng.integers(8, height // 5), rng.integers(8, width // 5)
        pixels[top : top + down, left : left + right] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def measured(image: Image.Image | NDArray[np.uint8], quality: int = 90) -> Measures:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, "JPEG", quality=quality)
    measures = prepare(stream.getvalue(), PREPROCESSING).measures
    assert measures is not None
    return measures


def names(image: Image.Image | NDArray[np.uint8]) -> set[str]:
    return {flag.name for flag in flags(measured(image))}


def framed(image: Image.Image, colour: str) -> Image.Image:
    result = Image.new("RGB", image.size, colour)
    result.paste(image.crop((40, 40, image.width - 40, image.height - 40)), (40, 40))
    return result


def noisy(image: Image.Image, level: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).normal(0, level, (*image.size[::-1], 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def test_a_good_photo_has_no_flag() -> None:
    assert names(scene()) == set()


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (scene().point(lambda level: level * 0.25), "dark"),
        (scene().point(lambda level: 190 + level * 0.25), "light"),
        (scene().filter(ImageFilter.GaussianBlur(6)), "blurry"),
        (noisy(scene(), 25), "noisy"),
        (np.full((300, 400, 3), 90, np.uint8), "low_information"),
        (framed(scene(), "white"), "frame"),
        (framed(scene(), "black"), "frame"),
        (scene(200, 900), "odd_aspect_ratio"),
        (scene(150, 200), "small"),
        (scene().convert("L").convert("RGB"), "grayscale"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_is_flagged(fault: Image.Image, name: str) -> None:
    assert name in names(fault)


def test_borders_are_measured_as_fractions() -> None:
    measures = measured(framed(scene(), "white"))
    assert measures.border_left == pytest.approx(40 / 640, abs=0.01)
    assert measures.border_top == pytest.approx(40 / 480, abs=0.01)
    assert measured(scene()).border_bottom < 0.02


def test_more_blur_and_more_noise_are_ordered() -> None:
    sharpness = [
        measured(scene().filter(ImageFilter.GaussianBlur(r))).sharpness for r in (0, 1, 2, 4)
    ]
    assert sharpness == sorted(sharpness, reverse=True)
    noise = [measured(noisy(scene(), level)).noise for level in (0, 5, 10, 20)]
    assert noise == sorted(noise)


def test_the_hash_survives_resizing_and_recompression_and_tells_pictures_apart() -> None:
    hashes = [measured(scene(seed=seed)).phash for seed in range(8)]
    for seed, original in enumerate(hashes):
        small = measured(scene(seed=seed).resize((333, 250)), quality=60).phash
        assert (original ^ small).bit_count() <= 6
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 12
    assert all(0 <= value < 2**64 for value in hashes)


def test_measures_go_through_json_unchanged() -> None:
    measures = measured(scene())
    assert Measures.from_dict(json.loads(json.dumps(measures.as_dict()))) == measures
    with pytest.raises(ValueError, match="keys"):
        Measures.from_dict({"dark": 1.0})


def test_measures_do_not_depend_on_orientation() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    scene().transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=exif)
    turned = prepare(stream.getvalue(), PREPROCESSING).measures
    stream = io.BytesIO()
    scene().save(stream, "PNG")
    straight = prepare(stream.getvalue(), PREPROCESSING).measures
    assert turned is not None
    assert straight is not None
    assert (turned.phash ^ straight.phash).bit_count() <= 2
    assert turned.sharpness == pytest.approx(straight.sharpness, rel=0.3)
    assert (turned.width_px, turned.height_px) == (640, 480)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (2, 3), (9000, 2)], ids=str)
def test_the_smallest_pictures_are_measured(size: tuple[int, int]) -> None:
    assert all(0 <= score <= 1 for score in scores(measured(Image.new("RGB", size))).values())


def test_a_thumbnail_keeps_the_shape_and_carries_no_metadata() -> None:
    exif = Image.Exif()
    exif[274] = 8
    exif[0x010F] = "camera"
    stream = io.BytesIO()
    scene().save(stream, "JPEG", exif=exif)
    thumbnail = prepare(stream.getvalue(), PREPROCESSING, thumbnail_px=320).thumbnail
    assert thumbnail is not None
    picture = Image.open(io.BytesIO(thumbnail))
    assert picture.size == (240, 320)
    assert not picture.getexif()
    assert b"camera" not in thumbnail


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_input_has_the_asked_size(fit: str) -> None:
    stream = io.BytesIO()
    scene(333, 999).save(stream, "PNG")
    wanted = Preprocessing(size_px=96, fit=fit)  # type: ignore[arg-type]
    prepared = prepare(stream.getvalue(), wanted, measure=False)
    assert prepared.pixels.shape == (96, 96, 3)
    assert prepared.measures is None


def test_the_report_stands_alone_and_escapes_names(tmp_path: Path) -> None:
    stream = io.BytesIO()
    scene(60, 80).save(stream, "JPEG")
    evil = CheckedPhoto("<script>alert(1)</script>.jpg", "ab", (Flag("dark", 0.1),))
    photos = [
        evil,
        CheckedPhoto("b.jpg", "cd", (Flag("dark", 0.3), Flag("blurry", 0.2))),
        CheckedPhoto("c.jpg", failure="empty: the file has 0 bytes"),
        CheckedPhoto("d.jpg", "ef"),
    ]
    counts = write_check_report(
        tmp_path / "check.html",
        photos,
        exact=[photos[:2]],
        near=[photos[1:4]],
        thumbnail=lambda sha: None if sha == "cd" else stream.getvalue(),
    )
    html = (tmp_path / "check.html").read_text("utf-8")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "http:" not in html
    assert "https:" not in html
    assert "the file has 0 bytes" in html
    assert html.index("alert(1)") < html.index("b.jpg")  # worst first
    assert counts == summary(photos) | {
        "exact_duplicates": 1,
        "near_duplicates": 1,
        "not_compared": 0,
    }
    assert counts["flags"]["dark"] == 2
    assert (counts["n_photos"], counts["n_flagged"], counts["n_failed"]) == (4, 2, 1)


def test_every_check_says_what_its_threshold_rests_on() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.basis
        assert 0 < check.threshold < 1


@pytest.mark.data
def test_clean_photos_are_rarely_flagged_as_faulty(data_dir: Path) -> None:
    """The rates that `listlens.images.checks` states, on other photos than they were chosen on."""
    paths = sorted((data_dir / "houses" / "images").glob("*.jpg"))[::40]
    wrong = [
        path.name
        for path in paths
        if {"dark", "light", "blurry", "noisy", "low_information"} & names(Image.open(path))
    ]
    assert len(wrong) <= 0.05 * len(paths), wrong
