"""What label files and people say, taken together: labels, conflicts, training sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import TrainingError
from listlens.core.types import Answer, Task
from listlens.pipeline.dataset import Examples, build_examples
from listlens.pipeline.labelling import LabelReport, labelled_photos
from listlens.project import Project
from listlens.store.labels import NewAnnotation

IMAGES = [f"home-{listing:02}/{position}.jpg" for listing in range(3) for position in range(3)]


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory, new_shop: Callable[..., Any]
) -> Iterator[Project]:
    """Nine photos of three listings, and two more that share their bytes with one of them."""
    root = tmp_path_factory.mktemp("labelling")
    shop = new_shop(root, n_listings=3)
    same = (shop.photos / IMAGES[0]).read_bytes()
    for listing in ("home-01", "home-02"):
        (shop.photos / listing / "copy.jpg").write_bytes(same)
    with listlens.init(root / "p") as project:
        project.ingest(shop.photos)
        yield project


@pytest.fixture
def task(opened: Project, request: pytest.FixtureRequest) -> Task:
    """A new task a test, of the kind that the test's marker names."""
    kind = getattr(request, "param", "single")
    return opened.add_task(f"t{len(opened.tasks())}", kind)


def imported(
    opened: Project, task: Task, path: Path, said: dict[str, str], **how: Any
) -> LabelReport:
    rows = [json.dumps({"image": image, "label": label} | how.get("more", {}))
            for image, label in said.items()]  # fmt: skip
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    options = {key: value for key, value in how.items() if key != "more"}
    return opened.import_labels(task.name, path, **options)


def labels(opened: Project, task: Task) -> dict[str, Any]:
    found = labelled_photos(opened.store, opened.store.labels.task(task.name))
    return {p.photo.photo_id: p.label for p in found}


def said_by(opened: Project, task: Task, person: str, image: str, label: str) -> None:
    """One person's answer about one photo, as a page would store it."""
    (photo,) = (p for p in opened.store.photos.scan() if p.photo_id == image)
    known = {c.name for c in opened.store.labels.task(task.name).classes}
    if label not in known:
        opened.store.labels.add_classes(task.task_id, [label])
    assert photo.content_id is not None
    opened.store.labels.annotate(
        [NewAnnotation(task_id=task.task_id, subject_kind="content",
                       subject_ids=(photo.content_id,), photo_pk=photo.photo_pk,
                       answer=Answer((label,)), annotator_id=opened.store.labels.annotator(person),
                       split=None, group=None, at="")])  # fmt: skip


def examples(opened: Project, task: Task) -> Examples:
    found = opened.store.labels.task(task.name)
    return build_examples(opened.store, found, opened.backbone.space)


def test_of_two_files_the_newer_counts(opened: Project, task: Task, tmp_path: Path) -> None:
    imported(opened, task, tmp_path / "a.jsonl", dict.fromkeys(IMAGES, "bed"))
    report = imported(opened, task, tmp_path / "b.jsonl", {IMAGES[0]: "sofa", IMAGES[1]: "bed"})
    assert (report.annotations, report.withdrawn) == (1, 0)
    found = labels(opened, task)
    assert found[IMAGES[0]].yes == ("sofa",)
    assert all(found[image].yes == ("bed",) for image in IMAGES[1:])
    assert not any(label.conflict for label in found.values())


def test_the_old_file_again_does_not_undo_a_correction(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    old = dict.fromkeys(IMAGES, "bed")
    imported(opened, task, tmp_path / "a.jsonl", old)
    imported(opened, task, tmp_path / "b.jsonl", {IMAGES[0]: "sofa"})
    assert imported(opened, task, tmp_path / "a.jsonl", old).annotations == 0
    assert labels(opened, task)[IMAGES[0]].yes == ("sofa",)
    changed = old | {IMAGES[0]: "lamp"}
    assert imported(opened, task, tmp_path / "a.jsonl", changed).annotations == 1
    assert labels(opened, task)[IMAGES[0]].yes == ("lamp",)


def test_files_that_share_no_photo_add_up(opened: Project, task: Task, tmp_path: Path) -> None:
    imported(opened, task, tmp_path / "a.jsonl", dict.fromkeys(IMAGES[:4], "bed"))
    imported(opened, task, tmp_path / "b.jsonl", dict.fromkeys(IMAGES[4:], "sofa"))
    assert len(labels(opened, task)) == 9


def test_what_leaves_a_file_is_taken_back_and_an_older_file_speaks_again(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    imported(opened, task, tmp_path / "a.jsonl", {IMAGES[0]: "bed"})
    imported(opened, task, tmp_path / "b.jsonl", {IMAGES[0]: "sofa", IMAGES[1]: "sofa"})
    report = imported(opened, task, tmp_path / "b.jsonl", {IMAGES[2]: "sofa"})
    assert report.withdrawn == 2
    found = labels(opened, task)
    assert {image: label.yes for image, label in found.items()} == {
        IMAGES[0]: ("bed",),
        IMAGES[2]: ("sofa",),
    }


def test_files_have_one_voice_beside_people(opened: Project, task: Task, tmp_path: Path) -> None:
    imported(opened, task, tmp_path / "a.jsonl", {IMAGES[0]: "bed"})
    imported(opened, task, tmp_path / "b.jsonl", {IMAGES[0]: "sofa"})
    said_by(opened, task, "ann", IMAGES[0], "lamp")
    tied = labels(opened, task)[IMAGES[0]]
    assert (tied.yes, tied.tied) == ((), ("lamp", "sofa"))
    said_by(opened, task, "bob", IMAGES[0], "lamp")
    decided = labels(opened, task)[IMAGES[0]]
    assert (decided.yes, decided.n_annotators) == (("lamp",), 3)


def test_contradictions_inside_a_file_are_listed(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"image,label\n{IMAGES[0]},bed\n{IMAGES[0]},bed\n{IMAGES[0]},sofa\n")
    report = opened.import_labels(task.name, path)
    assert (report.rows, report.annotations) == (3, 1)
    checks = {check.name: check for check in report.checks()}
    assert checks["contradictory_rows"].items == (f"a.csv:4: {IMAGES[0]}",)
    assert labels(opened, task)[IMAGES[0]].yes == ("bed",)
    assert "earlier one counts" in report.text()


def test_every_row_of_a_label_file_is_accounted_for(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    lines = ["image,label", f"{IMAGES[0]},bed", f"{IMAGES[1]},", "nowhere.jpg,bed", ",bed",
             "copy.jpg,bed", f"{IMAGES[2]},sofa"]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    report = opened.import_labels(task.name, path)
    listed = (report.unlabelled, report.without_photo, report.bad_rows, report.unusable_photo,
              report.unknown_class, report.said_twice)  # fmt: skip
    assert report.rows == 6
    assert report.annotations + sum(map(len, listed)) == 6
    assert any("may be any of 2 photos" in item for item in report.without_photo)


def test_a_closed_task_takes_no_new_class(opened: Project, tmp_path: Path) -> None:
    closed = opened.add_task(f"closed{len(opened.tasks())}", "single", ("bed", "sofa"))
    report = imported(opened, closed, tmp_path / "a.jsonl", {IMAGES[0]: "bed", IMAGES[1]: "bd"})
    assert report.annotations == 1
    assert "Did you mean 'bed'?" in report.unknown_class[0]
    assert [c.name for c in opened.store.labels.task(closed.name).classes] == ["bed", "sofa"]


@pytest.mark.parametrize("task", ["multi"], indirect=True)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_many_labels_come_back_as_they_went(
    opened: Project, task: Task, tmp_path: Path, suffix: str
) -> None:
    rows = {IMAGES[0]: ["bed", "a|b"], IMAGES[1]: [], IMAGES[2]: ["[odd"], IMAGES[3]: ["bed"]}
    (tmp_path / "a.json").write_text(
        json.dumps([{"image": image, "labels": names} for image, names in rows.items()])
    )
    opened.import_labels(task.name, tmp_path / "a.json")
    before = {image: label.yes for image, label in labels(opened, task).items()}
    assert before == {image: tuple(sorted(names)) for image, names in rows.items()}
    path = tmp_path / f"back.{suffix}"
    assert opened.export_labels(task.name, path) == 4
    report = opened.import_labels(task.name, path)
    assert [check.name for check in report.checks()] == []
    assert {image: label.yes for image, label in labels(opened, task).items()} == before


def test_equal_bytes_with_two_labels_are_in_conflict_and_taught_to_nobody(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    said = dict.fromkeys(IMAGES, "bed") | {"home-01/copy.jpg": "sofa", "home-02/copy.jpg": "bed"}
    imported(opened, task, tmp_path / "a.jsonl", said)
    found = examples(opened, task)
    conflicting = {name for name, bad in zip(found.data.names, found.conflicts, strict=True) if bad}
    assert conflicting == {IMAGES[0], "home-01/copy.jpg", "home-02/copy.jpg"}
    for name, target, given in zip(found.data.names, found.data.targets, found.given, strict=True):
        assert bool(target == -1) is (name in conflicting)
        assert given >= 0
    (check,) = (c for c in found.checks if c.name == "conflicting_labels")
    assert "home-01/copy.jpg = sofa" in check.items[0]
    (shared,) = (c for c in found.checks if c.name == "duplicates_across_listings")
    assert len(shared.items) == 1


@pytest.mark.parametrize("task", ["multi"], indirect=True)
def test_a_conflict_about_one_class_leaves_the_others(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    said = {IMAGES[0]: "bed|lamp", "home-01/copy.jpg": "bed", IMAGES[4]: "lamp", IMAGES[5]: "sofa"}
    imported(opened, task, tmp_path / "a.jsonl", said)
    found = examples(opened, task)
    row = dict(zip(found.data.names, found.data.targets.tolist(), strict=True))
    columns = {name: i for i, name in enumerate(found.data.classes)}
    for image in (IMAGES[0], "home-01/copy.jpg"):
        assert row[image][columns["bed"]] == 1
        assert row[image][columns["lamp"]] == -1
        assert row[image][columns["sofa"]] == 0


def test_listings_and_shared_bytes_stay_together(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    said = dict.fromkeys(IMAGES, "bed") | {"home-01/copy.jpg": "bed"}
    imported(opened, task, tmp_path / "a.jsonl", said)
    data = examples(opened, task).data
    group = dict(zip(data.names, data.groups.tolist(), strict=True))
    assert len({group[image] for image in IMAGES[:3]}) == 1
    assert group[IMAGES[0]] == group["home-01/copy.jpg"] == group[IMAGES[3]]
    assert group[IMAGES[6]] != group[IMAGES[0]]
    assert len(np.unique(data.listings)) == 3


def test_the_fingerprint_changes_with_labels_and_with_nothing_else(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    said = {image: ("bed", "sofa")[i % 2] for i, image in enumerate(IMAGES)}
    imported(opened, task, tmp_path / "a.jsonl", said)
    first = examples(opened, task).fingerprint
    assert examples(opened, task).fingerprint == first
    imported(opened, task, tmp_path / "b.jsonl", dict(reversed(said.items())))
    assert examples(opened, task).fingerprint == first
    imported(opened, task, tmp_path / "c.jsonl", {IMAGES[0]: "sofa"})
    assert examples(opened, task).fingerprint != first
    imported(opened, task, tmp_path / "d.jsonl", {IMAGES[0]: "bed"})
    assert examples(opened, task).fingerprint == first
    imported(opened, task, tmp_path / "d.jsonl", {IMAGES[0]: "bed"}, more={"split": "test"})
    assert examples(opened, task).fingerprint != first


def test_without_labels_it_says_how_to_bring_some(opened: Project, task: Task) -> None:
    with pytest.raises(TrainingError, match=f"listlens labels import {task.name} FILE"):
        examples(opened, task)


def test_classes_that_look_alike_are_pointed_out(
    opened: Project, task: Task, tmp_path: Path
) -> None:
    imported(
        opened, task, tmp_path / "a.jsonl", {IMAGES[0]: "Living room", IMAGES[1]: "living_room"}
    )
    (check,) = (c for c in examples(opened, task).checks if c.name == "similar_classes")
    assert check.items == ("Living room / living_room",)
