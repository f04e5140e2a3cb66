"""Paths that try to leave, values of every kind, and folders that do not want to be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import ConfigError
from listlens.core.types import ListingRow, PhotoRow, Reason, RejectedRow, SourceRow
from listlens.sources.detect import open_source
from listlens.sources.folder import FolderSource, natural_key
from listlens.sources.layouts import HuggingFaceSource, ImageFolderSource, is_image_folder
from listlens.sources.paths import printable, real_path
from listlens.sources.rest import TableAndRestSource
from listlens.sources.table import TableSource
from listlens.store.open import open_store
from listlens.store.photos import PhotoRecord, Status

JPEG = b"\xff\xd8\xff\xe0"


def put(root: Path, *names: str, data: bytes = JPEG) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def table(root: Path, records: list[dict[str, Any]], **options: Any) -> list[SourceRow]:
    path = root / "t.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return list(TableSource(path, **options).rows())


def only(rows: list[SourceRow]) -> SourceRow:
    assert len(rows) == 1
    return rows[0]


INSIDE = {
    "plain": ("a.jpg", "a.jpg"),
    "dot": ("./a.jpg", "a.jpg"),
    "up-and-back": ("x/../a.jpg", "a.jpg"),
    "doubled-slash": ("x//a.jpg", "x/a.jpg"),
    "name-of-dots": ("...jpg", "...jpg"),
    "dots-in-a-name": ("a..b/..c.jpg", "a..b/..c.jpg"),
    "space-at-the-end": ("a .jpg", "a .jpg"),
    "percent": ("a%20b.jpg", "a%20b.jpg"),
    "tilde": ("~/a.jpg", "~/a.jpg"),
    "dollar": ("$HOME/a.jpg", "$HOME/a.jpg"),
    "colon": ("a:b.jpg", "a:b.jpg"),
    "line-break": ("a\nb.jpg", "a␛0Ab.jpg"),
    "override": ("a\u202egpj.exe", "a␛E2␛80␛AEgpj.exe"),
    "escaped-byte": ("caf␛E9.jpg", "caf␛E9.jpg"),
    "number": (17, "17"),
    "very-long": ("x" * 5000 + ".jpg", "x" * 5000 + ".jpg"),
    "very-deep": ("d/" * 1000 + "a.jpg", "d/" * 1000 + "a.jpg"),
}


@pytest.mark.parametrize(("image", "photo_id"), INSIDE.values(), ids=INSIDE)
def test_a_path_that_stays_inside_is_a_photo_by_its_plain_form(
    tmp_path: Path, image: Any, photo_id: str
) -> None:
    row = only(table(tmp_path, [{"image": image}]))
    assert isinstance(row, PhotoRow)
    assert row.photo_id == photo_id
    assert row.location == printable(str(tmp_path)) + "/" + photo_id
    assert "\n" not in row.location


REFUSED = {
    "up": ("../a.jpg", Reason.OUTSIDE),
    "up-from-below": ("x/../../a.jpg", Reason.OUTSIDE),
    "up-by-escape": ("␛2E␛2E/a.jpg", Reason.OUTSIDE),
    "absolute": ("/etc/passwd", Reason.OUTSIDE),
    "file-url": ("file:///etc/passwd", Reason.OUTSIDE),
    "beside": ("../photos-2/a.jpg", Reason.OUTSIDE),
    "nul-by-escape": ("a␛00.jpg", Reason.BAD_ROW),
    "http": ("http://x/a.jpg", Reason.REMOTE),
    "HTTPS": ("HTTPS://x/a.jpg", Reason.REMOTE),
    "cloud": ("gs://bucket/a.jpg", Reason.REMOTE),
    "data-base": ("postgresql+x://h/a", Reason.REMOTE),
    "list": (["a.jpg"], Reason.BAD_ROW),
    "object": ({"path": "a.jpg"}, Reason.BAD_ROW),
    "true": (True, Reason.BAD_ROW),
    "fraction": (1.5, Reason.BAD_ROW),
    "empty": ("", Reason.BAD_ROW),
}


@pytest.mark.parametrize(("image", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_path_that_cannot_be_used_is_rejected_in_its_place(
    tmp_path: Path, image: Any, reason: Reason
) -> None:
    root = tmp_path / "photos"
    put(root, "ok.jpg")
    put(tmp_path, "a.jpg", "photos-2/a.jpg")
    rows = table(root, [{"image": "ok.jpg"}, {"image": image}, {"image": "ok2.jpg"}])
    assert [type(row) for row in rows] == [PhotoRow, RejectedRow, PhotoRow]
    assert isinstance(rows[1], RejectedRow)
    assert (rows[1].reason, rows[1].at) == (reason, "t.json:2")
    assert rows[1].detail.isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
@pytest.mark.parametrize("through", ["link.jpg", "linked/a.jpg", "in/linked/a.jpg", "chain.jpg"])
def test_a_link_that_leads_out_is_refused_unless_allowed(tmp_path: Path, through: str) -> None:
    root = tmp_path / "photos"
    put(root, "in/b.jpg")
    put(tmp_path, "secret/a.jpg")
    (root / "link.jpg").symlink_to(tmp_path / "secret/a.jpg")
    (root / "linked").symlink_to(tmp_path / "secret")
    (root / "in/linked").symlink_to("../../secret")
    (root / "chain.jpg").symlink_to("link.jpg")
    refused = only(table(root, [{"image": through}]))
    assert isinstance(refused, RejectedRow)
    assert refused.reason is Reason.OUTSIDE
    allowed = only(table(root, [{"image": through}], allow_outside=True))
    assert isinstance(allowed, PhotoRow)
    assert Path(real_path(allowed.location)).read_bytes() == JPEG


def test_a_file_url_of_a_photo_inside_is_its_path(tmp_path: Path) -> None:
    put(tmp_path, "a b.jpg")
    row = only(table(tmp_path, [{"image": (tmp_path / "a b.jpg").as_uri()}]))
    assert isinstance(row, PhotoRow)
    assert row.photo_id == "a b.jpg"


POSITIONS = {
    "absent": (None, None), "zero": (0, 0), "text": ("3", 3), "spaces": (" 3 ", 3),
    "whole-float": (3.0, 3), "leading-zero": ("03", 3), "large": (999_999_999, 999_999_999),
    "empty": ("", None),
}  # fmt: skip


@pytest.mark.parametrize(("given_", "position"), POSITIONS.values(), ids=POSITIONS)
def test_positions_are_whole_numbers_from_zero(
    tmp_path: Path, given_: Any, position: int | None
) -> None:
    row = only(table(tmp_path, [{"image": "a.jpg", "position": given_}]))
    assert isinstance(row, PhotoRow)
    assert row.position == position


@pytest.mark.parametrize(
    "wrong", [-1, 1.5, "1.5", "first", "1,000", True, "٣", [1], 10**10], ids=str
)
def test_another_position_is_rejected_and_shown(tmp_path: Path, wrong: Any) -> None:
    row = only(table(tmp_path, [{"image": "a.jpg", "position": wrong}]))
    assert isinstance(row, RejectedRow)
    assert "not a whole number from 0 up" in row.detail


NUMBERS = {
    "12": 12, "-3": -3, "0": 0, "12.5": 12.5, "1.0": 1.0, "1.5e3": 1500.0, "01234": "01234",
    "+49": "+49", "1,5": "1,5", "1.234.567": "1.234.567", "12 m2": "12 m2", "1e5": "1e5",
    "9" * 18: int("9" * 18), "9" * 19: "9" * 19, "٣": "٣", "nan": "nan", "true": "true",
    "0x1F": "0x1F", "1_000": "1_000", ".5": ".5", "5.": "5.",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), NUMBERS.items(), ids=[n[:12] for n in NUMBERS])
def test_numbers_in_a_csv_are_recognised_and_codes_stay_text(
    tmp_path: Path, text: str, value: Any
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'image,listing_id,v\na.jpg,"{text}","{text}"\n')
    row = only(list(TableSource(path).rows()))
    assert isinstance(row, PhotoRow)
    assert row.attributes == {"v": value}
    assert type(row.attributes["v"]) is type(value)
    assert row.listing_id == text  # an id is never turned into a number


IDS = {"text": ("L 1", "L 1"), "int": (7, "7"), "whole-float": (7.0, "7"), "fraction": (7.5, "7.5"),
       "spaces": ("  x ", "x"), "large": (2**62, str(2**62)), "emoji": ("🏠", "🏠")}  # fmt: skip


@pytest.mark.parametrize(("given_", "text"), IDS.values(), ids=IDS)
def test_ids_of_listings_and_sellers_become_text(tmp_path: Path, given_: Any, text: str) -> None:
    records = [
        {"image": "a.jpg", "listing_id": given_, "seller_id": given_},
        {"listing_id": given_},
    ]
    photo, listing = table(tmp_path, records)
    assert isinstance(photo, PhotoRow)
    assert isinstance(listing, ListingRow)
    assert (photo.listing_id, photo.seller_id) == (text, text)
    assert (listing.listing_id, listing.seller_id) == (text, None)


def test_columns_that_speak_of_one_photo_are_no_attributes_of_the_listing(tmp_path: Path) -> None:
    record = {"image": "a.jpg", "Label": "x", "labels": ["x"], "split": "train", "url": "u",
              "image_id": 3, "dup_group": 1, "price": 2, "n": "", "deep": {"a": 1}}  # fmt: skip
    row = only(table(tmp_path, [record]))
    assert isinstance(row, PhotoRow)
    assert row.attributes == {"price": 2, "deep": {"a": 1}}


MAPPINGS: dict[str, tuple[dict[str, str], str]] = {
    "unknown-role": ({"picture": "Foto"}, "unknown name 'picture' in the column mapping"),
    "role-misspelt": ({"listng_id": "Objekt"}, "Did you mean 'listing_id'"),
    "column-misspelt": ({"image": "Fotto"}, "Did you mean 'Foto'"),
    "column-in-other-case": ({"image": "foto"}, "Did you mean 'Foto'"),
    "second-column-wrong": ({"image": "Foto", "seller_id": "wer"}, "named as the seller_id column"),
    "no-photo-column": ({"listing_id": "Objekt"}, "--map image=COLUMN"),
}


@pytest.mark.parametrize(("mapping", "says"), MAPPINGS.values(), ids=MAPPINGS)
def test_a_wrong_mapping_is_refused_before_a_row_is_read(
    tmp_path: Path, mapping: dict[str, str], says: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Foto,Objekt,Preis\na.jpg,1,2\n")
    with pytest.raises(ConfigError) as caught:
        TableSource(path, None, mapping)
    assert says in str(caught.value)
    assert "Objekt" in str(caught.value) or "listing_id" in str(caught.value)


def test_every_printable_name_survives_table_and_store(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", b"new\nline.jpg", "плита 📷.jpg".encode(), b"tab\t.jpg", b"a'b\"c.jpg",
             b"%41.jpg", "e\u0301.jpg".encode(), b"\x7f\xc2\x85.jpg", b"-rf.jpg"]  # fmt: skip
    root = tmp_path / "photos"
    root.mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    first = [row for row in FolderSource(root).rows() if isinstance(row, PhotoRow)]
    (root / "t.jsonl").write_text("\n".join(json.dumps({"image": r.photo_id}) for r in first))
    again = [row for row in TableSource(root / "t.jsonl").rows() if isinstance(row, PhotoRow)]
    assert [r.photo_id for r in again] == [r.photo_id for r in first]
    with open_store("sqlite:///listlens.db", tmp_path) as store:
        source = store.photos.source("s", "table", str(root))
        ingest = store.photos.begin_ingest(source)
        records = [PhotoRecord(row, 1, 1, None, Status.PENDING) for row in again]
        store.photos.save(source, ingest, records)
        for view in store.photos.scan():
            data = Path(real_path(view.location)).read_bytes()
            assert data in names
            assert os.fsencode(real_path(view.photo_id)) == data


@given(st.text(st.sampled_from("ab -_."), max_size=4), st.integers(0, 10**12), st.integers(0, 99))
def test_natural_order_looks_at_numbers_wherever_they_stand(
    word: str, large: int, small: int
) -> None:
    for shape in ("{w}{n}", "{n}{w}", "{w}{n}{w}", "{w}7{w} {n}"):
        one, two = (shape.format(w=word, n=n) for n in (small, large))
        if small < large:
            assert natural_key(one) < natural_key(two)
        assert natural_key(one.upper())[0] == natural_key(one.lower())[0]


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=20), st.booleans())
def test_numbered_photos_come_in_the_order_of_their_numbers(numbers: list[int], pad: bool) -> None:
    names = [f"IMG_{n:07}.jpg" if pad else f"IMG_{n}.jpg" for n in numbers]
    ordered = sorted(names, key=natural_key)
    assert [int(name[4:-4]) for name in ordered] == sorted(numbers)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), unique=True, max_size=20))
def test_every_file_of_a_tree_comes_once_and_positions_run_through(
    tree: list[tuple[int, int]],
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), *(f"home {listing}/{photo}.jpg" for listing, photo in tree))
        rows = [row for row in FolderSource(Path(folder)).rows() if isinstance(row, PhotoRow)]
    assert len(rows) == len(tree)
    for listing in {row.listing_id for row in rows}:
        own = [row for row in rows if row.listing_id == listing]
        assert [row.position for row in own] == list(range(len(own)))
        numbers = [int(row.photo_id.rpartition("/")[2][:-4]) for row in own]
        assert numbers == sorted(numbers)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
def test_circles_of_links_end_and_every_photo_comes_once(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "a/b/2.jpg")
    (tmp_path / "a/b/up").symlink_to("..")
    (tmp_path / "a/round").symlink_to("round-too")
    (tmp_path / "a/round-too").symlink_to("round")
    for allow in (False, True):
        rows = list(FolderSource(tmp_path, allow_outside=allow).rows())
        found = [row.photo_id for row in rows if isinstance(row, PhotoRow)]
        assert found == ["a/1.jpg", "a/b/2.jpg"]
        reasons = {row.at: row.reason for row in rows if isinstance(row, RejectedRow)}
        assert reasons["a/round"] is reasons["a/round-too"] is Reason.UNREADABLE


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX users")
@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(),
    reason="root may read everything, and there is no setpriv to be somebody else",
)
def test_an_unreadable_folder_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "closed/b.jpg", "last/c.jpg")
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    (tmp_path / "closed").chmod(0)
    code = (
        "import sys; from pathlib import Path\n"
        "from listlens.sources.folder import FolderSource\n"
        "for row in FolderSource(Path(sys.argv[1])).rows():\n"
        "    print(getattr(row, 'photo_id', None) or f'{row.at}:{row.reason.value}')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        (tmp_path / "closed").chmod(0o700)
    if done.returncode and "listlens" in done.stderr and "Permission" in done.stderr:
        pytest.skip("another user cannot read this installation")
    assert done.stdout.split() == ["a.jpg", "closed:unreadable", "last/c.jpg"], done.stderr


JUNK = [".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg", "__MACOSX/a.jpg",
        "@eaDir/a.jpg/x.jpg", ".git/objects/a.jpg", ".thumbnails/a.jpg", "notes.txt",
        "LABELS.CSV", "a.ipynb"]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_passed_over_without_a_word(tmp_path: Path, junk: str) -> None:
    put(tmp_path, "home/a.jpg")
    put(tmp_path / "home", junk, data=b"text")
    rows = list(FolderSource(tmp_path).rows())
    assert [getattr(row, "photo_id", row) for row in rows] == ["home/a.jpg"]


def test_photos_that_the_table_names_do_not_come_again_as_the_rest(tmp_path: Path) -> None:
    put(tmp_path, "x/1.jpg", "x/2.jpg", "x/3.jpg")
    put(tmp_path, "notes.mov", data=b"text")
    (tmp_path / "t.csv").write_text("image,listing_id\n./x/1.jpg,A\nx//2.jpg,A\nx/9.jpg,A\n,B\n")
    source = TableAndRestSource(TableSource(tmp_path / "t.csv"), FolderSource(tmp_path))
    rows = list(source.rows())
    assert [(r.listing_id, r.photo_id) for r in rows if isinstance(r, PhotoRow)] == [
        ("A", "x/1.jpg"), ("A", "x/2.jpg"), ("A", "x/9.jpg"), ("x/3.jpg", "x/3.jpg"),
    ]  # fmt: skip
    assert [r.listing_id for r in rows if isinstance(r, ListingRow)] == ["B"]
    assert [r.at for r in rows if isinstance(r, RejectedRow)] == ["notes.mov"]


JUDGED: dict[str, tuple[dict[str, int], bool]] = {
    "words-with-many": ({"bath": 8, "bed": 30}, True),
    "one-folder": ({"bath": 50}, False),
    "few-photos-each": ({"bath": 7, "bed": 7}, False),
    "a-digit-in-a-name": ({"bath": 20, "room 2": 20}, False),
    "median-counts": ({"bath": 1, "bed": 8, "roof": 9}, True),
    "most-are-small": ({"bath": 1, "bed": 2, "roof": 90}, False),
    "train-with-classes": ({"train/bath": 1}, True),
    "Training-in-capitals": ({"Training/bath": 1, "Validation/bath": 1}, True),
    "test-alone": ({"test/bath": 9, "other/bed": 9}, False),
    "train-without-classes": ({"train": 9, "test": 9}, False),
    "too-many-classes": ({f"class {'x' * n}": 8 for n in range(1, 202)}, False),
}


@pytest.mark.parametrize(("folders", "classes"), JUDGED.values(), ids=JUDGED)
def test_class_folders_are_told_from_listings(
    tmp_path: Path, folders: dict[str, int], classes: bool
) -> None:
    for name, n in folders.items():
        (tmp_path / name).mkdir(parents=True)
        for i in range(n):
            (tmp_path / name / f"{i}.jpg").touch()
    assert is_image_folder(tmp_path) is classes
    assert isinstance(open_source(tmp_path), ImageFolderSource) is classes


@pytest.mark.parametrize("split", ["train", "Train", "TRAINING", "val", "valid", "dev", "test"])
def test_hugging_face_splits_by_any_of_their_names(tmp_path: Path, split: str) -> None:
    put(tmp_path, f"{split}/a.jpg")
    (tmp_path / split / "metadata.jsonl").write_text('{"file_name": "a.jpg", "text": "x"}\n')
    source = open_source(tmp_path)
    assert isinstance(source, HuggingFaceSource)
    row = only(list(source.rows()))
    assert isinstance(row, PhotoRow)
    assert row.photo_id == f"{split}/a.jpg"
    assert Path(row.location).read_bytes() == JPEG


def test_a_photo_in_two_hugging_face_tables_comes_once(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.jpg,x\n")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.jpg"}\n{"file_name": "b.jpg"}\n')
    rows = list(HuggingFaceSource(tmp_path).rows())
    assert [r.photo_id for r in rows if isinstance(r, PhotoRow)] == ["a.jpg", "b.jpg"]
    twice = [r for r in rows if isinstance(r, RejectedRow)]
    assert [(r.at, r.reason) for r in twice] == [("metadata.jsonl:1", Reason.DUPLICATE_ROW)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_hugging_face_metadata_at_the_top_wins_over_that_of_the_splits(
    tmp_path: Path, suffix: str
) -> None:
    put(tmp_path, "train/a.jpg", "train/b.jpg")
    text = "file_name,text\ntrain/a.jpg,x\n"
    lines = '{"file_name": "train/a.jpg", "text": "x"}\n'
    (tmp_path / f"metadata.{suffix}").write_text(text if suffix == "csv" else lines)
    (tmp_path / "train/metadata.csv").write_text("file_name,text\nb.jpg,y\n")
    rows = list(open_source(tmp_path).rows())
    assert [r.photo_id for r in rows if isinstance(r, PhotoRow)] == ["train/a.jpg"]


def test_image_atms_samples_find_their_photos_beside_or_below(tmp_path: Path) -> None:
    records = [{"image_id": "a.jpg", "label": "x"}, {"image_id": 7}, {"image_id": "../b.jpg"}]
    for folder, root in (("flat", "flat"), ("apart", "apart/images")):
        put(tmp_path, f"{root}/a.jpg")
        (tmp_path / folder / "samples.json").write_text(json.dumps(records))
        rows = list(open_source(tmp_path / folder).rows())
        assert [r.photo_id for r in rows if isinstance(r, PhotoRow)] == ["a.jpg", "7"]
        assert [r.reason for r in rows if isinstance(r, RejectedRow)] == [Reason.OUTSIDE]
        assert isinstance(rows[0], PhotoRow)
        assert Path(rows[0].location).read_bytes() == JPEG
