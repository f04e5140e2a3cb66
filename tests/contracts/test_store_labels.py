"""Tasks, taxonomies and annotations behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from listlens.core.errors import InputError, LabelError, NotFoundError
from listlens.core.types import Answer, Status
from listlens.store.contents import ContentRecord
from listlens.store.labels import NewAnnotation
from listlens.store.open import Store

NOTHING = Answer((), (), "unknown")


@pytest.fixture
def contents(store: Store) -> list[int]:
    shas = [hashlib.sha256(bytes([i])).hexdigest() for i in range(5)]
    return store.contents.save(
        [ContentRecord(sha, 1, "JPEG", 1, 1, None, Status.OK) for sha in shas]
    )


def says(task_id: int, content_id: int, answer: Answer, who: int, **more: Any) -> NewAnnotation:
    return NewAnnotation(task_id, "content", (content_id,), answer, who, **more)


def answers(store: Store, task_id: int) -> list[Answer]:
    return [view.answer for view in store.labels.annotations(task_id, batch=2)]


def test_a_task_is_added_once_and_found_by_name(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["bath", "bed"])
    assert [c.name for c in task.classes] == ["bath", "bed"]
    assert store.labels.add_task("room", "single") == task
    assert store.labels.task("room") == task
    assert store.labels.tasks() == [task]
    with pytest.raises(InputError, match="'single', not 'multi'"):
        store.labels.add_task("room", "multi")


def test_an_unknown_task_names_the_nearest(store: Store) -> None:
    store.labels.add_task("room", "single")
    with pytest.raises(NotFoundError, match="Did you mean 'room'"):
        store.labels.task("rom")


def test_every_change_of_classes_is_a_version(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["bath"])
    more = store.labels.add_classes(task.task_id, ["bath", "bed"])
    assert more.taxonomy_version == task.taxonomy_version + 1
    assert store.labels.add_classes(task.task_id, ["bed"]) == more


def test_renaming_keeps_the_id_and_the_old_name_as_alias(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("room", "single", ["bath", "bed"])
    who = store.labels.annotator("ann")
    store.labels.annotate([says(task.task_id, contents[0], Answer(("bath",)), who)])
    renamed = store.labels.rename_class(task.task_id, "bath", "bathroom")
    assert renamed.classes[0].class_id == task.classes[0].class_id
    assert (renamed.classes[0].name, renamed.classes[0].aliases) == ("bathroom", ("bath",))
    assert answers(store, task.task_id) == [Answer(("bathroom",))]
    store.labels.annotate([says(task.task_id, contents[1], Answer(("bath",)), who)])
    assert answers(store, task.task_id) == [Answer(("bathroom",))] * 2
    with pytest.raises(InputError, match="merge"):
        store.labels.rename_class(task.task_id, "bathroom", "bed")


def test_classes_carry_descriptions_and_aliases(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["bath", "bed"])
    task = store.labels.describe_class(
        task.task_id, "bed", description="where one sleeps", aliases=["bedroom"]
    )
    assert task.classes[1].description == "where one sleeps"
    assert task.classes[1].aliases == ("bedroom",)
    with pytest.raises(InputError, match="another class"):
        store.labels.describe_class(task.task_id, "bath", aliases=["bedroom"])


def test_importing_again_appends_nothing(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"])
    who = store.labels.annotator("ann")
    rows = [says(task.task_id, pk, Answer(("a",)), who, split="test", group="g") for pk in contents]
    assert store.labels.annotate(rows) == 5
    assert store.labels.annotate(rows) == 0
    (view, *_) = store.labels.annotations(task.task_id)
    assert (view.split, view.group, view.subject_ids) == ("test", "g", (contents[0],))


def test_the_latest_answer_of_each_annotator_counts(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"])
    ann, bob = store.labels.annotator("ann"), store.labels.annotator("bob")
    for who, name in ((ann, "a"), (bob, "a"), (ann, "b"), (ann, "a")):
        store.labels.annotate([says(task.task_id, contents[0], Answer((name,)), who)])
    found = {v.annotator_id: v.answer.yes for v in store.labels.annotations(task.task_id)}
    assert found == {ann: ("a",), bob: ("a",)}


def test_within_one_import_the_last_of_two_answers_counts_each_time(
    store: Store, contents: list[int]
) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"])
    who = store.labels.annotator("ann")
    rows = [says(task.task_id, contents[0], Answer((name,)), who) for name in "ab"]
    assert store.labels.annotate(rows) == 1
    assert store.labels.annotate(rows) == 0
    assert answers(store, task.task_id) == [Answer(("b",))]


def test_an_unknown_class_stores_nothing_and_says_where(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("room", "single", ["bath", "bed"])
    who = store.labels.annotator("ann")
    rows = [
        says(task.task_id, contents[0], Answer(("bed",)), who),
        says(task.task_id, contents[1], Answer(("bad",)), who, at="l.csv:3"),
    ]
    with pytest.raises(LabelError, match=r"l.csv:3: unknown class 'bad'. Did you mean 'b"):
        store.labels.annotate(rows)
    assert answers(store, task.task_id) == []


def test_a_single_task_takes_one_class(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"])
    who = store.labels.annotator("ann")
    with pytest.raises(LabelError, match="one class"):
        store.labels.annotate([says(task.task_id, contents[0], Answer(("a", "b")), who)])


def test_merged_classes_read_as_the_target(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("room", "single", ["wc", "bath", "bed"])
    who = store.labels.annotator("ann")
    given = [
        says(task.task_id, contents[i], Answer((n,)), who) for i, n in enumerate(["wc", "bed"])
    ]
    store.labels.annotate(given)
    merged = store.labels.map_class(task.task_id, "merge", ["wc", "bath"], ["bath"])
    assert [c.name for c in merged.classes] == ["bath", "bed"]
    assert answers(store, task.task_id) == [Answer(("bath",)), Answer(("bed",))]
    assert store.labels.annotate(given) == 1  # "wc" now means bath, which is another class
    assert answers(store, task.task_id) == [Answer(("bed",)), Answer(("bath",))]


def test_split_classes_become_unknown_until_answered_again(
    store: Store, contents: list[int]
) -> None:
    task = store.labels.add_task("room", "single", ["bed", "bath"])
    who = store.labels.annotator("ann")
    for pk, name in zip(contents, ["bed", "bath"], strict=False):
        store.labels.annotate([says(task.task_id, pk, Answer((name,)), who)])
    split = store.labels.map_class(task.task_id, "split", ["bed"], ["bed", "kids"])
    assert [c.name for c in split.classes] == ["bath", "bed", "kids"]
    assert split.classes[1].class_id != task.classes[0].class_id
    assert answers(store, task.task_id) == [NOTHING, Answer(("bath",))]
    store.labels.annotate([says(task.task_id, contents[0], Answer(("kids",)), who)])
    assert set(answers(store, task.task_id)) == {Answer(("bath",)), Answer(("kids",))}


def test_maps_follow_one_another(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"])
    who = store.labels.annotator("ann")
    store.labels.annotate([says(task.task_id, contents[0], Answer(("a",)), who)])
    store.labels.map_class(task.task_id, "move", ["a"], ["c"])
    store.labels.map_class(task.task_id, "merge", ["c", "b"], ["d"])
    store.labels.rename_class(task.task_id, "d", "e")
    assert answers(store, task.task_id) == [Answer(("e",))]


def test_a_map_must_fit_its_kind(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"])
    with pytest.raises(InputError, match="one to several"):
        store.labels.map_class(task.task_id, "split", ["a"], ["b"])
    with pytest.raises(InputError, match="changes nothing"):
        store.labels.map_class(task.task_id, "merge", ["a"], ["a"])
    with pytest.raises(NotFoundError, match="no class 'x'"):
        store.labels.map_class(task.task_id, "merge", ["x"], ["a"])


def test_what_is_not_listed_says_nothing_of_classes_added_later(
    store: Store, contents: list[int]
) -> None:
    task = store.labels.add_task("parts", "multi", ["door", "wheel"])
    who = store.labels.annotator("ann")
    row = says(task.task_id, contents[0], Answer(("door",)), who)
    store.labels.annotate([row])
    store.labels.add_classes(task.task_id, ["lamp"])
    assert answers(store, task.task_id) == [Answer(("door",), ("wheel",), "unknown")]
    assert store.labels.annotate([row]) == 1  # said again, now with lamp among the choices
    assert store.labels.annotate([row]) == 0
    assert answers(store, task.task_id) == [Answer(("door",))]


def test_a_merged_class_is_no_only_if_all_its_parts_were(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("parts", "multi", ["a", "b", "c"])
    who = store.labels.annotator("ann")
    given = [
        Answer(("c",), ("a",), "unknown"),
        Answer(("c",), ("a", "b"), "unknown"),
        Answer(("b",), ("a",), "unknown"),
    ]
    store.labels.annotate(
        [says(task.task_id, pk, a, who) for pk, a in zip(contents, given, strict=False)]
    )
    store.labels.map_class(task.task_id, "merge", ["a", "b"], ["ab"])
    assert answers(store, task.task_id) == [
        Answer(("c",), (), "unknown"),
        Answer(("c",), ("ab",), "unknown"),
        Answer(("ab",), (), "unknown"),
    ]


def test_pairs_and_listings_are_subjects_too(store: Store, contents: list[int]) -> None:
    task = store.labels.add_task("nice", "single", ["yes"])
    who = store.labels.annotator("ann")
    rows = [
        NewAnnotation(task.task_id, "pair", contents[:2], Answer(("yes",)), who),
        NewAnnotation(task.task_id, "listing", [1], Answer(("yes",)), who),
    ]
    assert store.labels.annotate(rows) == 2
    found = [(v.subject_kind, v.subject_ids) for v in store.labels.annotations(task.task_id)]
    assert found == [("pair", tuple(contents[:2])), ("listing", (1,))]
    with pytest.raises(InputError, match="a pair cannot be"):
        NewAnnotation(task.task_id, "pair", [1], Answer(("yes",)), who)
