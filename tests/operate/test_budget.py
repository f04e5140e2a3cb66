"""What a back-fill will take is measured before it begins, and what was spent is shown."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import listlens
from listlens.pipeline.budget import periods
from listlens.pipeline.event_door import let_in, read_lines
from listlens.pipeline.inference import Inference
from listlens.store.usage import Used
from listlens.stream.forecast import forecast


@pytest.fixture
def waiting(tmp_path: Path, shop: Any) -> Path:
    """An empty project with events of the shop's photos, one of them twice and one broken."""
    root = tmp_path / "new"
    listlens.init(root).close()
    (shop.photos.parent / "broken.jpg").write_bytes(b"no photo")
    toml = root / "listlens.toml"
    text = toml.read_text().replace('photos = ""', f'photos = "{shop.photos.parent}"')
    toml.write_text(text.replace("core_hour = 0.0", "core_hour = 3.6"))
    names = [f"{shop.photos.name}/{name}" for name in sorted(shop.classes)[:10]]
    lines = [
        json.dumps({"kind": "photo.added", "listing_id": "L", "photo_id": str(n), "path": path})
        for n, path in enumerate([*names, "broken.jpg"])
    ]
    lines.append(json.dumps({"kind": "photo.deleted", "listing_id": "L", "photo_id": "x"}))
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(lines))
    with listlens.open(root) as project, file.open("rb") as events:
        let_in(project.store, read_lines(events, project.config.events, project.store.clock()))
    return root


def test_a_forecast_measures_and_stores_nothing(waiting: Path, cli: Callable[..., Any]) -> None:
    with listlens.open(waiting) as project:
        inference = Inference(project.backbone, project.limits)
        ticks = iter([100.0, 101.1])

        class NoFetcher:
            def fetch(self, url: str) -> Any:
                raise AssertionError(url)

        said = forecast(project, inference, NoFetcher(), 50, cpu_clock=lambda: next(ticks))
        assert inference.counters().decoded == 10
        inference.close()
        assert (said.waiting, said.sampled, said.usable, said.known) == (11, 11, 10, 0)
        assert said.core_s_a_photo == pytest.approx(0.1)
        assert said.core_hours == pytest.approx(1.1 / 3600)
        assert said.cost == pytest.approx(1.1 / 1000) and said.currency == "EUR"
        ledger = project.store.events.ledger()
        assert ledger.states["waiting"] == 12 and not list(project.store.contents.scan())
    text = cli("forecast", "--sample", 3, "-p", waiting)
    assert text.code == 0 and "11 photos to come. Of 3 tried" in text.out
    assert " EUR" in text.out


def test_equal_pictures_are_usable_each_and_looked_at_once(waiting: Path, shop: Any) -> None:
    path = f"{shop.photos.name}/{sorted(shop.classes)[0]}"
    names = [("one", path), ("two", path), ("bad", "broken.jpg")]
    with listlens.open(waiting) as project:
        project.put_events(
            {"kind": "photo.added", "listing_id": "M", "photo_id": name, "path": path}
            for name, path in names
        )
        inference = Inference(project.backbone, project.limits)
        try:
            said = forecast(project, inference, None, 50)  # type: ignore[arg-type]
            assert inference.counters().decoded == 10
        finally:
            inference.close()
    assert (said.sampled, said.usable, said.known) == (14, 12, 2)


def test_known_contents_cost_no_looking_and_none_waiting_is_said(
    waiting: Path, cli: Callable[..., Any], shop: Any, tmp_path: Path
) -> None:
    with listlens.open(waiting) as project:
        project.ingest(shop.photos)
    said = cli("forecast", "--json", "-p", waiting).json
    assert (said["usable"], said["known"]) == (10, 10)
    listlens.init(tmp_path / "none").close()
    assert "No event" in cli("forecast", "-p", tmp_path / "none").out


def test_what_was_spent_is_counted_and_shown(project: Path, serving: Callable[..., Any]) -> None:
    toml = project / "listlens.toml"
    text = toml.read_text().replace("core_hour = 0.0", "core_hour = 3.6")
    toml.write_text(text.replace("daily_photos = 0", "daily_photos = 500"))
    with listlens.open(project) as opened:
        now = periods(opened.store.clock())
        opened.store.usage.add({"feed": Used(7, 2.0)}, (now.day, now.month))
    with serving(project) as served, served.client() as client:
        client.predict([_new_photo()], ["label"])
        ask = {"headers": {"Authorization": f"Bearer {served.token}"}, "trust_env": False}
        status = httpx.get(f"{served.url}/v1/status", **ask).json()
        metrics = httpx.get(f"{served.url}/metrics", **ask).text
        page = httpx.get(served.url, **ask).text
    spent = status["core_seconds_a_1000_photos"] * 3.6 / 3600
    assert status["cost_a_1000_photos"] == pytest.approx(spent, rel=0.1)
    assert status["cost"] == pytest.approx(status["cost_a_1000_photos"] / 1000, rel=0.1)
    (line,) = [one for one in metrics.splitlines() if one.startswith("listlens_cost_total ")]
    assert 'listlens_budget_used{limit="daily_photos",source="feed"} 7.0' in metrics
    assert 'listlens_budget_cap{limit="daily_photos",source="feed"} 500.0' in metrics
    assert 'listlens_source_photos_today{source="feed"} 7.0' in metrics
    assert ">photo of callers answered<" in page and ">photo decoded, " in page, "of one photo"
    assert float(line.split()[1]) > 0 and "for 1,000 photos" in page and "EUR" in page


def test_caps_of_a_source_that_never_came_are_noted_with_the_nearest_that_did(
    tmp_path: Path, cli: Callable[..., Any]
) -> None:
    listlens.init(tmp_path / "new").close()
    with (tmp_path / "new" / "listlens.toml").open("a") as toml:
        toml.write("[budget.sources.old-stok]\ndaily_photos = 5\n")
    with listlens.open(tmp_path / "new") as project:
        project.store.usage.add({"old-stock": Used(7, 2.0)}, (f"{project.store.clock():%Y-%m}",))
        project.store.usage.add({"away": Used(7, 2.0)}, ("2020-01",))
    said = cli("budget", "-p", tmp_path / "new")
    assert said.code == 0 and "old-stok has caps of its own, and none of its photos" in said.out
    assert "Did you mean 'old-stock'? Sources of this month: 'old-stock'." in said.out
    rows = cli("budget", "--json", "-p", tmp_path / "new").json["sources"]
    assert {row["source"]: row["seen"] for row in rows} == {"old-stok": False, "old-stock": True}


@pytest.mark.parametrize(
    ("at_cap", "words"),
    [
        ("queue", "Source events: 11 wait, 4 fit into the cap; the last is looked at on 20"),
        ("sample", "of the rest a sample goes on"),
        ("embed-only", "the rest is embedded, and answered by `listlens tag`"),
    ],
    ids=["queue", "sample", "embed-only"],
)
def test_a_back_fill_that_runs_into_a_cap_is_told_beforehand(
    waiting: Path, cli: Callable[..., Any], at_cap: str, words: str
) -> None:
    toml = waiting / "listlens.toml"
    text = toml.read_text().replace("daily_photos = 0", "daily_photos = 4")
    toml.write_text(text.replace('at_cap = "queue"', f'at_cap = "{at_cap}"'))
    assert words in cli("forecast", "--sample", 1, "-p", waiting).out


def _new_photo() -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(7).integers(0, 255, (1200, 1600, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()
