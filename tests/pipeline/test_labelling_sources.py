"""Who said what: files known by path, people by name, splits and groups taken back."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import LabelError
from listlens.core.types import Task
from listlens.pipeline.dataset import _join_named, build_examples
from listlens.pipeline.labelling import LabelledPhoto, labelled_photos
from listlens.project import Project

IMAGES = [f"home-{listing:02}/{position}.jpg" for listing in range(4) for position in range(3)]


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory, new_shop: Callable[..., Any]
) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("sources-of-labels")
    shop = new_shop(root, n_listings=4)
    with listlens.init(root / "p") as project:
        project.ingest(shop.photos)
        yield project


@pytest.fixture
def task(opened: Project, request: pytest.FixtureRequest) -> Task:
    return opened.add_task(f"t{len(opened.tasks())}", getattr(request, "param", "single"))


def write(path: Path, *rows: str, header: str = "image,label") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def labelled(opened: Project, task: Task) -> dict[str, LabelledPhoto]:
    found = labelled_photos(opened.store, opened.store.labels.task(task.name))
    return {p.photo.photo_id: p for p in found}


def classes(opened: Project, task: Task) -> dict[str, str]:
    return {image: "|".join(p.label.yes) for image, p in labelled(opened, task).items()}


def test_a_second_file_of_the_same_name_takes_nothing_back(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    first = write(tmp_path / "one" / "labels.csv", *(f"{image},bed" for image in IMAGES[:6]))
    second = write(tmp_path / "two" / "labels.csv", *(f"{image},sofa" for image in IMAGES[6:]))
    opened.import_labels(task.name, first)
    report = opened.import_labels(task.name, second)
    assert (report.annotations, report.withdrawn) == (6, 0)
    assert len(classes(opened, task)) == 12
    for path in (first, second):
        report = opened.import_labels(task.name, path)
        assert (report.annotations, report.withdrawn) == (0, 0)
    write(first, *(f"{image},bed" for image in IMAGES[:5]))
    assert opened.import_labels(task.name, first).withdrawn == 1
    assert len(classes(opened, task)) == 11


def test_a_file_is_the_same_however_its_path_is_written(
    opened: Project, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "labels.csv", f"{IMAGES[0]},bed", f"{IMAGES[1]},bed")
    opened.import_labels(task.name, path)
    write(path, f"{IMAGES[0]},bed")
    monkeypatch.chdir(tmp_path)
    assert opened.import_labels(task.name, "labels.csv").withdrawn == 1


def test_people_vote_and_their_files_are_kept_apart(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    for person, label in (("anna", "bed"), ("bob", "sofa"), ("cleo", "bed")):
        path = write(tmp_path / person / "mine.csv", f"{IMAGES[0]},{label}")
        assert opened.import_labels(task.name, path, annotator=person).annotations == 1
        assert opened.import_labels(task.name, path, annotator=person).annotations == 0
    label = labelled(opened, task)[IMAGES[0]].label
    assert (label.yes, label.n_annotators) == (("bed",), 3)
    more = write(tmp_path / "anna" / "more.csv", f"{IMAGES[1]},bed", f"{IMAGES[2]},bed")
    assert opened.import_labels(task.name, more, annotator="anna").withdrawn == 0
    write(more, f"{IMAGES[2]},bed")
    assert opened.import_labels(task.name, more, annotator="anna").withdrawn == 1
    assert set(classes(opened, task)) == {IMAGES[0], IMAGES[2]}


def test_the_command_takes_the_name_that_forget_takes(
    opened: Project, task: Task, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    path = write(tmp_path / "ann.csv", f"{IMAGES[0]},bed")
    where = ("-p", opened.root, "--json")
    done = cli("labels", "import", task.name, path, "--annotator", "ann-lee", *where)
    assert done.json["annotations"] == 1
    assert cli("forget", "--annotator", "ann-lee", "--yes", *where).json["annotations"] == 1
    assert "ann-lee" not in opened.store.labels.annotators()
    again = cli("labels", "import", task.name, path, "--annotator", "ann-lee", *where)
    assert again.json["annotations"] == 0
    assert classes(opened, task) == {IMAGES[0]: "bed"}


def test_a_forgotten_file_is_still_no_person(opened: Project, task: Task, tmp_path: Path) -> None:
    first = write(tmp_path / "first.csv", f"{IMAGES[0]},bed")
    opened.import_labels(task.name, first)
    opened.forget(annotator=f"file:{first}")
    opened.import_labels(task.name, write(tmp_path / "second.csv", f"{IMAGES[0]},sofa"))
    label = labelled(opened, task)[IMAGES[0]].label
    assert (label.yes, label.tied) == (("sofa",), ())


@pytest.mark.parametrize("column", ["split", "group"])
def test_a_split_or_group_is_taken_back_with_its_column(
    opened: Project, task: Task, tmp_path: Path, column: str
) -> None:
    path = tmp_path / "a.csv"
    header = f"image,label,{column}"
    write(path, f"{IMAGES[0]},bed,test", f"{IMAGES[1]},bed,", header=header)
    opened.import_labels(task.name, path)
    other = write(tmp_path / "other.csv", f"{IMAGES[0]},bed")
    opened.import_labels(task.name, other)  # says nothing of it, so it stays
    assert getattr(labelled(opened, task)[IMAGES[0]], column) == "test"
    write(path, f"{IMAGES[0]},bed", f"{IMAGES[1]},bed")
    report = opened.import_labels(task.name, path)
    assert (report.annotations, report.withdrawn) == (1, 0)
    assert getattr(labelled(opened, task)[IMAGES[0]], column) == ""
    assert opened.import_labels(task.name, path).annotations == 0


def test_a_wrong_label_column_adds_no_class(opened: Project, task: Task, tmp_path: Path) -> None:
    rows = [f"{image},{i}" for i, image in enumerate(IMAGES * 6)]
    listed = [f"elsewhere-{i}.jpg,price {i}" for i in range(2000)]
    report = opened.import_labels(task.name, write(tmp_path / "a.csv", *listed, f"{IMAGES[0]},bed"))
    assert (report.annotations, len(report.without_photo), report.unknown_class) == (1, 2000, [])
    assert [c.name for c in opened.store.labels.task(task.name).classes] == ["bed"]
    with pytest.raises(LabelError, match=r"72 classes.*'0', '1', '10'.*--label COLUMN"):
        opened.import_labels(task.name, write(tmp_path / "b.csv", *rows))
    assert [c.name for c in opened.store.labels.task(task.name).classes] == ["bed"]
    assert classes(opened, task) == {IMAGES[0]: "bed"}


@pytest.mark.parametrize("task", ["multi"], indirect=True)
def test_the_order_of_labels_says_nothing(opened: Project, task: Task, tmp_path: Path) -> None:
    rows = [f"{IMAGES[0]},bed|lamp|-tv", f"{IMAGES[0]},-tv|lamp|bed"]
    path = write(tmp_path / "a.csv", *rows)
    report = opened.import_labels(task.name, path)
    assert report.said_twice == []
    other = write(tmp_path / "b.csv", f"{IMAGES[0]},lamp|-tv|bed")
    assert opened.import_labels(task.name, other).annotations == 0


@pytest.mark.parametrize("task", ["multi"], indirect=True)
def test_partial_answers_splits_and_groups_go_out_and_come_back(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    header = "image,labels,unlisted,split,group"
    rows = [f"{IMAGES[0]},bed|-lamp,unknown,train,g1", f"{IMAGES[1]},bed,no,test,g1",
            f"{IMAGES[2]},,no,,", f"{IMAGES[3]},,unknown,,", f"{IMAGES[4]},tv,maybe,,"]  # fmt: skip
    report = opened.import_labels(task.name, write(tmp_path / "a.csv", *rows, header=header))
    assert (report.annotations, len(report.unlabelled), len(report.bad_rows)) == (3, 1, 1)
    assert "'maybe'; allowed: no, unknown" in report.bad_rows[0]
    found = labelled(opened, task)
    assert [found[i].label.unlisted for i in IMAGES[:3]] == ["unknown", "no", "no"]
    back = tmp_path / "back.csv"
    opened.export_labels(task.name, back)
    assert opened.import_labels(task.name, back).annotations == 0
    fresh = opened.add_task(f"{task.name}-fresh", "multi")
    assert opened.import_labels(fresh.name, back).annotations == 3
    again = labelled(opened, fresh)
    for image in IMAGES[:3]:
        old, new = found[image], again[image]
        assert (old.label, old.split, old.group) == (new.label, new.split, new.group)


@pytest.mark.parametrize("task", ["multi"], indirect=True)
def test_what_is_tied_goes_out_undecided(opened: Project, task: Task, tmp_path: Path) -> None:
    for person, said in (("cleo", "tv|bed|lamp"), ("anna", "bed|lamp"), ("bob", "bed")):
        image = IMAGES[1] if person == "cleo" else IMAGES[0]
        path = write(tmp_path / f"{person}.csv", f"{image},{said}")
        opened.import_labels(task.name, path, annotator=person)
    opened.export_labels(task.name, tmp_path / "back.csv")
    with (tmp_path / "back.csv").open(encoding="utf-8", newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["image"] == IMAGES[0])
    assert (row["label"], row["unlisted"]) == ("bed|-tv", "unknown")


def test_a_named_group_of_many_listings_stays_on_one_side() -> None:
    groups = np.arange(200, dtype=np.int64)
    names = ["agency"] * 120 + [""] * 40 + ["other"] * 40
    joined = _join_named(groups, names)
    assert len(set(joined[:120].tolist())) == 1
    assert len(set(joined[120:160].tolist())) == 40
    assert len(set(joined[160:].tolist())) == 1
    assert len(set(joined.tolist())) == 42


def test_names_join_listings_directly_and_through_others(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    named = dict.fromkeys(IMAGES, "") | {IMAGES[0]: "x", IMAGES[3]: "x", IMAGES[4]: "y",
                                          IMAGES[6]: "y"}  # fmt: skip
    rows = [f"{image},{'bed' if i % 2 else 'sofa'},{named[image]}"
            for i, image in enumerate(IMAGES)]  # fmt: skip
    path = write(tmp_path / "a.csv", *rows, header="image,label,agency")
    opened.import_labels(task.name, path, group="agency")
    found = opened.store.labels.task(task.name)
    data = build_examples(opened.store, found, opened.backbone.space).data
    group = dict(zip(data.names, data.groups.tolist(), strict=True))
    assert len({group[image] for image in IMAGES[:9]}) == 1
    assert group[IMAGES[9]] != group[IMAGES[0]]
