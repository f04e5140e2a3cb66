"""Old answers under new classes, case by case, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from listlens.core.errors import InputError, LabelError, NotFoundError
from listlens.core.types import Answer, Kind, Status, Task
from listlens.store.contents import ContentRecord
from listlens.store.labels import NewAnnotation
from listlens.store.open import Store

Step = Callable[[Store, int], Task]
NOTHING = Answer((), (), "unknown")


def rename(old: str, new: str) -> Step:
    return lambda store, task: store.labels.rename_class(task, old, new)


def add(*names: str) -> Step:
    return lambda store, task: store.labels.add_classes(task, names)


def alias(name: str, *aliases: str) -> Step:
    return lambda store, task: store.labels.describe_class(task, name, aliases=aliases)


def merge(olds: str, new: str) -> Step:
    return lambda store, task: store.labels.map_class(task, "merge", olds.split(), [new])


def split(old: str, news: str) -> Step:
    return lambda store, task: store.labels.map_class(task, "split", [old], news.split())


def move(old: str, new: str) -> Step:
    return lambda store, task: store.labels.map_class(task, "move", [old], [new])


def subject(store: Store, n: int) -> int:
    sha = hashlib.sha256(str(n).encode()).hexdigest()
    return store.contents.save([ContentRecord(sha, 1, "JPEG", 1, 1, None, Status.OK)])[0]


def say(store: Store, task: int, content: int, answer: Answer, who: str = "ann") -> int:
    annotator = store.labels.annotator(who)
    return store.labels.annotate([NewAnnotation(task, "content", (content,), answer, annotator)])


def read(store: Store, task: int) -> list[Answer]:
    return [view.answer for view in store.labels.annotations(task)]


def open_names(task: Task) -> list[str]:
    return [c.name for c in task.classes]


SINGLE: dict[str, tuple[str, list[Step], str | None, str]] = {
    # answer given first; what happens to the classes; how it reads then; the open classes
    "renamed": ("a", [rename("a", "z")], "z", "z b c"),
    "renamed-twice": ("a", [rename("a", "y"), rename("y", "z")], "z", "z b c"),
    "renamed-and-back": ("a", [rename("a", "z"), rename("z", "a")], "a", "a b c"),
    "names-exchanged": (
        "a", [rename("a", "t"), alias("t"), rename("b", "a"), alias("a"), rename("t", "b")],
        "b", "b a c",
    ),
    "another-renamed": ("b", [rename("a", "z")], "b", "z b c"),
    "class-added": ("a", [add("d", "e")], "a", "a b c d e"),
    "merged-into-another": ("a", [merge("a b", "b")], "b", "b c"),
    "merged-into-a-new-one": ("a", [merge("a b", "ab")], "ab", "c ab"),
    "not-merged": ("c", [merge("a b", "ab")], "c", "c ab"),
    "merged-twice": ("a", [merge("a b", "ab"), merge("ab c", "abc")], "abc", "abc"),
    "moved": ("a", [move("a", "z")], "z", "b c z"),
    "moved-into-an-open-one": ("a", [move("a", "b")], "b", "b c"),
    "moved-in-a-circle": ("a", [move("a", "z"), move("z", "y"), rename("y", "a")], "a", "b c a"),
    "split": ("a", [split("a", "a1 a2")], None, "b c a1 a2"),
    "split-keeping-the-name": ("a", [split("a", "a a2")], None, "b c a a2"),
    "another-was-split": ("b", [split("a", "a1 a2")], "b", "b c a1 a2"),
    "split-then-merged-again": (
        "a", [split("a", "a1 a2"), merge("a1 a2", "whole")], "whole", "b c whole",
    ),
    "split-then-partly-merged": ("a", [split("a", "a1 a2"), merge("a1 b", "b")], None, "b c a2"),
    "merged-then-split": ("a", [merge("a b", "ab"), split("ab", "x y")], None, "c x y"),
    "moved-then-renamed": ("a", [move("a", "z"), rename("z", "last")], "last", "b c last"),
    "merged-by-an-alias": ("a", [alias("b", "bee"), merge("a", "bee")], "b", "b c"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "steps", "reads", "names"), SINGLE.values(), ids=SINGLE)
def test_a_single_answer_reads_under_todays_classes(
    store: Store, said: str, steps: list[Step], reads: str | None, names: str
) -> None:
    task = store.labels.add_task("room", "single", ["a", "b", "c"])
    content = subject(store, 1)
    say(store, task.task_id, content, Answer((said,)))
    version = task.taxonomy_version
    for step in steps:
        task = step(store, task.task_id)
        assert task.taxonomy_version >= version
        version = task.taxonomy_version
    assert open_names(task) == names.split()
    assert read(store, task.task_id) == [NOTHING if reads is None else Answer((reads,))]
    (view,) = store.labels.annotations(task.task_id)
    assert view.taxonomy_version < task.taxonomy_version  # it was not rewritten
    if reads is not None:
        assert say(store, task.task_id, content, Answer((reads,))) in (0, 1)
        assert read(store, task.task_id) == [Answer((reads,))]


def multi(yes: str = "", no: str = "", unlisted: str = "no") -> Answer:
    return Answer(tuple(yes.split()), tuple(no.split()), unlisted)  # type: ignore[arg-type]


MULTI: dict[str, tuple[Answer, list[Step], Answer]] = {
    "nothing-changed": (multi("a"), [], multi("a")),
    "renamed": (multi("a", "b"), [rename("a", "z"), rename("b", "y")], multi("z", "y")),
    "class-added": (multi("a"), [add("d")], multi("a", "b c", "unknown")),
    "class-added-to-none": (multi(), [add("d")], multi("", "a b c", "unknown")),
    "class-added-to-unknown": (
        multi("a", "b", "unknown"), [add("d")], multi("a", "b", "unknown"),
    ),
    "merge-yes-and-unlisted": (multi("a"), [merge("a b", "ab")], multi("ab", "c", "unknown")),
    "merge-both-yes": (multi("a b"), [merge("a b", "ab")], multi("ab", "c", "unknown")),
    "merge-neither": (multi("c"), [merge("a b", "ab")], multi("c", "ab", "unknown")),
    "merge-into-an-open-one": (multi("a"), [merge("a b", "b")], multi("b", "c", "unknown")),
    "merge-no-and-unknown": (
        multi("", "a", "unknown"), [merge("a b", "ab")], multi("", "", "unknown"),
    ),
    "merge-both-no": (multi("", "a b", "unknown"), [merge("a b", "ab")],
                      multi("", "ab", "unknown")),
    "split-yes": (multi("a b"), [split("a", "a1 a2")], multi("b", "c", "unknown")),
    "split-no": (multi("", "a", "unknown"), [split("a", "a1 a2")], multi("", "a1 a2", "unknown")),
    "split-unlisted": (multi("b"), [split("a", "a1 a2")], multi("b", "a1 a2 c", "unknown")),
    "split-then-merged-again": (
        multi("a"), [split("a", "a1 a2"), merge("a1 a2", "whole")],
        multi("whole", "b c", "unknown"),
    ),
    "moved": (multi("a"), [move("a", "z")], multi("z", "b c", "unknown")),
    "moved-then-added": (multi("a"), [move("a", "z"), add("d")], multi("z", "b c", "unknown")),
}  # fmt: skip


def as_sets(answer: Answer) -> tuple[set[str], set[str], str]:
    return set(answer.yes), set(answer.no), answer.unlisted


@pytest.mark.parametrize(("said", "steps", "reads"), MULTI.values(), ids=MULTI)
def test_a_multi_answer_reads_under_todays_classes(
    store: Store, said: Answer, steps: list[Step], reads: Answer
) -> None:
    task = store.labels.add_task("parts", "multi", ["a", "b", "c"])
    say(store, task.task_id, subject(store, 1), said)
    for step in steps:
        step(store, task.task_id)
    (found,) = read(store, task.task_id)
    assert as_sets(found) == as_sets(reads)


def test_answers_of_every_version_are_read_side_by_side(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"]).task_id
    for n, (name, step) in enumerate(
        [
            ("a", rename("a", "A")),
            ("A", merge("A b", "AB")),
            ("AB", add("c")),
            ("c", move("c", "d")),
        ]
    ):
        say(store, task, subject(store, n), Answer((name,)))
        step(store, task)
    assert [a.yes for a in read(store, task)] == [("AB",), ("AB",), ("AB",), ("d",)]
    versions = [view.taxonomy_version for view in store.labels.annotations(task)]
    assert versions == sorted(set(versions))


NAMES_TAKEN: dict[str, tuple[list[Step], Step, str]] = {
    "rename-to-an-open-class": ([], rename("a", "b"), "map them with 'merge'"),
    "rename-to-anothers-alias": ([alias("b", "bee")], rename("a", "bee"), "'merge'"),
    "alias-of-another-class": ([], alias("a", "b"), "already means another class"),
    "alias-of-anothers-alias": ([alias("b", "bee")], alias("a", "bee"), "another class"),
    "merge-to-itself": ([], merge("a", "a"), "changes nothing"),
    "merge-to-its-own-alias": ([alias("a", "ay")], merge("a", "ay"), "changes nothing"),
    "move-by-its-own-alias": ([alias("a", "ay")], move("ay", "a"), "changes nothing"),
    "split-into-one": ([], split("a", "x"), "one to several"),
    "split-into-the-same-twice": ([], split("a", "x x"), "one to several"),
    "empty-name": ([], rename("a", "  "), "not empty"),
}


@pytest.mark.parametrize(("before", "step", "says"), NAMES_TAKEN.values(), ids=NAMES_TAKEN)
def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(
    store: Store, before: list[Step], step: Step, says: str
) -> None:
    task = store.labels.add_task("room", "single", ["a", "b", "c"])
    for first in before:
        first(store, task.task_id)
    known = store.labels.task("room")
    with pytest.raises(InputError, match=says):
        step(store, task.task_id)
    assert store.labels.task("room") == known


@pytest.mark.parametrize(
    "step",
    [rename("x", "y"), merge("x a", "a"), split("x", "y z"), move("x", "a"), alias("x", "y")],
    ids=["rename", "merge", "split", "move", "alias"],
)
def test_a_class_that_is_not_there_is_answered_with_the_nearest(store: Store, step: Step) -> None:
    task = store.labels.add_task("room", "single", ["a", "xx"])
    with pytest.raises(NotFoundError, match=r"no class 'x'\. Did you mean 'xx'"):
        step(store, task.task_id)


def test_a_closed_class_cannot_be_answered_and_its_name_may_live_on(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"]).task_id
    store.labels.map_class(task, "split", ["a"], ["a1", "a2"])
    with pytest.raises(LabelError, match="unknown class 'a'"):
        say(store, task, subject(store, 1), Answer(("a",)))
    store.labels.map_class(task, "move", ["b"], ["c"])
    say(store, task, subject(store, 1), Answer(("b",)))  # a moved class's name is an alias
    assert read(store, task) == [Answer(("c",))]
    added = store.labels.add_classes(task, ["a"])
    assert open_names(added) == ["a1", "a2", "c", "a"]


def test_a_merged_class_answers_to_every_name_it_took_in(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["wc", "bath", "bed"]).task_id
    store.labels.describe_class(task, "wc", aliases=["toilet"])
    store.labels.rename_class(task, "bath", "bathroom")
    merged = store.labels.map_class(task, "merge", ["wc", "bathroom"], ["sanitary"])
    for n, name in enumerate(["wc", "toilet", "bath", "bathroom", "sanitary"]):
        say(store, task, subject(store, n), Answer((name,)))
    assert {a.yes for a in read(store, task)} == {("sanitary",)}
    assert set(merged.classes[-1].aliases) == {"wc", "toilet", "bath", "bathroom"}


def test_two_names_of_one_class_cannot_be_yes_and_no_at_once(store: Store) -> None:
    task = store.labels.add_task("parts", "multi", ["a", "b"]).task_id
    store.labels.describe_class(task, "a", aliases=["ay"])
    with pytest.raises(LabelError, match="two names of one class"):
        say(store, task, subject(store, 1), Answer(("a",), ("ay",)))
    assert say(store, task, subject(store, 1), Answer(("a", "ay"))) == 1
    assert read(store, task) == [Answer(("a",))]


def test_the_order_of_classes_is_the_order_they_were_added_in(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["z", "a", "z"])
    assert open_names(task) == ["z", "a"]
    task = store.labels.add_classes(task.task_id, ["m", "a", "b"])
    assert open_names(task) == ["z", "a", "m", "b"]
    task = store.labels.rename_class(task.task_id, "z", "last")
    assert open_names(task)[0] == "last"


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_tasks_do_not_share_classes(store: Store, kind: Kind) -> None:
    one = store.labels.add_task("one", kind, ["a"])
    two = store.labels.add_task("two", kind, ["a", "b"])
    store.labels.rename_class(one.task_id, "a", "z")
    assert open_names(store.labels.task("two")) == ["a", "b"]
    assert not {c.class_id for c in one.classes} & {c.class_id for c in two.classes}
    with pytest.raises(NotFoundError, match="no task with id"):
        store.labels.add_classes(max(one.task_id, two.task_id) + 100, ["x"])


@pytest.mark.parametrize("name", ["", " ", "\t"], ids=repr)
def test_a_task_or_class_without_a_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="not empty"):
        store.labels.add_task(name, "single")
    with pytest.raises(InputError, match="not empty"):
        store.labels.add_task("room", "single", ["a", name])
    with pytest.raises(InputError, match="kind 'many'"):
        store.labels.add_task("x", "many")  # type: ignore[arg-type]
