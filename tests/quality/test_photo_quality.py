"""Scores for photos that nobody has labelled: what a script gets, what a person sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from listlens.core.errors import NotFoundError
from listlens.core.types import Reason, Status
from listlens.images.distortions import distort
from listlens.quality.photos import PhotoQuality, photo_quality

KEYS = ["photo", "status", "score", "aesthetic", "reasons", "reason", "detail"]


def scene(width: int = 400, height: int = 300) -> Image.Image:
    """Shapes before a wall in soft light, with the spectrum of a photo (1 over frequency)."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width]
    down, right = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    rough = rng.normal(size=(height, width))
    texture = np.fft.ifft2(np.fft.fft2(rough) / (np.hypot(down, right) + 0.01)).real
    pixels = np.repeat((130 + 18 * texture / texture.std() - 40 * x / width)[:, :, None], 3, axis=2)
    for _ in range(14):
        top, left, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(15, 50)
        inside = np.hypot(y - top, x - left) < radius
        shade = 1 - 0.4 * (y - top) / radius
        colour = np.array([150, 120, 100]) + rng.integers(-60, 60, 3)
        pixels[inside] = colour * shade[inside, None] + 10 * (texture / texture.std())[inside, None]
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(0.4))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """One photo, spoilt in four ways, a broken one and a text that is none."""
    folder = tmp_path_factory.mktemp("photos")
    image = scene()
    image.save(folder / "good.png")
    (folder / "flat").mkdir()
    for name in ("gaussian_blur", "noise", "under_exposure", "jpeg"):
        spoilt = distort(np.asarray(image), name, 5)
        Image.fromarray(spoilt).save(folder / "flat" / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def found(photos) -> dict[str, PhotoQuality]:
    return {Path(one.photo).name: one for one in photo_quality(photos)}


def test_scripts_get_one_object_a_photo_with_the_promised_keys(cli, photos):
    ran = cli("quality", photos, "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 4, "one photo is broken"
    assert len(lines) == 6
    assert all(list(line) == KEYS for line in lines)
    for line in lines:
        if line["status"] == "ok":
            assert 0 <= line["score"] <= 1
            assert 0 <= line["aesthetic"] <= 1
            assert Path(line["photo"]).is_file()


def test_a_broken_photo_is_a_line_that_says_why(found):
    broken = found["broken.jpg"]
    assert broken.status is Status.FAILED
    assert broken.reason in (Reason.TRUNCATED, Reason.DAMAGED, Reason.NOT_AN_IMAGE)
    assert broken.score is None
    assert broken.reasons
    assert broken.detail


def test_a_spoilt_photo_scores_lower_than_itself(found):
    good = found["good.png"]
    for name in ("gaussian_blur", "noise", "under_exposure", "jpeg"):
        assert found[f"{name}.png"].score < good.score - 0.1, name


@pytest.mark.parametrize(
    ("file", "reason"), [("gaussian_blur.png", "blur"), ("noise.png", "noise"),
                         ("under_exposure.png", "too dark"), ("jpeg.png", "compression")]
)  # fmt: skip
def test_the_reasons_name_what_was_done(found, file, reason):
    assert reason in found[file].reasons


def test_a_photo_gets_the_same_alone_and_among_others(found, photos):
    for name in ("good.png", "flat/noise.png"):
        (alone,) = photo_quality(photos / name)
        assert alone == found[Path(name).name]


def test_a_copy_of_a_photo_at_four_times_the_size_is_judged_alike(tmp_path, found):
    large = scene().resize((1600, 1200), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95)
    (one,) = photo_quality(tmp_path / "large.jpg")
    assert one.score == pytest.approx(found["good.png"].score, abs=0.2)


def test_the_table_begins_with_the_worst_and_counts_places_from_below(cli, photos):
    ran = cli("quality", photos)
    header, *rows = [line.split() for line in ran.out.splitlines() if "broken" not in line]
    assert header == ["photo", "score", "place", "aesthetic", "reasons"]
    assert [float(row[1]) for row in rows] == sorted(float(row[1]) for row in rows)
    assert rows[-1][0].endswith("good.png")
    assert [int(row[2]) for row in rows] == [10, 30, 50, 70, 90]
    assert "broken.jpg: " in ran.out


def test_the_worst_photos_alone_can_be_asked_for(cli, photos):
    ran = cli("quality", photos / "flat", "--limit", "2")
    assert ran.code == 0
    assert "2 of 4 photos" in ran.out
    lines = cli("quality", photos / "flat", "--json", "--sort", "score", "--limit", "2").out
    scores = [json.loads(line)["score"] for line in lines.splitlines()]
    assert len(scores) == 2
    assert scores == sorted(scores)


def test_lines_come_in_the_order_of_the_files_given(cli, photos):
    files = [photos / "flat" / "noise.png", photos / "good.png", photos / "gone.jpg"]
    ran = cli("quality", *files, "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [Path(line["photo"]).name for line in lines] == [file.name for file in files]
    assert lines[-1]["reason"] == "missing"
    assert ran.code == 4


def test_a_path_that_is_not_there_is_refused_in_words(cli, tmp_path):
    ran = cli("quality", tmp_path / "nowhere")
    assert ran.code == 3
    assert "no file or folder" in ran.err
    with pytest.raises(NotFoundError):
        photo_quality(tmp_path / "nowhere")


def test_an_unknown_order_gets_the_nearest_name(cli, photos):
    ran = cli("quality", photos, "--sort", "scores")
    assert ran.code == 2
    assert "score" in ran.err


def test_an_empty_folder_is_no_error(cli, tmp_path):
    assert cli("quality", tmp_path, "--json").out == ""
    ran = cli("quality", tmp_path)
    assert ran.code == 0
    assert "No photo found" in ran.err


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (40, 7)])
def test_the_oddest_sizes_get_scores(tmp_path, size):
    Image.new("RGB", size, (200, 120, 40)).save(tmp_path / "odd.png")
    (one,) = photo_quality(tmp_path)
    assert one.status is Status.OK
    assert 0 < one.score <= 1


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("level", [2, 4])
@pytest.mark.parametrize("source", ["houses", "flipkart"], ids=["homes", "goods before a wall"])
def test_distortions_lower_the_score_of_real_photos_it_never_saw(data_dir, tmp_path, source, level):
    pictures = sorted((data_dir / source / "images").rglob("*.jpg"))[:300:20]
    files = []
    for i, path in enumerate(pictures):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for name in ("", "gaussian_blur", "motion_blur", "noise", "jpeg", "under_exposure"):
            made = distort(pixels, name, level, seed=i) if name else pixels
            files.append(tmp_path / f"{i}-{name}.png")
            Image.fromarray(made).save(files[-1])
    scores = np.array([one.score for one in photo_quality(files)]).reshape(len(pictures), -1)
    lowered = scores[:, 1:] < scores[:, :1]
    assert lowered.mean() >= 0.9
    assert lowered.mean(axis=0).min() >= 0.8
