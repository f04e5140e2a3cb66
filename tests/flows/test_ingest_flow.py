"""Ingest again and again: what is unchanged costs nothing, what changed is noticed."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import listlens
from listlens.core.types import ListingRow, PhotoRow, Reason, RejectedRow, SourceRow, Status
from listlens.pipeline.ingest import IngestOptions, IngestReport, ingest
from listlens.pipeline.labelling import labelled_photos
from listlens.project import Project
from listlens.sources.folder import FolderSource

Draw = Callable[..., Image.Image]


@pytest.fixture
def small(new_shop: Callable[..., Any], tmp_path: Path) -> Any:
    """A shop of three listings that a test may change."""
    return new_shop(tmp_path, n_listings=3)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Project]:
    with listlens.init(tmp_path / "p") as project:
        yield project


def states(project: Project) -> dict[str, str]:
    return {p.photo_id: p.status.value for p in project.store.photos.scan()}


def damage_unseen(path: Path) -> None:
    """Make a file undecodable, with its size and time as they were."""
    before = path.stat()
    path.write_bytes(b"\0" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_unchanged_photo_is_not_even_read(small: Any, opened: Project) -> None:
    opened.ingest(small.photos)
    for image in small.classes:
        damage_unseen(small.photos / image)  # whoever read it now would record a failure
    again = opened.ingest(small.photos)
    assert (again.unchanged, again.changed, again.new, again.failed) == (9, 0, 0, 0)
    assert set(states(opened).values()) == {"ok"}


def test_a_touched_photo_is_read_but_not_embedded_again(small: Any, opened: Project) -> None:
    opened.ingest(small.photos)
    os.utime(small.photos / "home-00" / "0.jpg", (1, 1))
    again = opened.ingest(small.photos)
    assert (again.unchanged, again.changed, again.embedded) == (8, 1, 0)
    assert opened.ingest(small.photos).unchanged == 9


def test_moved_and_deleted_photos_are_noticed(small: Any, opened: Project) -> None:
    opened.ingest(small.photos)
    (small.photos / "home-00" / "0.jpg").rename(small.photos / "home-01" / "9.jpg")
    (small.photos / "home-02" / "1.jpg").unlink()
    again = opened.ingest(small.photos)
    assert (again.new, again.gone, again.moved, again.embedded) == (1, 2, 1, 0)
    found = states(opened)
    assert found["home-00/0.jpg"] == found["home-02/1.jpg"] == "gone"
    assert found["home-01/9.jpg"] == "ok"
    (small.photos / "home-01" / "9.jpg").rename(small.photos / "home-00" / "0.jpg")
    back = opened.ingest(small.photos)
    assert (back.gone, back.embedded) == (1, 0)
    assert states(opened)["home-00/0.jpg"] == "ok"


def test_other_bytes_at_the_same_place_are_another_content(
    small: Any, opened: Project, draw_photo: Draw
) -> None:
    opened.ingest(small.photos)
    task = opened.add_task("label", "single")
    opened.import_labels("label", small.labels)
    before = {p.photo_id: p.sha256 for p in opened.store.photos.scan()}
    draw_photo("stripes", 77).save(small.photos / "home-00" / "0.jpg")
    again = opened.ingest(small.photos)
    assert (again.changed, again.embedded, again.gone) == (1, 1, 0)
    after = {p.photo_id: p.sha256 for p in opened.store.photos.scan()}
    assert [image for image in after if after[image] != before[image]] == ["home-00/0.jpg"]
    assert opened.status()["contents"] == 10
    # The label was given to the photo in its listing, so it stays: re-import or correct it.
    labelled = {p.photo.photo_id: p.label.yes for p in labelled_photos(opened.store, task)}
    assert labelled["home-00/0.jpg"] == ("disc",)


def test_a_photo_that_breaks_and_heals_keeps_its_row(small: Any, opened: Project) -> None:
    opened.ingest(small.photos)
    path = small.photos / "home-00" / "0.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"")
    report = opened.ingest(small.photos)
    assert (report.changed, report.failed, report.reasons) == (1, 1, {"empty": 1})
    assert states(opened)["home-00/0.jpg"] == "failed"
    path.write_bytes(whole)
    report = opened.ingest(small.photos)
    assert (report.changed, report.failed, report.embedded) == (1, 0, 0)
    assert states(opened)["home-00/0.jpg"] == "ok"
    assert len(states(opened)) == 9


def test_one_content_in_many_photos_is_decoded_once(small: Any, opened: Project) -> None:
    data = (small.photos / "home-00" / "0.jpg").read_bytes()
    for i in range(100):
        (small.photos / "home-02" / f"copy-{i}.jpg").write_bytes(data)
    report = opened.ingest(small.photos)
    assert (report.new, report.embedded) == (109, 9)
    assert opened.status()["contents"] == 9
    assert opened.check()["exact_duplicates"] == 1


def test_a_forgotten_photo_stays_out_and_leaves_no_name(small: Any, opened: Project) -> None:
    opened.ingest(small.photos)
    opened.forget(photo="home-00/0.jpg")
    again = opened.ingest(small.photos)
    assert again.reasons == {"forgotten": 1}
    assert "home-00/0.jpg" not in states(opened)
    (row,) = opened.store.photos.rejected()
    assert row.reason is Reason.FORGOTTEN
    assert "home-00/0.jpg" not in row.at + row.detail
    assert "home-00/0.jpg" not in Path(opened.check()["page"]).read_text(encoding="utf-8")


def forgotten_once(small: Any, opened: Project) -> tuple[str, Path]:
    """Forget the listing `home-00`; return a sha256 of it, and its file."""
    opened.ingest(small.photos)
    shown = {p.photo_id: p.sha256 for p in opened.store.photos.scan()}
    opened.forget(listing="home-00")
    sha = shown["home-00/0.jpg"]
    assert sha is not None
    return sha, small.photos / "home-00" / "0.jpg"


@pytest.mark.parametrize("name", ["home-01/0.jpg", "home-01/new.jpg", "fresh/1.jpg", "bare.jpg"])
def test_forgotten_bytes_stay_out_under_any_other_name(
    small: Any, opened: Project, tmp_path: Path, name: str
) -> None:
    sha, path = forgotten_once(small, opened)
    target = small.photos / name
    target.parent.mkdir(exist_ok=True)
    was_there = target.exists()
    path.replace(target)
    for _ in range(2):  # what came once must not come at the second run either
        again = opened.ingest(small.photos)
        assert (again.embedded, again.new, again.reasons) == (0, 0, {"forgotten": 3})
    assert again.rejected == 3
    assert states(opened).get(name) == ("gone" if was_there else None)
    assert opened.store.contents.lookup([sha]) == {}
    assert opened.store.thumbnails.get(sha) is None
    assert {(row.at, row.detail) for row in opened.store.photos.rejected()} == {("", "")}
    if not name.startswith("home-01"):
        assert opened.store.photos.listing(target.parent.name) is None


def test_a_table_that_drops_or_renames_the_listing_does_not_bring_it_back(
    small: Any, opened: Project
) -> None:
    table = small.photos.parent / "feed.csv"
    rows = [f"home-0{i}/{j}.jpg" for i in range(3) for j in range(3)]

    def bring(pairs: list[tuple[str, str]]) -> IngestReport:
        lines = ["photo,ad", *(f"{image},{ad}" for image, ad in pairs)]
        table.write_text("\n".join(lines), encoding="utf-8")
        return opened.ingest(small.photos, table=table, mapping={"listing_id": "ad"})

    assert bring([(image, image[:7]) for image in rows]).embedded == 9
    opened.forget(listing="home-00")
    dropped = bring([(image, image[:7]) for image in rows[3:]])
    assert (dropped.new, dropped.embedded) == (0, 0)
    renamed = bring([(image, "other" if i < 3 else image[:7]) for i, image in enumerate(rows)])
    assert (renamed.new, renamed.embedded, renamed.reasons["forgotten"]) == (0, 0, 3)
    assert opened.store.photos.listing("other") is None
    assert opened.status()["contents"] == 6


def test_bytes_that_another_photo_shows_are_free_to_move(small: Any, opened: Project) -> None:
    twin = small.photos / "home-01" / "twin.jpg"
    twin.write_bytes((small.photos / "home-00" / "0.jpg").read_bytes())
    forgotten_once(small, opened)
    twin.rename(small.photos / "home-02" / "twin.jpg")
    again = opened.ingest(small.photos)
    assert (again.new, again.moved, again.embedded) == (1, 1, 0)
    assert states(opened)["home-02/twin.jpg"] == "ok"


def test_a_photo_that_was_too_slow_is_not_decoded_again(small: Any, opened: Project) -> None:
    hasty = IngestOptions(replace(opened.limits, max_s=-1.0))
    rows = [PhotoRow("home-00", f"{i}.png", str(small.photos / f"{i}.png")) for i in range(2)]
    for row in rows:
        Image.effect_noise((400, 400), 80).save(row.location)
    first = ingest(Rows(rows), opened.store, opened.backbone, hasty)
    assert first.reasons == {"too_slow": 2}
    calm = IngestOptions(opened.limits)  # it would succeed now, had it been read
    again = ingest(Rows(rows), opened.store, opened.backbone, calm)
    assert (again.unchanged, again.embedded, again.reasons) == (2, 0, {"too_slow": 2})


def test_no_thumbnail_is_written_before_its_content_is_saved(
    small: Any, opened: Project, tmp_path: Path
) -> None:
    line_ended_early = FailingBackbone(opened.backbone)
    with pytest.raises(KeyboardInterrupt):
        ingest(FolderSource(small.photos), opened.store, line_ended_early,
               IngestOptions(opened.limits))  # fmt: skip
    assert not list((tmp_path / "p").glob("thumbnails/*/*"))
    opened.ingest(small.photos)
    assert len(list((tmp_path / "p").glob("thumbnails/*/*.jpg"))) == 9


def test_ingesting_sweeps_the_thumbnails_that_nobody_knows(small: Any, opened: Project) -> None:
    """An old one: a young one may belong to a transaction of a worker that has not ended."""
    thumbnails = opened.store.thumbnails
    for sha256 in ("ab" * 32, "cd" * 32):
        thumbnails.put(sha256, b"left by a kill")
    os.utime(thumbnails.path("ab" * 32), (0, 0))
    opened.ingest(small.photos)
    assert thumbnails.get("ab" * 32) is None
    assert thumbnails.get("cd" * 32) is not None


def test_status_names_the_annotators_as_forget_takes_them(small: Any, opened: Project) -> None:
    opened.ingest(small.photos)
    opened.add_task("label", "single")
    opened.import_labels("label", small.labels)
    ((name, n),) = opened.status()["annotators"].items()
    assert n == len(small.classes)
    opened.forget(annotator=name)
    ((pseudonym, kept),) = opened.status()["annotators"].items()
    assert (pseudonym != name, kept) == (True, n)


def test_raised_limits_bring_back_what_was_too_large(small: Any, tmp_path: Path) -> None:
    listlens.init(tmp_path / "p").close()
    toml = tmp_path / "p" / "listlens.toml"
    usual = toml.read_text(encoding="utf-8")
    toml.write_text(usual.replace("max_pixels = ", "max_pixels = 99 # was "), encoding="utf-8")
    with listlens.open(tmp_path / "p") as project:
        assert project.ingest(small.photos).reasons == {"too_many_pixels": 9}
    toml.write_text(usual, encoding="utf-8")
    with listlens.open(tmp_path / "p") as project:
        report = project.ingest(small.photos)
        assert (report.failed, report.embedded) == (0, 9)


def test_thumbnails_are_kept_only_where_asked(small: Any, tmp_path: Path) -> None:
    listlens.init(tmp_path / "p").close()
    toml = tmp_path / "p" / "listlens.toml"
    usual = toml.read_text(encoding="utf-8")
    toml.write_text(usual.replace('keep = "thumbnails"', 'keep = "none"'), encoding="utf-8")
    with listlens.open(tmp_path / "p") as project:
        project.ingest(small.photos)
        assert not list((tmp_path / "p").glob("thumbnails/**/*.jpg"))
        project.add_task("label", "single")
        project.import_labels("label", small.labels)
        assert "photos" in project.check()


def test_a_table_brings_listings_sellers_and_positions(small: Any, opened: Project) -> None:
    table = small.labels.with_name("feed.csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "ad", "position", "seller_id", "price"])
        writer.writerow(["home-00/0.jpg", "A", 2, "s1", 100])
        writer.writerow(["home-00/1.jpg", "A", 0, "s1", 100])
        writer.writerow(["home-00/2.jpg", "B", "x", "s2", ""])
        writer.writerow(["home-00/1.jpg", "A", 0, "s1", 100])  # the same row again
        writer.writerow(["https://example.org/1.jpg", "B", 1, "s2", 5])
        writer.writerow(["../labels.csv", "B", 1, "s2", 5])
        writer.writerow(["", "B", 1, "s2", 5])
    report = opened.ingest(small.photos, table=table, mapping={"listing_id": "ad"})
    assert report.new + report.rejected + report.listings == 7
    assert report.reasons["duplicate_row"] == 1
    assert report.reasons["remote"] == 1
    assert report.reasons["outside"] == 1
    rows = {p.photo_id: (p.listing_id, p.position) for p in opened.store.photos.scan()
            if p.status is Status.OK}  # fmt: skip
    assert rows["home-00/0.jpg"] == ("A", 2)
    assert rows["home-00/1.jpg"] == ("A", 0)
    listing = opened.store.photos.listing("A")
    assert listing is not None
    assert "100" in str(listing)


class Rows:
    """A source of given rows."""

    name = "rows"

    def __init__(self, rows: list[SourceRow]) -> None:
        self._rows = rows

    def rows(self) -> Iterator[SourceRow]:
        yield from self._rows


class FailingBackbone:
    """Stops at the first photo it should embed, as Ctrl-C would."""

    def __init__(self, real: Any) -> None:
        self.preprocessing, self.space = real.preprocessing, real.space

    def embed(self, pixels: Any) -> Any:
        raise KeyboardInterrupt


def source_rows(files: list[Path]) -> st.SearchStrategy[list[SourceRow]]:
    """Any mix of photos (good, broken, absent), listings and rejected rows."""
    photo = st.builds(
        lambda listing, number, file: PhotoRow(f"L{listing}", f"p{number}", str(file)),
        st.integers(0, 2),
        st.integers(0, 4),
        st.sampled_from(files),
    )
    listing = st.builds(lambda n: ListingRow(f"L{n}"), st.integers(0, 3))
    rejected = st.builds(
        lambda n, reason: RejectedRow(f"feed:{n}", reason, "why"),
        st.integers(0, 9),
        st.sampled_from(list(Reason)),
    )
    unique = st.lists(photo, max_size=8, unique_by=lambda row: (row.listing_id, row.photo_id))
    others = st.lists(st.one_of(listing, rejected), max_size=6)
    return st.tuples(unique, others).flatmap(lambda two: st.permutations([*two[0], *two[1]]))


@pytest.fixture(scope="module")
def property_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with listlens.init(tmp_path_factory.mktemp("property") / "p") as project:
        yield project


@settings(max_examples=20, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_every_row_is_in_exactly_one_count(
    data: st.DataObject, property_project: Project, shop: Any
) -> None:
    files = [shop.photos / image for image in list(shop.classes)[:4]]
    files += [shop.labels, shop.photos / "absent.jpg"]
    rows = data.draw(source_rows(files))
    report: IngestReport = property_project.ingest_source(Rows(rows))
    counted = report.new + report.changed + report.unchanged + report.rejected + report.listings
    assert counted == len(rows)
    photos = [row for row in rows if isinstance(row, PhotoRow)]
    assert report.new + report.changed + report.unchanged == len(photos)
    assert sum(report.reasons.values()) == report.failed + report.rejected
    alive = {(p.listing_id, p.photo_id): p for p in property_project.store.photos.scan()
             if p.status is not Status.GONE}  # fmt: skip
    assert set(alive) == {(row.listing_id, row.photo_id) for row in photos}
    for row in photos:
        stored = alive[row.listing_id, row.photo_id]
        good = row.location.endswith(".jpg") and "absent" not in row.location
        assert (stored.status is Status.OK) is good
        assert good or (stored.reason is not None and stored.detail)
    again = property_project.ingest_source(Rows(rows))
    assert (again.new, again.embedded, again.gone) == (0, 0, 0)
