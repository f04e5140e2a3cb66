"""The commands of the stream, as a shop's script uses them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.store.event_rows import PutOff

Cli = Callable[..., Any]


@pytest.fixture
def shop_dir(cli: Cli, tmp_path: Path, draw_photo: Any) -> Path:
    root = tmp_path / "shop"
    cli("init", root)
    (root / "files").mkdir()
    for n in range(3):
        draw_photo("disc", n).save(root / "files" / f"{n}.jpg")
    (root / "listlens.toml").write_text(
        '[events]\nphotos = "files"\n'
        'kinds = { "IMAGE_CREATED" = "photo.added" }\n'
        'mapping = { "id" = "uid", "kind" = "type", "listing_id" = "car.id", '
        '"photo_id" = "image.id", "path" = "image.file" }\n'
    )
    return root


def shops(n: int, file: str = "") -> dict[str, Any]:
    image = {"id": f"i{n}", "file": file or f"{n}.jpg"}
    return {"uid": f"u{n}", "type": "IMAGE_CREATED", "car": {"id": 4711}, "image": image}


def write(path: Path, *events: Any) -> Path:
    path.write_text("\n".join(e if isinstance(e, str) else json.dumps(e) for e in events))
    return path


def test_a_dry_run_shows_what_the_settings_make_of_a_shops_events(
    cli: Cli, shop_dir: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "e.jsonl", shops(0), {"type": "IMAGE_SOLD"}, "{")
    ran = cli("events", "put", file, "--dry-run", "-p", shop_dir)
    assert ran.code == 4
    first, second, third = ran.out.splitlines()
    understood = json.loads(first)
    assert understood.pop("at")
    assert understood == {
        "id": "u0", "kind": "photo.added", "listing_id": "4711", "photo_id": "i0",
        "path": "0.jpg", "source": "events", "priority": "new",
    }  # fmt: skip
    assert "kind: 'IMAGE_SOLD' (at 'type') is not under [events.kinds]" in second
    assert third.startswith("wrong: line 3: no JSON")
    assert cli("ledger", "-p", shop_dir, "--json").json["received"] == 0


def test_a_dry_run_says_which_events_are_wrong_and_how_many(
    cli: Cli, shop_dir: Path, tmp_path: Path
) -> None:
    no_image = {**shops(7), "image": {}}
    file = write(tmp_path / "e.jsonl", shops(0), "", no_image, '{"uid": "u9", "type": ')
    ran = cli("events", "put", file, "--dry-run", "-p", shop_dir)
    _, second, third = ran.out.splitlines()
    assert second == "wrong: line 3, id 'u7': photo_id: nothing at 'image.id'"
    assert third.startswith("wrong: line 4, id 'u9': no JSON") and "at character 22" in third
    assert ran.err.strip() == "3 events: 1 understood, 2 wrong."
    listed = cli("events", "put", file, "--dry-run", "--json", "-p", shop_dir).out.splitlines()
    assert [json.loads(one).get("line") for one in listed] == [None, 3, 4]
    assert json.loads(listed[1])["sent_id"] == "u7"


def test_a_table_in_place_of_events_is_said_once(cli: Cli, shop_dir: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "e.csv", *[f"listing,photo{n}" for n in range(241)])
    ran = cli("events", "put", file, "--dry-run", "-p", shop_dir)
    assert ran.code == 4 and len(ran.out.splitlines()) == 10
    assert "241 events: 241 wrong. The first 10 wrong ones are listed" in ran.err
    assert "Nothing here is JSON: one JSON object a line is needed" in ran.err
    every = cli("events", "put", file, "--dry-run", "--json", "-p", shop_dir)
    assert len(every.out.splitlines()) == 241


def test_events_are_worked_on_counted_and_mended(
    cli: Cli, shop_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "e.jsonl", shops(0), shops(1), shops(8, "late.jpg"), shops(0), "{")
    put = cli("events", "put", file, "-p", shop_dir, "--json")
    assert (put.code, put.json) == (4, {"new": 3, "duplicates": 1, "dead": 1, "empty": 0})
    assert cli("work", "--once", "--drain", "-p", shop_dir).code == 2
    report = cli("work", "--drain", "-p", shop_dir, "--json").json
    assert report["outcomes"] == {"predicted": 2, "failed": 1}
    assert report["reasons"] == {"missing": 1}
    ledger = cli("ledger", "-p", shop_dir, "--json")
    assert ledger.code == 0
    assert ledger.json["adds_up"]
    assert (ledger.json["done"], ledger.json["dead"], ledger.json["announced"]) == (2, 2, 3)
    assert "They add up." in cli("ledger", "-p", shop_dir).out
    dead = cli("dead", "list", "-p", shop_dir, "--json").json
    assert dead["reasons"] == {"bad_event": 1, "missing": 1}
    assert "late" in cli("dead", "show", "u8", "-p", shop_dir).out
    nobody = cli("dead", "show", "nobody", "-p", shop_dir)
    assert nobody.code == 3 and "listlens dead list" in nobody.err
    short = next(one["id"] for one in dead["dead"] if one["kind"] is None)[len("sha256:") :][:8]
    assert "no JSON" in cli("dead", "show", short, "-p", shop_dir).out
    assert cli("dead", "replay", short, "-p", shop_dir).code == 4  # found, and still wrong
    (shop_dir / "files" / "2.jpg").rename(shop_dir / "files" / "late.jpg")
    assert cli("dead", "replay", "-p", shop_dir).code == 2
    assert cli("dead", "replay", "u0", "-p", shop_dir).code == 2  # it is alive
    again = cli("dead", "replay", "--reason", "missing", "-p", shop_dir, "--json")
    assert again.json == {"again": 1, "left": 0}
    assert cli("dead", "replay", "--all", "-p", shop_dir).code == 4
    report = cli("work", "--once", "-p", shop_dir, "--json").json
    assert report["outcomes"] == {"predicted": 1}
    line = io.TextIOWrapper(io.BytesIO(json.dumps(shops(1)).encode()))
    monkeypatch.setattr("sys.stdin", line)
    done = cli("events", "put", "-", "--backfill", "-p", shop_dir, "--json").json
    assert done["new"] + done["duplicates"] + done["dead"] == 1
    assert cli("events", "put", "absent.jsonl", "-p", shop_dir).code == 3
    assert "None." in cli("dead", "list", "--reason", "timeout", "-p", shop_dir).out


def test_a_drained_inbox_says_what_is_left_and_why_events_failed(
    cli: Cli, shop_dir: Path, tmp_path: Path
) -> None:
    at = ("-p", shop_dir)
    cli("events", "put", write(tmp_path / "a.jsonl", shops(0), shops(1)), *at)
    with listlens.open(shop_dir) as project:
        held, late = project.store.events.claim("another", 2, 86_400)
        then = project.store.clock() + timedelta(hours=5)
        project.store.events.put_off("another", [PutOff(late.event_id, then, "timeout", "slow")])
    cli("events", "put", write(tmp_path / "b.jsonl", shops(7), shops(8)), *at)
    ran = cli("work", "--drain", *at)
    assert ran.code == 0
    assert "Among the dead letters now: 2 missing. See them: listlens dead list" in ran.out
    assert "1 event left in another worker's hands, leased until 20" in ran.out
    assert f"1 event put off, the first until {then:%Y-%m-%d %H:%M:%S} UTC." in ran.out
    again = cli("work", "--drain", "--json", *at).json
    assert again["outcomes"] == {} and again["reasons"] == {}
    assert (again["left"]["leased"], again["left"]["put_off"]) == (1, 1)
    assert (again["left"]["due"], again["left"]["due_at"]) == (0, then.isoformat())
    quiet = cli("work", "--drain", *at).out
    assert "No event was due." in quiet and "Among the dead letters" not in quiet
    with listlens.open(shop_dir) as project:
        assert project.store.events.get(held.event_key).state == "leased"
