"""The status page beside a stream of events: what failed and waits, and a way to mend it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import listlens
from listlens.client import Client
from listlens.core.errors import InputError, NotFoundError
from listlens.learn.reference import Reference
from listlens.pipeline.budget import periods
from listlens.serve.watch_shapes import BudgetOut, DriftOut
from listlens.store.drift import Sums
from listlens.store.event_rows import Finished
from listlens.store.usage import Used

CAPS = """
[budget.sources.feed]
daily_photos = 20
[budget.sources."<old>"]
monthly_photos = 5
daily_cost = 0.005
at_cap = "sample"
backfill_only = true
[budget.sources.feeed]
daily_photos = 20
"""

GONE = {"kind": "photo.added", "listing_id": "L", "url": "https://shop.example/none.jpg"}


@pytest.fixture(scope="module")
def running(trained: Path, serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("status") / "<shop>"))
    settings = root / "listlens.toml"
    text = settings.read_text(encoding="utf-8")
    text = text.replace("core_hour = 0.0", "core_hour = 0.5") + CAPS
    settings.write_text(text, encoding="utf-8")
    with listlens.open(root) as project:
        project.put_events({"id": f"x{n}", "kind": "photo.new", "listing_id": "L"} for n in "ab")
        project.put_events([GONE | {"id": "waits", "photo_id": "1"}])
        hook = project.store.webhooks.add("https://hooks.example/x?key=KEY", name="<b>web")
        project.store.webhooks.disable(hook.webhook_id, "it answers <410>")
        project.store.topics.count("nats://broker.example/<photos>", "in", 5)
        project.store.topics.tell("nats://broker.example/tags", "out", lag=1234)
        _use_up_and_drift(project)
    with serve(root) as server:
        yield server


def _use_up_and_drift(project: Any) -> None:
    """Two sources beyond their caps, one of which holds three events, and answers of one class."""
    store, now = project.store, periods(project.store.clock())
    spent = {"feed": Used(59, 2.0), "<old>": Used(7, 72.0)}
    store.usage.add(spent, (now.day, now.month))
    project.put_events(GONE | {"id": f"h{n}", "photo_id": f"h{n}", "source": "feed"} for n in "abc")
    store.usage.hold("feed", ("photo.added",), (0, 1, 2), now.day_ends, "over_budget", "cap")
    model = store.models.live(store.labels.task("label").task_id)
    reference = Reference.load(project.root / model.folder)
    sums = reference.means * 120
    sums[: len(reference.class_ids)] = [120.0] + [0.0] * (len(reference.class_ids) - 1)
    store.drift.add({(model.model_id, "<odd>"): Sums(120, sums)}, now.day)


@contextmanager
def logged_in(server: Any, *scopes: str) -> Iterator[httpx.Client]:
    """A browser whose user has logged in."""
    text = server.token if not scopes else server.project.store.tokens.create([*scopes])[0]
    how = {"headers": {"Accept": "text/html"}, "follow_redirects": True}
    with server.client("", **how) as client:
        client.post("/login", data={"token": text})
        yield client


def test_the_page_shows_what_failed_waits_and_costs(
    running: Any, as_record: Any, shop: Any
) -> None:
    photo = next(shop.photos.rglob("*.jpg"))
    running.predict([as_record(photo.read_bytes())])
    with logged_in(running) as browser:
        page = browser.get("/").text
    assert re.search(r"<td>bad_event</td><td class=\"number\">2</td>", page)
    assert "&lt;b&gt;web" in page and "it answers &lt;410&gt;" in page and "disabled" in page
    assert "hooks.example" in page and "KEY" not in page
    assert page.count("<polyline") == 3 and "EUR" in page
    assert "&lt;photos&gt;" in page and "1,234" in page, "topics that are read, and told"
    assert "for 1,000 photos" in page and "&lt;shop&gt;" in page


def test_the_page_says_what_caps_hold_and_what_has_drifted(running: Any) -> None:
    with logged_in(running) as browser:
        page = " ".join(re.sub(r"<[^>]*>", " ", browser.get("/").text).split())
    held = r"feed : 59 of 20 photos today : until [-0-9]+ 00:00 new ones wait; 3 held"
    assert re.search(held, page)
    assert "3 events held, over budget" in page
    assert "0.010 of 0.005 EUR today , 7 of 5 photos this month : until" in page
    assert "a sample of back-fills goes on" in page
    assert "none of its photos was ever looked at" in page
    assert "&lt;odd&gt; , label/1, 120 photos" in page
    assert "Other answers than before, above all" in page
    assert "listlens drift shows all of it" in page


def test_the_same_numbers_are_in_the_status_and_the_metrics(running: Any) -> None:
    with running.client() as client:
        status, text = client.get("/v1/status").json()["stream"], client.get("/metrics").text
    assert (status["due"], status["dead"]) == (1, {"bad_event": 2})
    for line in (
        "listlens_events_due 1.0",
        'listlens_dead_letters{reason="bad_event"} 2.0',
        'listlens_webhook_active{webhook="1"} 0.0',
        'listlens_jobs{state="running"} 0.0',
        'listlens_events_held{source="feed"} 3.0',
    ):
        assert line in text, line
    assert re.search(r"^listlens_lag_seconds [0-9.e+]+$", text, re.MULTILINE)


def test_dead_letters_are_replayed_by_a_button_that_only_admins_have(running: Any) -> None:
    with logged_in(running, "read") as browser:
        page = browser.get("/").text
        assert "bad_event" in page and 'action="/dead"' not in page
        assert browser.post("/dead", data={"reason": "bad_event"}).status_code == 403
    with logged_in(running) as browser:
        assert 'action="/dead"' in browser.get("/").text
        assert browser.post("/dead", data={}).status_code == 422
        done = browser.post("/dead", data={"reason": "bad_event"})
        assert done.status_code == 200 and "0 events wait again" in done.text, "they stay wrong"
        assert browser.post("/dead", data={"reason": "never"}).status_code == 422, "none is so"
        assert "<i>" not in browser.get("/?again=<i>").text


def test_a_dead_letter_that_may_go_better_waits_again(running: Any) -> None:
    store = running.project.store
    (event,) = store.events.claim("w", 1, 60)
    store.events.finish([Finished(event.event_id, reason="missing", detail="404")])
    with logged_in(running) as browser:
        done = browser.post("/dead", data={"reason": "missing"})
    assert "1 event waits again" in done.text
    assert store.events.get("waits").state == "waiting"


def test_budget_and_drift_are_answered_as_the_commands_print_them(running: Any, cli: Any) -> None:
    root = running.project.root
    reader = running.project.store.tokens.create(["read"])[0]
    url = "http://{}:{}".format(*running.address)
    with running.client(reader) as http, Client(url, reader, trust_env=False) as client:
        budget = http.get("/v1/budget").json()
        assert budget == cli("budget", "--json", "-p", root).json and budget["ahead"] is None
        ahead = http.get("/v1/budget?ahead=true").json()
        assert ahead == cli("budget", "--ahead", "--json", "-p", root).json
        typed = client.budget(ahead=True)
        drift = http.get("/v1/drift", params={"task": ["label"], "days": 3}).json()
        ran = cli("drift", "--task", "label", "--days", 3, "--json", "-p", root)
        assert ran.code == 4 and drift == ran.json
        found = client.drift(["label"], source="<odd>").found
        document = http.get("/v1/models").request.url.join("/openapi.json")
        with pytest.raises(NotFoundError, match="Did you mean '<odd>'"):
            client.drift(source="<od>")
        with pytest.raises(NotFoundError, match="Did you mean 'label'"):
            client.drift(["lable"])
        with pytest.raises(InputError, match="days"):
            client.drift(days=0)
        wrong = http.get("/v1/budget?ahaed=1")
    assert wrong.status_code == 422 and "Did you mean 'ahead'" in wrong.text
    assert typed.model_dump() == ahead and typed.all.month.photos == 66
    assert typed.all.month.core_s_a_1000_photos == pytest.approx(1000 * 74 / 66, abs=1e-3)
    rows = {one.source: one for one in typed.sources}
    assert rows["feed"].today.cost_a_1000_photos == pytest.approx(1000 * 2 / 59 / 7200)
    assert rows["feeed"].month.cost_a_1000_photos is None and not rows["feeed"].seen
    assert [(one.source, one.waiting, one.today) for one in typed.ahead or ()] == [("feed", 3, 0)]
    assert [(one.source, one.drifted, one.photos) for one in found] == [("<odd>", True, 120)]
    with running.client() as http:
        paths = http.get(document).json()["paths"]
    for path, shape in (("/v1/budget", BudgetOut), ("/v1/drift", DriftOut)):
        assert paths[path]["get"]["tags"] == ["operate"]
        for example in shape.model_json_schema()["examples"]:
            assert shape.model_validate(example).model_dump(by_alias=True) == example
    with running.client(running.project.store.tokens.create(["predict"])[0]) as http:
        assert http.get("/v1/budget").status_code == http.get("/v1/drift").status_code == 403


def test_sums_of_money_are_readable_however_small(running: Any, cli: Any) -> None:
    """Looking at a few photos costs hundredths of a cent."""
    with running.client() as http:
        page = http.get("/", headers={"Accept": "text/html"}).text
    shown = cli("budget", "--ahead", "-p", running.project.root).out
    feed = next(line for line in shown.splitlines() if line.startswith("feed "))
    assert "0.00028" in feed and "0.0047" in feed, "2 s of a core at 0.50 an hour, by 59 photos"
    assert "0.00028</td>" in page and "0.010 of 0.005 daily_cost" in shown
    assert "Source feed: 3 wait, 0 fit into the cap; the last is looked at on" in shown
    assert not re.search(r"\de-\d", shown + page)


@pytest.mark.slow
def test_a_phone_shows_every_column_without_scrolling_sideways(running: Any) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    address = "http://{}:{}".format(*running.address)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.goto(f"{address}/login")
        page.fill("#token", running.token)
        page.click("main button")
        page.wait_for_selector(".stack")
        scrolled = page.evaluate(
            "[...document.querySelectorAll('.stack')].filter(e => e.scrollWidth > e.clientWidth)"
            ".map(e => e.ariaLabel)"
        )
        assert scrolled == []
        sources = page.inner_text("[aria-label=Sources]")
        assert "0.010 of 0.005 EUR today" in sources
        named = page.evaluate(
            "[...document.querySelectorAll('[aria-label=Sources] td')].map(e => "
            "getComputedStyle(e, '::before').content)"
        )
        assert {'"cap"', '"today"', '"EUR for 1,000"'} <= set(named), "headings stand at each value"
        browser.close()
