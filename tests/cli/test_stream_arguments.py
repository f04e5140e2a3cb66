"""What the commands of stream, webhooks and models say to arguments that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.store.event_rows import Announcement

Cli = Callable[..., Any]
HUGE = 2**70
EVENT = {"id": "e1", "kind": "listing.changed", "listing_id": "L", "attributes": {"a": 1}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a task, no model, one webhook; no test here changes it."""
    root = tmp_path_factory.mktemp("made") / "shop"
    with listlens.init(root) as project:
        project.add_task("room", "single", ["bath", "bed"])
        project.put_events([EVENT, {"kind": "no"}])
        project.store.webhooks.add("https://shop.example/hooks")
    return root


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    listlens.init(tmp_path / "shop").close()
    return tmp_path / "shop"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["events", "put", "absent.jsonl"], 3, "no file 'absent.jsonl'"),
        (["events", "put", "."], 3, "Is a directory"),
        (["events", "put", "x" * 5000], 6, "Check the path"),
        (["events", "check", "redis://h:70000/0/x"], 2, "1 to 65535, not '70000'"),
        (["work", "--once", "--announce", "nats://127.0.0.1:1/shop.>"], 2, "goes to one"),
        (["work", "--once", "--source", "kafka:///photos"], 2, "a host is needed"),
        (["dead", "show", ""], 3, "no event ''"),
        (["dead", "show", "x\udc80"], 3, "no event 'x\\udc80'"),
        (["dead", "replay"], 2, "--reason REASON, or --all"),
        (["dead", "replay", "e1", "--all"], 2, "only one of them"),
        (["dead", "replay", "e1"], 2, "'e1' is not among the dead letters"),
        (["dead", "replay", "x\udc80"], 3, "no event"),
        (["dead", "list", "--reason", "bad_evnt"], 2,
         "Did you mean 'bad_event'? Reasons there are: bad_event (1)."),
        (["dead", "replay", "--reason", "no"], 2, "none can have it"),
        (["dead", "remove", "--reason", "mising"], 2, "Did you mean 'missing'?"),
        (["dead", "remove"], 2, "--reason and --days, or --all"),
        (["dead", "remove", "e1", "--days", 3], 2, "only one of them"),
        (["dead", "remove", "--days", -1], 2, "--days"),
        (["dead", "remove", "e1"], 2, "'e1' is not among the dead letters"),
        (["webhooks", "add", "https://shop.example/", "--kind", "photo.predictd"], 2,
         "Did you mean 'photo.predicted'?"),
        (["webhooks", "remove", 7], 3, "no webhook 7"),
        (["webhooks", "rotate", HUGE], 3, f"no webhook {HUGE}"),
        (["webhooks", "rotate", 1, "--keep-hours", "nan"], 2, "--keep-hours"),
        (["webhooks", "test", 7], 3, "no webhook 7"),
        (["webhooks", "log", HUGE], 3, f"no webhook {HUGE}"),
        (["webhooks", "replay", 7], 3, "no webhook 7"),
        (["webhooks", "replay", 1, "--after", HUGE], 2, "--after"),
        (["models", "list", "rom"], 3, "'room'"),
        (["models", "history", "rom"], 3, "Did you mean 'room'?"),
        (["models", "promote", "room"], 3, "listlens train room"),
        (["models", "promote", "room", HUGE], 3, "train one first"),
        (["models", "promote", "room", "--canary", "half"], 2, "such as 5% or 0.05"),
        (["models", "rollback", "room"], 3, "no model of 'room' answered before"),
        (["models", "retire", "room", 1], 3, "no version 1"),
        (["models", "diff", "room"], 3, "listlens train room"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40].encode("ascii", "replace").decode()
    if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_code_and_a_sentence(
    cli: Cli, made: Path, args: list[Any], code: int, words: str
) -> None:
    ran = cli(*args, "-p", made)
    told = " ".join(ran.err.replace("│", " ").split())
    assert ran.code == code, ran
    assert words in told
    assert ran.out == ""


def test_each_group_alone_shows_its_commands(cli: Cli) -> None:
    for group, command in (("events", "put"), ("dead", "replay"), ("webhooks", "rotate"),
                           ("models", "rollback")):  # fmt: skip
        ran = cli(group)
        assert ran.code == 2 and command in ran.out + ran.err


def test_json_says_the_same_keys_whether_there_is_much_or_nothing(
    cli: Cli, made: Path, fresh: Path
) -> None:
    def keys(root: Path, *args: Any) -> dict[str, Any]:
        ran = cli(*args, "-p", root, "--json")
        assert ran.code == 0, ran
        return dict(ran.json)

    for args in (["ledger"], ["dead", "list"], ["webhooks", "list"], ["webhooks", "log"],
                 ["models", "list"]):  # fmt: skip
        assert keys(made, *args).keys() == keys(fresh, *args).keys(), args
    ledger = keys(made, "ledger")
    assert (ledger["received"], ledger["waiting"], ledger["dead"]) == (2, 1, 1)
    assert ledger["adds_up"] and ledger["announced"] == 0
    (letter,) = keys(made, "dead", "list")["dead"]
    assert letter == keys(made, "dead", "show", letter["id"])
    assert (letter["kind"], letter["reason"], letter["state"]) == (None, "bad_event", "dead")
    assert letter["body"] == {"raw": {"kind": "no"}}
    assert keys(made, "models", "history", "room") == {"task": "room", "changes": []}


def test_a_dry_run_prints_json_a_line_and_keeps_nothing(cli: Cli, fresh: Path) -> None:
    file = fresh / "e.jsonl"
    file.write_text("\n".join([json.dumps(EVENT), "", '["no", "object"]', "\ufeff{}"]))
    ran = cli("events", "put", file, "--dry-run", "--backfill", "--json", "-p", fresh)
    first, second, third = map(json.loads, ran.out.splitlines())
    assert ran.code == 4
    assert (first["id"], first["priority"]) == ("e1", "backfill")
    wrong = {"wrong": "an event is a JSON object", "came": ["no", "object"]}
    assert second == {"line": 3, "sent_id": None, **wrong}
    assert third["wrong"].startswith("no JSON") and third["came"] == "\ufeff{}"
    assert cli("ledger", "-p", fresh, "--json").json["received"] == 0
    file.write_text("")
    put = cli("events", "put", file, "-p", fresh, "--json")
    assert (put.code, put.json) == (0, {"new": 0, "duplicates": 0, "dead": 0, "empty": 0})


def test_dead_letters_are_replayed_by_id_and_the_rest_stays(cli: Cli, fresh: Path) -> None:
    file = fresh / "e.jsonl"
    file.write_text('{"t": "x", "l": 1}\n{"t": "y"}\n{')
    at = ("-p", fresh, "--json")
    assert cli("events", "put", file, *at).json == {
        "new": 0,
        "duplicates": 0,
        "dead": 3,
        "empty": 0,
    }
    letters = cli("dead", "list", "--limit", 2, *at).json
    assert len(letters["dead"]) == 2 and letters["reasons"] == {"bad_event": 3}
    still = cli("dead", "replay", letters["dead"][0]["id"], *at)
    assert (still.code, still.json) == (4, {"again": 0, "left": 1})
    (fresh / "listlens.toml").write_text(
        '[events]\nkinds = { "x" = "listing.changed" }\n'
        'mapping = { "kind" = "t", "listing_id" = "l" }\n'
    )
    done = cli("dead", "replay", letters["dead"][0]["id"], *at)
    assert (done.code, done.json) == (0, {"again": 1, "left": 0})
    again = cli("dead", "replay", letters["dead"][0]["id"], *at)
    assert again.code == 2 and "not among the dead letters" in again.err
    every = cli("dead", "replay", "--all", *at)
    assert (every.code, every.json) == (4, {"again": 0, "left": 2})
    ledger = cli("ledger", *at).json
    assert (ledger["waiting"], ledger["dead"], ledger["adds_up"]) == (1, 2, True)


def test_dead_letters_are_removed_once_a_dry_run_has_said_how_many(cli: Cli, fresh: Path) -> None:
    file = fresh / "e.jsonl"
    file.write_text('{"t": "x"}\n{"t": "y"}\n{')
    at = ("-p", fresh, "--json")
    cli("events", "put", file, *at)
    one = cli("dead", "list", *at).json["dead"][0]["id"]
    dry = cli("dead", "remove", "--reason", "bad_event", "--dry-run", *at).json
    assert dry == {"removed": 3, "reasons": {"bad_event": 3}, "dry_run": True}
    assert cli("dead", "remove", one, "--dry-run", *at).json["removed"] == 1
    assert cli("dead", "remove", "--days", 1, *at).json["removed"] == 0
    assert cli("ledger", *at).json["dead"] == 3, "nothing was removed yet"
    assert cli("dead", "remove", one, *at).json["removed"] == 1
    assert "2 removed." in cli("dead", "remove", "--all", "-p", fresh).out
    ledger = cli("ledger", *at)
    assert ledger.code == 0 and ledger.json["removed_reasons"] == {"bad_event": 3}
    assert (ledger.json["received"], ledger.json["removed"], ledger.json["dead"]) == (3, 3, 0)
    assert "removed: 3 bad_event" in cli("ledger", "-p", fresh).out


def test_a_reason_that_none_has_is_said_with_those_there_are(cli: Cli, made: Path) -> None:
    ran = cli("dead", "list", "--reason", "timeout", "-p", made)
    assert ran.code == 0 and "None. Reasons there are: bad_event (1)." in ran.out
    ran = cli("dead", "replay", "--reason", "timeout", "-p", made)
    assert ran.code == 0 and "Reasons there are: bad_event (1)." in ran.out


def test_from_the_start_means_what_was_announced_before_too(cli: Cli, fresh: Path) -> None:
    with listlens.open(fresh) as project:
        project.store.outbox.append([Announcement("a", "photo.failed", "L", "p", {})])
    at = ("-p", fresh, "--json")
    url = "https://shop.example/hooks"
    late = cli("webhooks", "add", url, *at).json
    early = cli("webhooks", "add", url, "--from-start", "--kind", "photo.failed", *at).json
    assert late.keys() == early.keys() and late["secret"] != early["secret"]
    with listlens.open(fresh) as project:
        assert [hook.cursor for hook in project.store.webhooks.list()] == [1, 0]
    rotated = cli("webhooks", "rotate", early["id"], "--keep-hours", 0, *at).json
    assert rotated["secret"] != early["secret"]
    listed = cli("webhooks", "list", *at).json["webhooks"]
    assert all("secret" not in row for row in listed)
    assert [row["id"] for row in listed] == [late["id"], early["id"]]
    assert cli("webhooks", "replay", late["id"], "--after", 0, *at).json == {
        "webhook": late["id"], "again": 1,
    }  # fmt: skip
    assert cli("webhooks", "remove", late["id"], *at).json["id"] == late["id"]
    assert len(cli("webhooks", "list", *at).json["webhooks"]) == 1
