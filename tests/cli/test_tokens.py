"""Tokens by command: made, listed, taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens


@pytest.fixture
def shop_folder(tmp_path: Path) -> Path:
    listlens.init(tmp_path / "shop").close()
    return tmp_path / "shop"


def test_the_token_is_alone_on_the_last_line(cli: Callable[..., Any], shop_folder: Path) -> None:
    ran = cli("token", "create", "--scope", "predict", "-p", shop_folder)
    text = ran.out.splitlines()[-1]
    with listlens.open(shop_folder) as project:
        found = project.store.tokens.find(text)
    assert ran.code == 0 and found is not None and found.scopes == ("predict",)
    assert "shown this once" in ran.err


def test_tokens_are_listed_and_taken_back(cli: Callable[..., Any], shop_folder: Path) -> None:
    assert "No token yet" in cli("token", "list", "-p", shop_folder).out
    options = ("--name", "tests", "--days", "2", "--per-minute", "60", "--scope", "read")
    made = cli("token", "create", "--scope", "predict", *options, "--json", "-p", shop_folder).json
    assert made["scopes"] == ["predict", "read"] and made["per_minute"] == 60
    listed = cli("token", "list", "-p", shop_folder).out
    assert "tests" in listed and made["token"] not in listed
    gone = cli("token", "revoke", made["id"], "-p", shop_folder)
    assert gone.code == 0 and f"Token {made['id']}" in gone.out
    (row,) = cli("token", "list", "--json", "-p", shop_folder).json["tokens"]
    assert row["revoked_at"] and row["expires_at"] > row["created_at"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", "--scope", "predikt"], 2, "Did you mean 'predict'"),
        (["create", "--scope", "read", "--days", "-1"], 2, "more than 0"),
        (["revoke", "7"], 3, "no token 7"),
    ],
    ids=["scope", "days", "unknown"],
)
def test_what_cannot_be_is_refused_in_words(
    cli: Callable[..., Any], shop_folder: Path, arguments: list[str], code: int, said: str
) -> None:
    ran = cli("token", *arguments, "-p", shop_folder)
    assert ran.code == code and said in ran.err
