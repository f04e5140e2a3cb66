"""The commands of the stream, as a shop's script uses them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    assert third.startswith("wrong: no JSON")
    assert cli("ledger", "-p", shop_dir, "--json").json["received"] == 0


def test_events_are_worked_on_counted_and_mended(
    cli: Cli, shop_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "e.jsonl", shops(0), shops(1), shops(8, "late.jpg"), shops(0), "{")
    put = cli("events", "put", file, "-p", shop_dir, "--json")
    assert (put.code, put.json) == (4, {"new": 3, "duplicates": 1, "dead": 1, "empty": 0})
    assert cli("work", "--once", "--drain", "-p", shop_dir).code == 2
    report = cli("work", "--drain", "-p", shop_dir, "--json").json
    assert report["outcomes"] == {"predicted": 2, "failed": 1}
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
