"""Label values of every syntax, paths that may mean several photos, and votes of several people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.errors import InputError, LabelError, NotFoundError
from listlens.core.types import Answer, Kind, Reason, RejectedRow
from listlens.labels.answers import parse_answer
from listlens.labels.consensus import consensus
from listlens.labels.files import LabelRow, Unlabelled, read_labels, similar_classes
from listlens.labels.match import Matcher, match_key
from listlens.labels.starter import StarterTags


def multi(yes: str = "", no: str = "", unlisted: str = "no") -> Answer:
    return Answer(tuple(yes.split()), tuple(no.split()), unlisted)  # type: ignore[arg-type]


SINGLE: dict[str, tuple[Any, Answer | str | None]] = {
    "word": ("bed", Answer(("bed",))),
    "words": ("living room", Answer(("living room",))),
    "spaces-around": ("  bed\t", Answer(("bed",))),
    "pipe": ("bed|bath", Answer(("bed|bath",))),
    "minus": ("-bed", Answer(("-bed",))),
    "bracket": ("[bed]", Answer(("[bed]",))),
    "umlaut": ("Küche", Answer(("Küche",))),
    "zero": (0, Answer(("0",))),
    "number": (17, Answer(("17",))),
    "whole-float": (3.0, Answer(("3",))),
    "fraction": (3.5, Answer(("3.5",))),
    "true": (True, Answer(("True",))),
    "list-of-one": (["bed"], Answer(("bed",))),
    "list-of-the-same": (["bed", " bed "], Answer(("bed",))),
    "empty": ("", None),
    "blank": (" \n", None),
    "empty-list": ([], None),
    "list-of-nothing": (["", None], None),
    "none": (None, None),
    "list-of-two": (["bed", "bath"], "one label is needed, 2 found"),
    "object": ({"name": "bed"}, "not an object"),
    "nested": ([["bed"]], "a text or a list of texts"),
}


@pytest.mark.parametrize(("value", "answer"), SINGLE.values(), ids=SINGLE)
def test_a_single_label_value(value: Any, answer: Answer | str | None) -> None:
    found = parse_answer(value, "single")
    if isinstance(answer, str):
        assert isinstance(found, str)
        assert answer in found
    else:
        assert found == answer


MULTI: dict[str, tuple[Any, Answer | str]] = {
    "one": ("bed", multi("bed")),
    "several": ("bed|lamp", multi("bed lamp")),
    "order-kept": ("lamp|bed", multi("lamp bed")),
    "spaces": (" bed  | lamp ", multi("bed lamp")),
    "twice": ("bed|bed| bed", multi("bed")),
    "empty-parts": ("|bed||", multi("bed")),
    "no": ("-bed", multi("", "bed")),
    "no-with-space": ("- bed", multi("", "bed")),
    "yes-and-no": ("bed|-lamp", multi("bed", "lamp")),
    "minus-inside": ("semi-detached", multi("semi-detached")),
    "minus-alone": ("-", multi()),
    "two-minuses": ("--bed", multi("", "-bed")),
    "comma-is-no-separator": ("a,b", Answer(("a,b",))),
    "json": ('["bed", "lamp"]', multi("bed lamp")),
    "json-with-no": ('["bed", "-lamp"]', multi("bed", "lamp")),
    "json-spaces": (' [ "bed" ] ', multi("bed")),
    "json-numbers": ("[1, 2.0]", multi("1 2")),
    "json-empty": ("[]", multi()),
    "json-null": ("[null]", multi()),
    "list": (["bed", "-lamp"], multi("bed", "lamp")),
    "list-with-pipes": (["a|b"], Answer(("a|b",))),
    "number": (3, multi("3")),
    "empty": ("", multi()),
    "blank": ("  ", multi()),
    "both": ("bed|-bed", "both yes and no: bed"),
    "both-of-two": ("a|b|-b|-a", "both yes and no: a, b"),
    "json-cut": ('["bed"', "not a JSON list"),
    "json-single-quotes": ("['bed']", "not a JSON list"),
    "json-nested": ('[["bed"]]', "a text or a list of texts"),
    "json-object-inside": ('[{"a": 1}]', "a text or a list of texts"),
    "json-too-deep": ("[" * 100_000, "not a JSON list"),
    "object": ({"bed": True}, "not an object"),
}


@pytest.mark.parametrize(("value", "answer"), MULTI.values(), ids=MULTI)
def test_a_multi_label_value(value: Any, answer: Answer | str) -> None:
    found = parse_answer(value, "multi")
    if isinstance(answer, str):
        assert isinstance(found, str)
        assert answer in found
        return
    assert found == answer
    unknown = parse_answer(value, "multi", "unknown")
    if answer.yes or answer.no:
        assert unknown == Answer(answer.yes, answer.no, "unknown")
    else:
        assert unknown is None


names = st.text(st.characters(codec="utf-8", exclude_characters="|[-"), min_size=1, max_size=8).map(
    str.strip
)
some_names = st.lists(names.filter(bool), max_size=5, unique=True)


@given(some_names, some_names)
def test_what_is_written_with_pipes_or_as_json_is_read_back(yes: list[str], no: list[str]) -> None:
    no = [name for name in no if name not in yes]
    written = [*yes, *(f"-{name}" for name in no)]
    for value in ("|".join(written), written, json.dumps(written)):
        if written:
            assert parse_answer(value, "multi") == Answer(tuple(yes), tuple(no))


@given(
    st.lists(st.sampled_from(["Bed room", "bedroom", "BED-ROOM", "bed_room", "bath", "Bath", "x"]))
)
def test_similar_classes_are_groups_of_two_or_more_that_share_no_name(classes: list[str]) -> None:
    groups = similar_classes(classes)
    named = [name for group in groups for name in group]
    assert len(named) == len(set(named))
    assert set(named) <= set(classes)
    assert all(len(group) > 1 for group in groups)
    assert similar_classes(reversed(classes)) == groups
    assert "x" not in named


PHOTOS = ["shop/1/a.jpg", "shop/2/a.jpg", "shop/2/b.jpg", "old/2/b.jpg", "c.d.jpg", "e.jpg",
          "sub/e.jpg", "17.jpg", "x/17.png", "Ä b.jpg", "100%.jpg"]  # fmt: skip
MATCHES: dict[str, tuple[str, str | None, str | Reason]] = {
    # as written, listing; the photo, or why there is none
    "exact": ("shop/1/a.jpg", None, "shop/1/a.jpg"),
    "exact-wins-over-tail": ("e.jpg", None, "e.jpg"),
    "tail": ("1/a.jpg", None, "shop/1/a.jpg"),
    "longer": ("/data/shop/2/b.jpg", None, "shop/2/b.jpg"),
    "windows": (r"D:\x\shop\1\a.jpg", None, "shop/1/a.jpg"),
    "dots-in-the-name": ("c.d.jpg", None, "c.d.jpg"),
    "without-suffix-but-dotted": ("c.d", None, Reason.MISSING),
    "decomposed": ("A\u0308 b.jpg", None, "Ä b.jpg"),
    "url-decoded": ("%C3%84%20b.jpg", None, "Ä b.jpg"),
    "a-percent-sign-that-is-one": ("100%.jpg", None, "100%.jpg"),
    "two-tails": ("a.jpg", None, Reason.BAD_ROW),
    "two-tails-and-the-listing": ("a.jpg", "1", "shop/1/a.jpg"),
    "listing-of-another": ("a.jpg", "9", Reason.BAD_ROW),
    "listing-is-a-folder-name-in-full": ("a.jpg", "sho", Reason.BAD_ROW),
    "two-folders": ("2/b.jpg", None, Reason.BAD_ROW),
    "two-folders-and-the-listing": ("2/b.jpg", "old", "old/2/b.jpg"),
    "stem-of-two": ("17", None, Reason.BAD_ROW),
    "half-a-folder": ("op/1/a.jpg", None, Reason.MISSING),
    "half-a-name": ("b.jp", None, Reason.MISSING),
    "other-suffix": ("e.png", None, Reason.MISSING),
    "other-case": ("E.JPG", None, Reason.MISSING),
    "a-folder": ("shop/1", None, Reason.MISSING),
    "nothing": ("", None, Reason.MISSING),
}


@pytest.mark.parametrize(("image", "listing", "found"), MATCHES.values(), ids=MATCHES)
def test_a_photo_is_found_or_nothing_is_guessed(
    image: str, listing: str | None, found: str | Reason
) -> None:
    result = Matcher(PHOTOS).resolve(image, listing, "l.csv:3")
    if isinstance(found, Reason):
        assert isinstance(result, RejectedRow)
        assert (result.reason, result.at) == (found, "l.csv:3")
        assert repr(image) in result.detail
    else:
        assert result == found


@given(st.permutations(PHOTOS), st.sampled_from(PHOTOS))
def test_the_order_of_photos_does_not_change_what_is_found(order: list[str], image: str) -> None:
    one, two = Matcher(PHOTOS), Matcher(order)
    for text in (image, f"/root/{image}", image.rpartition("/")[2], image.rpartition(".")[0]):
        assert one.resolve(text) == two.resolve(text)
    assert one.resolve(image) == image
    assert match_key(match_key(image)) == match_key(image)


votes = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cy", "di"]), st.sampled_from("abc")), max_size=8
)


@given(votes, st.permutations("abc"))
def test_renaming_classes_renames_the_label_and_changes_nothing_else(
    given_votes: list[tuple[str, str]], renamed: list[str]
) -> None:
    to = dict(zip("abc", renamed, strict=True))
    one = consensus("single", [(who, Answer((name,))) for who, name in given_votes])
    two = consensus("single", [(who, Answer((to[name],))) for who, name in given_votes])
    if one is None or two is None:
        assert one is two
        return
    assert [to[name] for name in one.yes] == list(two.yes)
    assert {to[name] for name in one.tied} == set(two.tied)
    assert (one.confidence, one.n_annotators) == (two.confidence, two.n_annotators)


VOTES: dict[str, tuple[Kind, list[Answer], tuple[str, str, str], float]] = {
    # kind, answers of ann, bob, ...; yes, no, tied; confidence
    "one-person": ("single", [Answer(("a",))], ("a", "", ""), 1.0),
    "two-of-three": ("single", [Answer((n,)) for n in "aab"], ("a", "", ""), 2 / 3),
    "most-but-no-majority": ("single", [Answer((n,)) for n in "aabc"], ("a", "", ""), 0.5),
    "tie": ("single", [Answer((n,)) for n in "ab"], ("", "", "ab"), 0.0),
    "tie-of-three": ("single", [Answer((n,)) for n in "cab"], ("", "", "abc"), 0.0),
    "tie-at-the-top-only": ("single", [Answer((n,)) for n in "aabbc"], ("", "", "ab"), 0.0),
    "silence-does-not-vote": ("single", [Answer(("a",)), Answer(())], ("a", "", ""), 1.0),
    "multi-all-agree": ("multi", [multi("a b"), multi("b a")], ("ab", "", ""), 1.0),
    "left-out-is-no": ("multi", [multi("a"), multi("a b"), multi("a")], ("a", "b", ""), 2 / 3),
    "unknown-abstains": ("multi", [multi("a", "", "unknown"), multi("b", "", "unknown")],
                         ("ab", "", ""), 1.0),
    "named-no-against-yes": ("multi", [multi("a"), multi("", "a", "unknown")], ("", "", "a"), 0.0),
    "tie-beside-a-decision": ("multi", [multi("a b"), multi("a")], ("a", "", "b"), 1.0),
    "none-of-them-against-one": ("multi", [multi(), multi("a")], ("", "", "a"), 0.0),
    "none-of-them-wins": ("multi", [multi(), multi(), multi("a")], ("", "a", ""), 2 / 3),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "answers", "label", "sure"), VOTES.values(), ids=VOTES)
def test_votes_come_to_a_label_whatever_the_order(
    kind: Kind, answers: list[Answer], label: tuple[str, str, str], sure: float
) -> None:
    people = list(enumerate(answers))
    for order in (people, people[::-1]):
        found = consensus(kind, order)
        assert found is not None
        joined = tuple("".join(part) for part in (found.yes, found.no, found.tied))
        assert joined == label
        assert found.confidence == pytest.approx(sure)
        assert found.conflict == bool(label[2])


FILES: dict[str, tuple[str, str]] = {
    "csv": ("l.csv", "image,label,listing_id,split\na.jpg,x,7,train\nb.jpg,,,\n,x,,\n"
            "c.jpg,y,,odd\n"),
    "jsonl": ("l.jsonl", '{"image": "a.jpg", "label": "x", "listing_id": 7, "split": "Training"}\n'
              '{"image": "b.jpg", "label": null}\n{"label": "x"}\n'
              '{"image": "c.jpg", "label": "y", "split": "odd"}\n'),
    "json": ("l.json", '{"of": "shop", "rows": [{"image": "a.jpg", "label": "x", "listing_id": 7.0,'
             ' "split": "train"}, {"image": "b.jpg"}, {"label": "x"},'
             ' {"image": "c.jpg", "label": "y", "split": "odd"}]}'),
    "tsv": ("l.tsv", "Image\tLABEL\tListing ID\tSplit\na.jpg\tx\t7\ttraining\nb.jpg\t\t\t\n"
            "\tx\t\t\nc.jpg\ty\t\todd\n"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), FILES.values(), ids=FILES)
def test_the_same_labels_in_any_format(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    file = read_labels(tmp_path / name)
    good, empty, no_image, odd = file.rows()
    assert (file.kind, file.guessed) == ("single", True)
    assert isinstance(good, LabelRow)
    assert (good.image, good.listing_id, good.answer, good.split) == (
        "a.jpg", "7", Answer(("x",)), "train",
    )  # fmt: skip
    assert good.at.startswith(f"{name}:")
    assert isinstance(empty, Unlabelled)
    assert empty.image == "b.jpg"
    assert isinstance(no_image, RejectedRow)
    assert "empty" in no_image.detail
    assert isinstance(odd, RejectedRow)
    assert "unknown split 'odd'" in odd.detail


@pytest.mark.parametrize(
    ("name", "text", "error", "says"),
    [
        ("l.csv", "", InputError, "no header"),
        ("l.csv", "image,room\na,b\n", LabelError, "--label COLUMN"),
        ("l.csv", "bild,label\na,b\n", LabelError, "--map image=COLUMN"),
        ("l.pdf", "x", InputError, "not a table by its name"),
        ("l.json", "{}", InputError, "holds no rows"),
        (None, "", LabelError, "no label file"),
    ],
    ids=["empty", "no label", "no photo", "no table", "no rows", "absent"],
)
def test_a_file_that_holds_no_labels_says_what_to_do(
    tmp_path: Path, name: str | None, text: str, error: type[Exception], says: str
) -> None:
    path = tmp_path / (name or "none.csv")
    if name:
        path.write_text(text)
    with pytest.raises(error, match=says):
        list(read_labels(path).rows())


def test_one_bad_row_does_not_end_the_file(tmp_path: Path) -> None:
    lines = ["image,labels", "a.jpg,x", "short", 'b.jpg,"[x"', "c.jpg,y|-y", "d.jpg,-x|y"]
    (tmp_path / "l.csv").write_text("\n".join(lines) + "\n")
    rows = list(read_labels(tmp_path / "l.csv").rows())
    kinds = [type(row) for row in rows]
    assert kinds == [LabelRow, RejectedRow, RejectedRow, RejectedRow, LabelRow]
    places = [row.at for row in rows]
    assert places == [f"l.csv:{n}" for n in range(2, 7)]


def test_every_starter_word_has_its_own_column_and_is_found_by_name() -> None:
    tags = StarterTags.load()
    assert [tags.column(name) for name in tags.names] == list(range(len(tags.names)))
    assert StarterTags.load() == tags
    for wrong in ("", "BED", tags.names[0] + "x"):
        with pytest.raises(NotFoundError, match="no starter tag is called"):
            tags.column(wrong)
    assert similar_classes(tags.names) == []
