"""Label files in every shape they come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from listlens.core.errors import LabelError
from listlens.core.types import Answer, Reason, RejectedRow
from listlens.labels.answers import parse_answer
from listlens.labels.files import LabelRow, Unlabelled, read_labels, similar_classes


def answers(path: Path, **options: Any) -> list[tuple[str, ...]]:
    rows = read_labels(path, **options).rows()
    return [row.answer.yes for row in rows if isinstance(row, LabelRow)]


def table(tmp_path: Path, text: str, name: str = "l.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_full_row(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label,listing_id,split,owner\na.jpg, Bed room ,7,Valid,ann\n")
    assert list(read_labels(path, group="owner").rows()) == [
        LabelRow("a.jpg", "7", Answer(("Bed room",)), "val", "ann", "l.csv:2")
    ]


@pytest.mark.parametrize(
    ("value", "yes", "no"),
    [
        ("bed|lamp", ("bed", "lamp"), ()),
        (" bed | lamp |bed", ("bed", "lamp"), ()),
        ("bed|-lamp| - tv ", ("bed",), ("lamp", "tv")),
        ('["bed", "-lamp"]', ("bed",), ("lamp",)),
        (["bed", 7.0, "-x"], ("bed", "7"), ("x",)),
        ("", (), ()),
        ("[]", (), ()),
        ([], (), ()),
        ("double-bed", ("double-bed",), ()),
        ("|-|", (), ()),
        (3, ("3",), ()),
    ],
)
def test_multi_label_values(value: Any, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    assert parse_answer(value, "multi") == Answer(yes, no)


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("a|b", Answer(("a|b",))),
        ("-a", Answer(("-a",))),
        (0, Answer(("0",))),
        (1.0, Answer(("1",))),
        (["a"], Answer(("a",))),
        ("  ", None),
        ([], None),
        (None, None),
    ],
)
def test_single_label_values(value: Any, answer: Answer | None) -> None:
    assert parse_answer(value, "single") == answer


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        ("a|-a", "multi", "both yes and no: a"),
        ("[not json", "multi", "not a JSON list"),
        ("[[1]]", "multi", "a text or a list"),
        ({"a": 1}, "multi", "not an object"),
        (["a", "b"], "single", "multi-label"),
    ],
)
def test_wrong_values_say_what_is_wrong(value: Any, kind: Any, says: str) -> None:
    problem = parse_answer(value, kind)
    assert isinstance(problem, str)
    assert says in problem


def test_where_unlisted_is_unknown_an_empty_value_says_nothing() -> None:
    assert parse_answer("", "multi", "unknown") is None
    assert parse_answer("-a", "multi", "unknown") == Answer((), ("a",), "unknown")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("image,label\na,x\nb,y\n", "single"),
        ("image,label\na,x\nb,y|z\n", "multi"),
        ('image,label\na,x\nb,"[""y""]"\n', "multi"),
        ("image,labels\na,x\n", "multi"),
        ("image,label\na,x\nb,-y\n", "multi"),
    ],
)
def test_the_kind_is_guessed_from_the_values_and_said(tmp_path: Path, text: str, kind: str) -> None:
    file = read_labels(table(tmp_path, text))
    assert (file.kind, file.guessed) == (kind, True)
    assert "guessed" in file.describe()
    told = read_labels(table(tmp_path, text), kind="single")
    assert (told.kind, told.guessed) == ("single", False)
    assert "guessed" not in told.describe()


def test_a_photo_without_a_label_is_no_error(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label,split\na.jpg,,test\nb.jpg,x,\n,x,\nc.jpg,x,later\n")
    empty, good, no_image, bad_split = read_labels(path).rows()
    assert empty == Unlabelled("a.jpg", split="test", at="l.csv:2")
    assert isinstance(good, LabelRow)
    assert isinstance(no_image, RejectedRow)
    assert isinstance(bad_split, RejectedRow)
    assert bad_split.reason is Reason.BAD_ROW
    assert "unknown split 'later'" in bad_split.detail


def test_an_empty_multi_label_cell_means_none_of_the_classes(tmp_path: Path) -> None:
    path = table(tmp_path, "image,labels\na.jpg,\nb.jpg,x|y\n")
    assert answers(path) == [(), ("x", "y")]
    assert answers(path, unlisted="unknown") == [("x", "y")]


def test_in_json_null_is_no_label_and_an_empty_list_is_one(tmp_path: Path) -> None:
    lines = [{"image": "a", "labels": None}, {"image": "b", "labels": []}, {"image": "c"}]
    path = table(tmp_path, "\n".join(map(json.dumps, lines)), "l.jsonl")
    rows = list(read_labels(path, label="labels", kind="multi").rows())
    assert [type(row) for row in rows] == [Unlabelled, LabelRow, Unlabelled]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label": "lable"}, "no column 'lable'.*Did you mean 'label'"),
        ({"group": "ownr"}, "no column 'ownr'.*Did you mean 'owner'"),
        ({"mapping": {"image": "img"}}, "no column 'img'"),
        ({"mapping": {"imag": "image"}}, "Did you mean 'image'"),
    ],
)
def test_a_wrong_column_names_those_that_are_there(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    path = table(tmp_path, "image,label,owner\na,x,y\n")
    with pytest.raises(LabelError, match=says):
        read_labels(path, **options)


def test_a_table_without_labels_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"--label COLUMN.*Allowed: 'image', 'room'"):
        read_labels(table(tmp_path, "image,room\na,x\n"))
    with pytest.raises(LabelError, match="--map image=COLUMN"):
        read_labels(table(tmp_path, "bild,label\na,x\n"))
    with pytest.raises(LabelError, match="no label file"):
        read_labels(tmp_path / "none.csv")


def test_image_atm_samples(tmp_path: Path) -> None:
    text = json.dumps([{"image_id": "a.jpg", "label": "bed"}, {"image_id": "b.jpg", "label": 3}])
    path = table(tmp_path, text, "samples.json")
    assert answers(path) == answers(tmp_path) == [("bed",), ("3",)]


def test_folders_of_classes(tmp_path: Path) -> None:
    for name in ("train/bed/1.jpg", "val/bath/2.jpg", "train/stray.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    file = read_labels(tmp_path)
    rows = list(file.rows())
    assert "folder names" in file.describe()
    assert (
        LabelRow("train/bed/1.jpg", None, Answer(("bed",)), "train", at="train/bed/1.jpg") in rows
    )
    assert LabelRow("val/bath/2.jpg", None, Answer(("bath",)), "val", at="val/bath/2.jpg") in rows
    assert Unlabelled("train/stray.jpg", split="train", at="train/stray.jpg") in rows


def test_hugging_face_metadata_takes_the_split_from_its_folder(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        table(tmp_path / split, "file_name,label\na.jpg,bed\n", "metadata.csv")
    found = [(r.image, r.split) for r in read_labels(tmp_path).rows() if isinstance(r, LabelRow)]
    assert found == [("train/a.jpg", "train"), ("validation/a.jpg", "val")]


@pytest.mark.parametrize(
    ("text", "one_vote"),
    [
        ("image,label\na.jpg,3\nb.jpg,4\nc.jpg,9\nd.jpg,\n", True),
        ("image,label\na.jpg,3\nb.jpg,3.01\nc.jpg,\n", False),
        ("image,label,n_votes\na.jpg,3,\nb.jpg,4,8\n", False),
        ("image,label,sd\na.jpg,3,\nb.jpg,4,0.5\n", False),
    ],
    ids=["steps", "between", "counted", "spread"],
)
def test_numbers_of_one_column_are_ratings_or_means_all_alike(
    tmp_path: Path, text: str, one_vote: bool
) -> None:
    first, second, *_ = read_labels(
        table(tmp_path, text), kind="score", scale=("1", "2", "3", "4", "5")
    ).rows()
    assert isinstance(first, LabelRow) and isinstance(second, LabelRow)
    assert (first.answer.votes == (("3", 1.0),)) == one_vote
    assert (len(second.answer.votes) == 1) == one_vote


def test_a_mean_on_a_step_is_learnt_like_its_neighbour(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label\na.jpg,3\nb.jpg,3.01\n")
    one, other = (
        dict(row.answer.votes)
        for row in read_labels(path, kind="score", scale=("1", "2", "3", "4", "5")).rows()
        if isinstance(row, LabelRow)
    )
    assert one == pytest.approx(other, abs=0.01)


def test_names_that_only_look_different_are_pointed_out() -> None:
    names = ["Bed Room", "bedroom", "bed-room", "Bath", "kitchen", "BATH", "kitchen"]
    assert similar_classes(names) == [("BATH", "Bath"), ("Bed Room", "bed-room", "bedroom")]


@pytest.mark.data
def test_the_cars_parts_are_multi_label_and_empty_banners_are_unlabelled(data_dir: Path) -> None:
    file = read_labels(data_dir / "cars/labels.csv", label="parts")
    assert file.kind == "multi"
    assert len({name for yes in answers(file.path, label="parts") for name in yes}) == 18
    rows = list(read_labels(file.path, label="banner", kind="single").rows())
    assert sum(isinstance(row, Unlabelled) for row in rows) == 166
