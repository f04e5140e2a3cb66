"""Trees and scales in the store, on SQLite and PostgreSQL: what is kept, what may change."""

from __future__ import annotations

import hashlib

import pytest

from listlens.core.errors import InputError, LabelError, NotFoundError
from listlens.core.types import Answer, Status, Task
from listlens.store.contents import ContentRecord
from listlens.store.labels import NewAnnotation
from listlens.store.open import Store
from listlens.store.tasks import MapKind

NOTHING = Answer((), (), "unknown")
PATHS = ("Fruit > Apple", "Fruit > Pear", "Veg > Leek")


def contents(store: Store, n: int) -> list[int]:
    shas = [hashlib.sha256(bytes([i])).hexdigest() for i in range(n)]
    return store.contents.save([ContentRecord(s, 1, "JPEG", 1, 1, None, Status.OK) for s in shas])


def say(store: Store, task: Task, answers: list[Answer], who: str = "ann") -> int:
    annotator = store.labels.annotator(who)
    subjects = contents(store, len(answers))
    return store.labels.annotate([
        NewAnnotation(task.task_id, "content", (content,), answer, annotator)
        for content, answer in zip(subjects, answers, strict=True)
    ])  # fmt: skip


def read(store: Store, task: Task) -> list[Answer]:
    return [view.answer for view in store.labels.annotations(task.task_id)]


def names(task: Task) -> list[str]:
    return [c.name for c in task.classes]


def tree(store: Store) -> Task:
    return store.labels.add_task("shelf", "tree", PATHS)


def scale(store: Store) -> Task:
    return store.labels.add_task("look", "score", ("1", "2", "3"))


def test_a_tree_brings_what_stands_above_its_nodes(store: Store) -> None:
    task = tree(store)
    assert names(task) == ["Fruit", "Fruit > Apple", "Fruit > Pear", "Veg", "Veg > Leek"]
    more = store.labels.add_classes(task.task_id, ["Nuts > Hazel > Roast", "Fruit"])
    assert names(more)[5:] == ["Nuts", "Nuts > Hazel", "Nuts > Hazel > Roast"]
    assert more.taxonomy_version == task.taxonomy_version + 1
    assert store.labels.add_classes(task.task_id, ["Nuts > Hazel"]) == more


def test_nodes_and_votes_come_back_as_they_were_given(store: Store) -> None:
    nodes = [Answer(("Fruit > Pear",)), Answer(("Fruit",)), Answer(("Veg > Leek",))]
    assert say(store, tree(store), nodes) == 3
    assert read(store, store.labels.task("shelf")) == nodes
    votes = [
        Answer((), votes=(("1", 2.0), ("3", 0.5))),
        Answer((), votes=(("2", 1.0),)),
        Answer((), votes=(("1", 1e-3), ("2", 12.0), ("3", 7.25))),
    ]
    assert say(store, scale(store), votes) == 3
    assert say(store, scale(store), votes) == 0
    assert read(store, store.labels.task("look")) == votes


OF_ANOTHER_KIND = [
    ("tree", Answer(("Fruit > Plum",)), "unknown class 'Fruit > Plum'. Did you mean"),
    ("tree", Answer(("Fruit > Apple", "Veg > Leek")), "a tree task takes one class"),
    ("tree", Answer((), votes=(("Fruit", 1.0),)), "votes are for score tasks"),
    ("score", Answer((), votes=(("4", 1.0),)), "unknown class '4'"),
    ("score", Answer(("1",)), "votes are for score tasks"),
]


def test_an_answer_of_another_kind_is_refused_and_nothing_is_stored(store: Store) -> None:
    tasks = {"tree": tree(store), "score": scale(store)}
    good = {"tree": Answer(("Veg",)), "score": Answer((), votes=(("1", 1.0),))}
    for kind, answer, says in OF_ANOTHER_KIND:
        with pytest.raises(LabelError, match=says):
            say(store, tasks[kind], [good[kind], answer])
        assert read(store, tasks[kind]) == []


def test_a_leaf_that_moves_brings_its_answers_and_what_stands_above(store: Store) -> None:
    task = tree(store)
    say(store, task, [Answer(("Fruit > Apple",)), Answer(("Fruit",))])
    moved = store.labels.map_class(task.task_id, "move", ["Fruit > Apple"], ["Nuts > Hazel"])
    assert set(names(moved)) == {
        "Fruit", "Fruit > Pear", "Veg", "Veg > Leek", "Nuts", "Nuts > Hazel",
    }  # fmt: skip
    assert read(store, task) == [Answer(("Nuts > Hazel",)), Answer(("Fruit",))]
    say(store, moved, [Answer(("Nuts",))], who="bob")
    assert Answer(("Nuts",)) in read(store, task)


def test_leaves_merge_into_the_node_above_them(store: Store) -> None:
    task = tree(store)
    say(store, task, [Answer(("Fruit > Apple",)), Answer(("Fruit > Pear",))])
    both = ["Fruit > Apple", "Fruit > Pear"]
    merged = store.labels.map_class(task.task_id, "merge", [*both, "Fruit"], ["Fruit"])
    assert names(merged) == ["Fruit", "Veg", "Veg > Leek"]
    assert read(store, task) == [Answer(("Fruit",))] * 2


def test_a_split_leafs_answers_wait_for_a_person(store: Store) -> None:
    task = tree(store)
    say(store, task, [Answer(("Veg > Leek",)), Answer(("Veg",))])
    news = ["Veg > Leek > Young", "Veg > Leek > Old"]
    found = store.labels.map_class(task.task_id, "split", ["Veg > Leek"], news)
    assert names(found)[-3:] == ["Veg > Leek", *news]
    assert read(store, task) == [NOTHING, Answer(("Veg",))]


MAPS_OF_NODES: list[tuple[MapKind, list[str], list[str], str]] = [
    ("move", ["Veg"], ["Greens"], "'Veg' has 'Veg > Leek' below it"),
    ("merge", ["Fruit", "Fruit > Apple"], ["Veg"], "'Fruit' has 'Fruit > Pear' below it"),
    ("split", ["Fruit"], ["Stone", "Pome"], "'Fruit' has 'Fruit > Apple' below it"),
    ("move", ["Fruit > Pear"], ["Fruit > "], "without a name"),
]


def test_no_node_is_left_without_what_stands_above_it(store: Store) -> None:
    task = tree(store)
    for how, olds, news, says in MAPS_OF_NODES:
        with pytest.raises(InputError, match=says):
            store.labels.map_class(task.task_id, how, olds, news)
    assert store.labels.task("shelf") == task


RENAMES = [
    ("Fruit", "Obst", "only the last name of a leaf can change"),
    ("Fruit > Pear", "Veg > Pear", "only the last name of a leaf can change"),
    ("Fruit > Pear", "Fruit > ", "without a name"),
    ("Fruit > Pear", "Fruit > Apple", "exists"),
]


def test_a_node_keeps_its_place_when_it_gets_another_name(store: Store) -> None:
    task = tree(store)
    for old, new, says in RENAMES:
        with pytest.raises(InputError, match=says):
            store.labels.rename_class(task.task_id, old, new)
    assert store.labels.task("shelf") == task
    renamed = store.labels.rename_class(task.task_id, "Fruit > Pear", "Fruit > Birne")
    assert names(renamed)[2] == "Fruit > Birne"


MAPS_OF_STEPS: list[tuple[MapKind, list[str], list[str]]] = [
    ("merge", ["1", "2"], ["2"]),
    ("move", ["3"], ["9"]),
    ("split", ["1"], ["0", "0.5"]),
]


def test_a_scale_does_not_change(store: Store) -> None:
    task = scale(store)
    votes = [Answer((), votes=(("1", 1.0), ("2", 3.0), ("3", 1.0)))]
    say(store, task, votes)
    for how, olds, news in MAPS_OF_STEPS:
        with pytest.raises(InputError, match="a scale does not change"):
            store.labels.map_class(task.task_id, how, olds, news)
    with pytest.raises(InputError, match="no step of the scale 1, 2, 3"):
        store.labels.add_classes(task.task_id, ["1", "4"])
    with pytest.raises(InputError, match="keeps its name"):
        store.labels.rename_class(task.task_id, "1", "one")
    with pytest.raises(NotFoundError, match="no class '9'"):
        store.labels.rename_class(task.task_id, "9", "10")
    assert store.labels.task("look") == task
    assert read(store, task) == votes


def test_a_score_without_a_scale_leaves_no_task_behind(store: Store) -> None:
    for steps in ((), ("1",), ("2", "1"), ("a", "b")):
        with pytest.raises(InputError, match="increasing numbers"):
            store.labels.add_task("look", "score", steps)
    assert store.labels.tasks() == []


def test_a_tree_takes_no_nameless_level(store: Store) -> None:
    task = tree(store)
    for path in ("", " > a", "a > ", "a >  > b"):
        with pytest.raises(InputError, match="without a name"):
            store.labels.add_classes(task.task_id, ["Bread", path])
    assert store.labels.task("shelf") == task
