"""The page of `listlens check`: complete, in order, safe with any name, and needing nothing."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from listlens.core.types import Preprocessing
from listlens.images.checks import CHECKS, Flag
from listlens.images.prepare import prepare
from listlens.images.report import CheckedPhoto, link_to_report, summary, write_check_report

HOSTILE = [
    "<script>alert(1)</script>.jpg",
    '"><img src=x onerror=alert(1)>.jpg',
    "a' onmouseover='alert(1).jpg",
    "{{ 7*7 }}{% raw %}.jpg",
    "</ul></body>.jpg",
    "javascript:alert(1)",
    "line\nbreak\ttab.jpg",
    "&lt;&amp;.jpg",
    "\u202egpj.exe",
    "日本語 写真 🏠.jpg",
]


class Page(HTMLParser):
    """What a browser makes of the page: its elements, pictures, links and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.headings: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]
        if tag not in ("meta", "img"):
            self._open.append(tag)
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "h2" in self._open:
            self.headings[-1] += data

    def values(self, key: str) -> list[str]:
        return [value for _, k, value in self.attributes if k == key]


def jpeg(colour: tuple[int, int, int] = (90, 120, 60)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def page(tmp_path):
    """Write a report and read it back."""

    def write(photos, thumbnail=lambda sha: jpeg(), **more) -> tuple[Page, dict]:
        path = tmp_path / "check.html"
        counts = write_check_report(path, photos, thumbnail=thumbnail, **more)
        return Page(path.read_text("utf-8")), counts

    return write


def dark(name: str, score: float = 0.1, sha256: str = "ab") -> CheckedPhoto:
    return CheckedPhoto(name, sha256, (Flag("dark", score),))


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_any_name_is_shown_as_text_wherever_it_stands(page, name):
    photos = [dark(name), CheckedPhoto(name, failure=f"damaged: {name}")]
    shown, _ = page(photos, exact=[photos], near=[photos], title=name)
    assert shown.text.count(name) >= 6
    assert "script" not in shown.tags
    assert {key for _, key, _ in shown.attributes}.isdisjoint({"onerror", "onmouseover"})
    assert all(link.startswith("#") for link in shown.values("href"))


def test_the_page_needs_nothing_but_itself(page, tmp_path):
    shown, _ = page([dark(f"{i}.jpg") for i in range(3)])
    sources = shown.values("src")
    assert len(sources) == 3
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert {"script", "link", "iframe", "object"}.isdisjoint(shown.tags)
    html = (tmp_path / "check.html").read_text("utf-8")
    assert not re.search(r"https?:|@import|url\(|//cdn", html)
    assert "default-src 'none'" in html
    assert "@media print" in html


def test_a_thumbnail_is_the_very_picture(page):
    shown, _ = page([dark("a.jpg", sha256="cd")], lambda sha: jpeg() if sha == "cd" else None)
    (source,) = shown.values("src")
    assert base64.b64decode(source.split(",", 1)[1]) == jpeg()


def test_a_photo_without_a_thumbnail_says_so(page):
    shown, _ = page([dark("a.jpg")], lambda sha: None)
    assert shown.values("src") == []
    assert "no thumbnail" in shown.text


def test_a_photo_that_was_not_read_asks_for_no_thumbnail(page):
    asked = []
    page([dark("a.jpg", sha256="")], asked.append)
    assert asked == []


def test_every_link_of_the_table_leads_to_its_heading(page):
    photos = [
        CheckedPhoto("a", "1", tuple(Flag(check.name, 0.1) for check in CHECKS)),
        CheckedPhoto("b", failure="empty: 0 bytes"),
        CheckedPhoto("c", failure="not_an_image: html"),
    ]
    shown, _ = page(photos, exact=[photos[:1] * 2], near=[photos[:1] * 2])
    targets = set(shown.values("id"))
    links = [link.removeprefix("#") for link in shown.values("href")]
    assert len(links) == len(set(links)) == len(CHECKS) + 2 + 2
    assert set(links) <= targets


def test_groups_stand_in_the_order_of_the_checks_with_their_counts(page):
    photos = [CheckedPhoto(f"{i}", "1", (Flag("small", 0.2),)) for i in range(3)]
    photos += [dark("dark.jpg"), CheckedPhoto("x", failure="empty: 0 bytes")]
    shown, _ = page(photos)
    assert [" ".join(h.split()) for h in shown.headings] == [
        "Too dark 1",
        "Small 3",
        "Cannot be used: empty 1",
    ]


def test_the_worst_come_first_and_equal_ones_by_name(page):
    shown, _ = page([dark("b", 0.3), dark("zz worst", 0.05), dark("a", 0.3)])
    places = [shown.text.index(text) for text in ("zz worst 0.05", "a 0.30", "b 0.30")]
    assert places == sorted(places)


@pytest.mark.parametrize(("n", "n_shown"), [(48, 48), (49, 48), (500, 48)], ids=str)
def test_many_photos_are_counted_in_full_and_shown_in_part(page, n, n_shown):
    photos = [dark(f"photo-{i:03}.jpg", 0.001 * i) for i in reversed(range(n))]
    shown, counts = page(photos)
    assert counts["flags"]["dark"] == n
    assert len(re.findall(r"photo-\d{3}", shown.text)) == n_shown
    assert "photo-000.jpg" in shown.text  # the worst is among them
    assert ("The worst 48 are shown" in shown.text) == (n > n_shown)


def test_many_groups_of_duplicates_are_counted_in_full_and_shown_in_part(page):
    groups = [[CheckedPhoto(f"g{i}-{j}", "1") for j in range(20)] for i in range(30)]
    shown, counts = page([p for g in groups for p in g], near=groups)
    assert counts["near_duplicates"] == 30
    assert "The first 24 groups are shown" in shown.text
    assert len(re.findall(r"g\d+-\d+", shown.text)) == 24 * 12


def test_a_cut_list_of_failures_says_so(page):
    for n, told in ((48, False), (49, True)):
        photos = [CheckedPhoto(f"f{i:03}", failure="empty: 0 bytes") for i in range(n)]
        shown, counts = page(photos)
        assert counts["failed"] == {"empty": n}
        assert len(re.findall(r"f\d{3}", shown.text)) == 48
        assert ("The first 48 are shown" in shown.text) == told


def test_a_cut_group_of_duplicates_says_so(page):
    for n, told in ((12, False), (1300, True)):
        shown, _ = page([], exact=[[CheckedPhoto(f"g{i:04}") for i in range(n)]])
        assert len(re.findall(r"g\d{4}", shown.text)) == 12
        assert ("The first 12 of 1,300 are shown" in shown.text) == told


def test_the_page_says_among_how_many_files_it_did_not_look_for_copies(page):
    shown, counts = page([], n_not_compared=12_345)
    assert counts["not_compared"] == 12_345
    assert "not searched among 12,345 files" in shown.text
    assert "not searched" not in page([])[0].text


def test_the_page_links_to_the_report_beside_it_and_to_none_that_is_not_there(page, tmp_path):
    assert page([dark("a.jpg")])[0].values("href") == ["#flag1"]
    link_to_report(tmp_path / "check.html")  # there is no report yet
    assert "report.html" not in (tmp_path / "check.html").read_text("utf-8")
    (tmp_path / "report.html").touch()
    for _ in range(2):
        link_to_report(tmp_path / "check.html")
        later = (tmp_path / "check.html").read_text("utf-8")
        assert Page(later).values("href") == ["report.html", "#flag1"]
    assert page([dark("a.jpg")])[0].values("href") == ["report.html", "#flag1"]
    assert (tmp_path / "check.html").read_text("utf-8") == later
    link_to_report(tmp_path / "none" / "check.html")


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "check.html").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_check_report(tmp_path / "check.html", [], thumbnail=lambda sha: None)
    assert [p.name for p in tmp_path.iterdir()] == ["check.html"]


def test_failures_are_grouped_by_reason_the_most_frequent_first(page):
    failures = ["empty: 0 bytes", "not_an_image: starts with <html", "not_an_image: text: of two"]
    shown, counts = page([CheckedPhoto(f"{i}", failure=f) for i, f in enumerate(failures)])
    assert [" ".join(h.split()) for h in shown.headings] == [
        "Cannot be used: not an image 2",
        "Cannot be used: empty 1",
    ]
    assert "text: of two" in shown.text
    assert counts["failed"] == {"not_an_image": 2, "empty": 1}


def test_an_empty_folder_and_a_clean_one_say_that_nothing_was_found(page):
    for photos in ([], [CheckedPhoto("a", "1")]):
        shown, counts = page(photos)
        assert "Nothing found." in shown.text
        assert f"{len(photos)} photos: 0 with something" in " ".join(shown.text.split())
        assert counts["n_photos"] == len(photos)
        assert shown.headings == []


def test_large_numbers_are_written_readably(page):
    shown, _ = page([CheckedPhoto(str(i)) for i in range(12_345)])
    assert "12,345 photos" in shown.text


def test_the_summary_counts_photos_flags_and_reasons_and_is_json():
    photos = [
        CheckedPhoto("a", "1", (Flag("dark", 0.1), Flag("small", 0.2))),
        CheckedPhoto("b", "2", (Flag("dark", 0.3),)),
        CheckedPhoto("c", "3"),
        CheckedPhoto("d", failure="truncated: cut"),
        CheckedPhoto("e", failure="truncated"),
    ]
    counts = json.loads(json.dumps(summary(iter(photos))))
    assert (counts["n_photos"], counts["n_flagged"], counts["n_failed"]) == (5, 2, 2)
    assert counts["failed"] == {"truncated": 2}
    assert list(counts["flags"]) == [check.name for check in CHECKS]
    assert {k: v for k, v in counts["flags"].items() if v} == {"dark": 2, "small": 1}


SIZES = [(400, 300, 320), (300, 400, 320), (50, 40, 320), (1000, 10, 100), (3, 2000, 64), (1, 1, 9)]


@pytest.mark.parametrize(("width", "height", "long_px"), SIZES, ids=str)
@pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
def test_a_thumbnail_keeps_the_aspect_and_is_never_enlarged(fmt, width, height, long_px):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, fmt)
    made = prepare(stream.getvalue(), Preprocessing(), measure=False, thumbnail_px=long_px)
    with Image.open(io.BytesIO(made.thumbnail)) as thumbnail:
        scale = min(1.0, long_px / max(width, height))
        expected = (max(1, round(width * scale)), max(1, round(height * scale)))
        assert thumbnail.size == expected
        assert thumbnail.format == "JPEG"


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_thumbnail_tells_nothing_of_camera_place_or_owner(fmt):
    exif = Image.Exif()
    exif[0x010F], exif[0x013B], exif[0x8298] = "SECRET-camera", "SECRET-artist", "SECRET-owner"
    exif.get_ifd(0x8825)[1] = "N"
    image = Image.new("RGB", (200, 100), (120, 90, 60))
    stream = io.BytesIO()
    more = {"comment": b"SECRET-note"} if fmt == "JPEG" else {}
    image.save(stream, fmt, exif=exif, **more)
    assert b"SECRET" in stream.getvalue()
    thumbnail = prepare(stream.getvalue(), Preprocessing(), thumbnail_px=64).thumbnail
    assert b"SECRET" not in thumbnail
    with Image.open(io.BytesIO(thumbnail)) as opened:
        assert not opened.getexif()
        assert set(opened.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_without_asking_there_is_neither_thumbnail_nor_measure():
    made = prepare(jpeg(), Preprocessing(), measure=False)
    assert (made.thumbnail, made.measures) == (None, None)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("size_px", [16, 224, 300])
def test_the_input_has_the_size_asked_for_whatever_the_photo(fit, interpolation, size_px):
    wanted = Preprocessing(size_px=size_px, fit=fit, interpolation=interpolation)
    for width, height in ((500, 120), (30, 90), (1, 1)):
        stream = io.BytesIO()
        Image.new("RGB", (width, height), (10, 200, 90)).save(stream, "PNG")
        made = prepare(stream.getvalue(), wanted)
        assert made.pixels.shape == (size_px, size_px, 3)
        assert np.all(made.pixels == (10, 200, 90))
        assert made.measures.width_px == width


def test_measures_see_the_whole_photo_even_where_the_input_is_cropped():
    image = Image.new("RGB", (400, 100), "white")
    image.paste((0, 0, 0), (150, 0, 250, 100))  # all that the crop sees
    stream = io.BytesIO()
    image.save(stream, "PNG")
    cropped = prepare(stream.getvalue(), Preprocessing(fit="crop"))
    assert cropped.pixels.max() < 5
    assert cropped.measures.brightness == pytest.approx(0.75, abs=0.02)
    squashed = prepare(stream.getvalue(), Preprocessing()).measures
    assert cropped.measures.brightness == pytest.approx(squashed.brightness, abs=0.02)
