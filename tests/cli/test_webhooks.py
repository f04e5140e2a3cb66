"""Webhooks by command, and the example receiver as it stands in the repository."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.store.event_rows import Announcement

pytest.importorskip("standardwebhooks")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "webhook_receiver.py"


@pytest.fixture
def shop_folder(tmp_path: Path) -> Path:
    """A project that may tell receivers on this machine."""
    listlens.init(tmp_path / "shop").close()
    settings = tmp_path / "shop" / "listlens.toml"
    text = settings.read_text().replace("private = []", 'private = ["127.0.0.1"]')
    assert '"127.0.0.1"' in text
    settings.write_text(text)
    return tmp_path / "shop"


def announce(folder: Path, *photos: str, listing: str = "L1") -> None:
    with listlens.open(folder) as project:
        project.store.outbox.append(
            [
                Announcement(
                    f"{photo}/photo.predicted", "photo.predicted", listing, photo,
                    {
                        "listing_id": listing,
                        "photo_id": photo,
                        "results": {
                            "room": {"prediction": "kitchen"},
                            "seen": {"prediction": ["oven", "sink"]},
                        },
                    },
                    ("room",),
                )
                for photo in photos
            ]
        )  # fmt: skip


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Start the example receiver with a secret; return its URL."""
    running: list[subprocess.Popen[str]] = []

    def start(secret: str, port: int = 0) -> str:
        receiver = subprocess.Popen(
            [sys.executable, str(EXAMPLE), str(port)],
            cwd=tmp_path,
            env={**os.environ, "WEBHOOK_SECRET": secret},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(receiver)
        assert receiver.stdout is not None
        return receiver.stdout.readline().split()[-1]

    yield start
    for receiver in running:
        receiver.kill()
        receiver.wait()
        assert receiver.stdout is not None
        receiver.stdout.close()


def test_the_example_receiver_takes_each_event_once_and_refuses_strangers(
    cli: Callable[..., Any], shop_folder: Path, example: Callable[..., str], tmp_path: Path
) -> None:
    # The secret is known once the endpoint is added, its port once it runs.
    at = ("--json", "-p", shop_folder)
    made = cli("webhooks", "add", "http://127.0.0.1:9/", *at).json
    url = example(made["secret"])
    with listlens.open(shop_folder) as project:
        project.store.webhooks._update(made["id"], {"url": url})
    tested = cli("webhooks", "test", made["id"], *at)
    assert (tested.code, tested.json["status"]) == (0, 204)
    announce(shop_folder, "a", "b")
    assert cli("webhooks", "deliver", *at).json == {"tried": 2, "waiting": 0}
    first = cli("webhooks", "log", *at).json["deliveries"][-1]
    assert (first["outcome"], first["status"]) == ("delivered", 204)
    assert cli("webhooks", "replay", made["id"], "--after", 0, *at).json["again"] == 2
    assert cli("webhooks", "deliver", *at).json["tried"] == 2
    with sqlite3.connect(tmp_path / "received.db") as received:
        assert received.execute("SELECT * FROM tag ORDER BY photo, tag").fetchall() == [
            (f"L1/{photo}", task, tag)
            for photo in "ab"
            for tag, task in (("kitchen", "room"), ("oven", "seen"), ("sink", "seen"))
        ]
        assert received.execute("SELECT count(*) FROM seen").fetchone() == (3,)
    received.close()
    # A stranger's signature does not fit.
    other = cli("webhooks", "add", url, *at).json
    refused = cli("webhooks", "test", other["id"], *at)
    assert (refused.code, refused.json["status"], refused.json["delivered"]) == (6, 400, False)


def test_the_example_receiver_takes_what_comes_on_several_connections_at_once(
    cli: Callable[..., Any], shop_folder: Path, example: Callable[..., str], tmp_path: Path
) -> None:
    at = ("--json", "-p", shop_folder)
    made = cli("webhooks", "add", "http://127.0.0.1:9/", *at).json
    with listlens.open(shop_folder) as project:
        project.store.webhooks._update(made["id"], {"url": example(made["secret"])})
    for n in range(12):
        announce(shop_folder, f"p{n}", listing=f"L{n}")
    assert cli("webhooks", "deliver", *at).json == {"tried": 12, "waiting": 0}
    log = cli("webhooks", "log", *at).json["deliveries"]
    assert {(one["outcome"], one["attempt"]) for one in log} == {("delivered", 1)}


@pytest.mark.parametrize("secret", [{}, {"WEBHOOK_SECRET": ""}, {"WEBHOOK_SECRET": "mine"}])
def test_the_example_receiver_says_which_secret_it_needs(
    tmp_path: Path, secret: dict[str, str]
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "WEBHOOK_SECRET"} | secret
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    assert ran.stderr.startswith("Set WEBHOOK_SECRET") and "listlens webhooks add" in ran.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is begun without it"


def test_an_endpoint_is_added_listed_rotated_and_removed(
    cli: Callable[..., Any], shop_folder: Path
) -> None:
    at = ("-p", shop_folder)
    with listlens.open(shop_folder) as project:
        project.store.labels.add_task("room", "single", ["kitchen", "bath"])
    assert "No webhook yet" in cli("webhooks", "list", *at).out
    added = cli("webhooks", "add", "HTTPS://Shop.Example/hooks", "--kind", "photo.failed",
                "--task", "room", "--name", "tests", *at)  # fmt: skip
    secret = added.out.splitlines()[-1]
    assert added.code == 0 and secret.startswith("whsec_") and "Keep the secret" in added.err
    listed = cli("webhooks", "list", *at).out
    assert "https://shop.example/hooks" in listed and secret not in listed
    (row,) = cli("webhooks", "list", "--json", *at).json["webhooks"]
    assert (row["kinds"], row["tasks"], row["state"]) == (["photo.failed"], ["room"], "active")
    rotated = cli("webhooks", "rotate", 1, "--keep-hours", 1, *at)
    assert rotated.out.splitlines()[-1] != secret and "valid until" in rotated.err
    assert cli("webhooks", "log", *at).out.strip() == "Nothing yet."
    (before,) = cli("webhooks", "list", "--json", *at).json["webhooks"]
    enabled = cli("webhooks", "enable", 1, *at)
    assert enabled.code == 0 and "active already; nothing was changed." in enabled.out
    assert cli("webhooks", "enable", 1, "--json", *at).json == {**before, "changed": False}
    gone = cli("webhooks", "remove", 1, *at)
    assert gone.code == 0 and "told nothing more" in gone.out
    assert cli("webhooks", "remove", 1, *at).code == 3


@pytest.mark.parametrize("url", ["ftp://shop.example/", "http://u:p@shop.example/", "shop", ""])
def test_what_is_no_endpoint_is_refused_with_a_sentence(
    cli: Callable[..., Any], shop_folder: Path, url: str
) -> None:
    ran = cli("webhooks", "add", url, "-p", shop_folder)
    assert ran.code == 2 and "no webhook can be at" in ran.err


def test_a_filter_by_what_there_is_not_is_refused_with_the_names_there_are(
    cli: Callable[..., Any], shop_folder: Path
) -> None:
    at = ("webhooks", "add", "https://shop.example/", "-p", shop_folder)
    none = cli(*at, "--task", "room")
    assert none.code == 2 and "there is no task 'room' to be told of" in none.err
    with listlens.open(shop_folder) as project:
        project.store.labels.add_task("room", "single", ["kitchen", "bath"])
    wrong = cli(*at, "--task", "room", "--task", "rom")
    assert wrong.code == 2 and "Did you mean 'room'? Allowed: 'room', 'starter'." in wrong.err
    kind = cli(*at, "--kind", "photo.predict")
    assert kind.code == 2 and "Did you mean 'photo.predicted'?" in kind.err
    assert cli("webhooks", "list", "--json", "-p", shop_folder).json == {"webhooks": []}
    assert cli(*at, "--task", "room", "--task", "starter").code == 0


def test_a_disabled_endpoint_says_why_and_how_to_go_on(
    cli: Callable[..., Any], shop_folder: Path
) -> None:
    at = ("-p", shop_folder)
    cli("webhooks", "add", "https://shop.example/hooks", *at)
    with listlens.open(shop_folder) as project:
        project.store.webhooks.disable(1, "it answered 410 Gone")
    assert "it answered 410 Gone" in cli("webhooks", "list", *at).out
    assert "listlens webhooks enable 1" in cli("webhooks", "replay", 1, *at).err
    assert "Webhook 1 is told again." in cli("webhooks", "enable", 1, *at).out
