"""What would change under another model, against counting by hand."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listlens.core.types import Policy
from listlens.evaluate.upgrade import DOWN, EXAMPLES, UP, Said, Tally
from listlens.evaluate.upgrade_page import in_words, write_upgrade
from listlens.learn.policies import answers, decide

NAMES = ("attic", "bath", "cellar")
TREE = ("In > Attic", "In > Bath", "Out")
SCALE = ("1", "2", "3")


def policy(k: int, at: float = 0.5) -> Policy:
    return Policy((at,) * k, (at,) * k, (min(at + 0.2, 1.0),) * k)


def said(kind: Any, classes: tuple[str, ...], probs: np.ndarray, at: float = 0.5) -> Said:
    return Said(classes, probs, answers(probs, policy(len(classes), at), kind, classes))


def drawn(n: int, k: int, seed: int, *, one: bool = True) -> np.ndarray:
    probs = np.random.default_rng(seed).random((n, k)) ** 3
    return probs / probs.sum(axis=1, keepdims=True) if one else probs


@pytest.mark.parametrize("block", [1, 7, 60])
@pytest.mark.parametrize(("kind", "classes"), [("single", NAMES), ("tree", TREE)])
def test_one_class_a_picture_is_counted_as_by_hand(
    kind: Any, classes: tuple[str, ...], block: int
) -> None:
    n, at = 60, 0.6
    probs = [drawn(n, 3, seed) for seed in (1, 2)]
    tally = Tally(kind)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        ids = list(range(100 + start, 100 + start + len(probs[0][rows])))
        tally.add(ids, *(said(kind, classes, p[rows], at) for p in probs))
    found = tally.result()

    decisions = [decide(p, policy(3, at), kind, classes) for p in probs]
    names = [[d.classes[0] if d.classes else "none" for d in side] for side in decisions]
    flips = Counter((a, b) for a, b in zip(*names, strict=True) if a != b)
    assert {(f.first, f.second): f.n for f in found.flips} == dict(flips)
    assert found.n == n
    assert found.n_changed == sum(flips.values())
    assert (found.review_before, found.review_after) == tuple(
        sum(d.review for d in side) for side in decisions
    )
    for c in found.classes:
        assert (c.before, c.after) == (names[0].count(c.name), names[1].count(c.name))
        assert c.gained == sum(m for (_, b), m in flips.items() if b == c.name)
        assert c.lost == sum(m for (a, _), m in flips.items() if a == c.name)
        assert c.after - c.before == c.gained - c.lost
    assert sum(c.after for c in found.classes) == n


def test_the_photos_kept_of_a_flip_are_those_that_change_most() -> None:
    n = 50
    sure = np.linspace(0.51, 0.99, n)
    first = np.stack([sure, 1 - sure], axis=1)
    both = [said("single", ("a", "b"), p) for p in (first, first[:, ::-1].copy())]
    tally = Tally("single")
    order = np.random.default_rng(0).permutation(n)
    for at in order.tolist():
        one = [Said(s.classes, s.probs[[at]], s.decided.rows(np.array([at]))) for s in both]
        tally.add([at], *one)
    (flip,) = tally.result().flips
    assert (flip.first, flip.second, flip.n) == ("a", "b", n)
    assert [e.content_id for e in flip.examples] == list(range(n - 1, n - 1 - EXAMPLES, -1))
    assert flip.examples[0].size == pytest.approx(2 * 0.99 - 1)


def test_any_number_of_classes_is_counted_a_class_at_a_time() -> None:
    n = 40
    probs = [drawn(n, 3, seed, one=False) for seed in (3, 4)]
    tally = Tally("multi")
    tally.add(list(range(n)), *(said("multi", NAMES, p) for p in probs))
    found = tally.result()
    given = [p >= 0.5 for p in probs]
    for at, name in enumerate(NAMES):
        move = next(c for c in found.classes if c.name == name)
        assert (move.before, move.after) == tuple(int(g[:, at].sum()) for g in given)
        assert move.gained == int((given[1][:, at] & ~given[0][:, at]).sum())
        gained = next((f.n for f in found.flips if f.second == name), 0)
        assert gained == move.gained
        assert next((f.n for f in found.flips if f.first == name), 0) == move.lost
    assert found.n_changed == int((given[0] != given[1]).any(axis=1).sum())


def test_scores_flip_where_they_move_by_a_tenth_of_the_scale() -> None:
    first = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0.5, 0.5]], float)
    second = np.array([[0.5, 0.5, 0], [0, 0.95, 0.05], [0.5, 0.5, 0], [0, 0.5, 0.5]], float)
    tally = Tally("score")
    tally.add([1, 2, 3, 4], said("score", SCALE, first), said("score", SCALE, second))
    found = tally.result()
    assert {(f.second, f.n) for f in found.flips} == {(UP, 1), (DOWN, 1)}
    up = next(f for f in found.flips if f.second == UP)
    assert [(e.content_id, e.first, e.second) for e in up.examples] == [(1, "1.00", "1.50")]
    assert found.n_changed == 2
    assert sum(c.before for c in found.classes) == sum(c.after for c in found.classes) == 4
    assert (found.review_before, found.review_after) == (0, 0)


def test_a_class_that_only_one_model_knows_is_gained_or_lost() -> None:
    first = said("single", ("a", "b"), np.array([[0.9, 0.1], [0.1, 0.9]]))
    second = said("single", ("b", "c"), np.array([[0.1, 0.9], [0.8, 0.2]]))
    tally = Tally("single")
    tally.add([1, 2], first, second)
    found = {c.name: (c.before, c.after) for c in tally.result().classes}
    assert found == {"a": (1, 0), "b": (1, 1), "c": (0, 1)}
    (flip,) = tally.result().flips
    assert (flip.first, flip.second) == ("a", "c")
    assert flip.examples[0].size == pytest.approx(0.9)
    tally = Tally("multi")
    tally.add([1, 2], said("multi", ("a", "b"), first.probs), said("multi", ("b", "c"),
              second.probs))  # fmt: skip
    assert {c.name: (c.before, c.after) for c in tally.result().classes} == {
        "a": (1, 0), "b": (1, 1), "c": (0, 1)
    }  # fmt: skip


def test_nothing_counted_is_nothing_changed() -> None:
    found = Tally("single").result()
    assert (found.n, found.n_changed, found.classes, found.flips) == (0, 0, (), ())
    assert found.as_dict()["share_changed"] == 0


def facts(**more: Any) -> dict[str, Any]:
    tally = Tally("single")
    tally.add([7, 8], said("single", NAMES[:2], np.array([[0.9, 0.1], [0.4, 0.6]])),
              said("single", NAMES[:2], np.array([[0.2, 0.8], [0.4, 0.6]])))  # fmt: skip
    told = {"task": "<room>", "models": [3, 4], "photos": "all 2 stored pictures"}
    told |= json.loads(json.dumps(tally.result().as_dict()))
    for flip in told["flips"]:
        for one in flip["examples"]:
            one |= {"image": "a&b.jpg", "listing_id": "L", "sha256": "00"}
    cost = {"to_predict": 2, "predict_s": 0.1, "predict_s_per_photo": 0.05, "to_embed": 0,
            "embed_s_per_photo": None}  # fmt: skip
    told |= {"cost": cost, "labelled": None, "not_compared": "there is no label."}
    return told | more


def test_the_words_say_what_changes_what_it_costs_and_what_is_not_known() -> None:
    words = in_words(facts())
    assert words[0] == "50.0\N{NO-BREAK SPACE}% of the answers change: 1 of 2."
    assert "attic 1 to 0, bath 1 to 2" in words[1]
    assert "attic becomes bath (1)" in words[1]
    assert "2 pictures are answered anew: less than a second" in words[3]
    assert words[4].endswith("cannot be said: there is no label.")
    cost = facts()["cost"]
    own = in_words(facts(cost=cost | {"to_embed": 6000, "embed_s_per_photo": 0.02}))
    assert "Its own network embeds 6,000 pictures first, 120 s" not in own[3]
    assert "Its own network embeds 6,000 pictures first, 2 min." in own[3]
    assert "answered every one" in in_words(facts(cost=cost | {"to_predict": 0}))[3]
    same = facts(n_changed=0, share_changed=0.0, flips=[], classes=[])
    assert in_words(same)[:2] == ["No answer changes on 2 pictures.", "No class gains or loses."]


def test_the_page_opens_alone_and_escapes_names(tmp_path: Path) -> None:
    write_upgrade(tmp_path / "upgrade.html", facts(), None, lambda sha: b"jpeg", lambda name: None)
    html = (tmp_path / "upgrade.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert "&lt;room&gt;" in html
    assert "a&amp;b.jpg" in html
    assert "data:image/jpeg" in html
    assert json.loads((tmp_path / "upgrade.json").read_text("utf-8"))["n_changed"] == 1
