"""The pages on models and jobs: seen, compared, promoted and rolled back by a person."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import listlens
from listlens.serve import registry_routes
from listlens.serve.job_keeper import JobKeeper

TASK = "label"
Enter = Callable[..., httpx.Client]


@pytest.fixture
def server(two_models: Path, serve: Any) -> Iterator[Any]:
    with serve(two_models) as running:
        yield running


def stages(server: Any) -> dict[int, str]:
    return {m["version"]: m["stage"] for m in server.project.registry.list([TASK])}


def change(browser: httpx.Client, action: str, version: int, **more: str) -> httpx.Response:
    """Ask, read what would be done, and confirm, as a person does."""
    asked = {"task": TASK, "version": str(version), "action": action, **more}
    page = browser.get("/models/confirm", params=asked)
    assert page.status_code == 200, page.text
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    return browser.post("/models/change", data=fields | {"why": "I <looked>"})


def test_models_are_shown_with_stage_numbers_and_intervals(server: Any, enter: Enter) -> None:
    page = enter(server).get("/models").text
    for words in ("candidate", "live since", "five folds", "Promote", "Canary", "Retire"):
        assert words in page, words
    numbers = server.project.registry.list([TASK])[0]["metrics"]["cross_validation"]["accuracy"]
    low, high = f"{numbers['low']:.3f}", f"{numbers['high']:.3f}"
    assert f"{low} to {high}" in page and f"{numbers['value']:.3f}" in page


def test_a_model_is_promoted_and_rolled_back_by_confirmed_forms(server: Any, enter: Enter) -> None:
    browser = enter(server)
    page = browser.get("/models/confirm", params={"task": TASK, "version": 2, "action": "promote"})
    assert "instead of model 1" in page.text and "36 stored pictures" in page.text
    assert stages(server) == {1: "live", 2: "candidate"}, "asking changes nothing"
    done = change(browser, "promote", 2)
    assert done.status_code == 200 and "model 2 promoted" in done.text
    assert "I &lt;looked&gt;" in done.text and "I <looked>" not in done.text
    assert stages(server) == {1: "retired", 2: "live"}
    assert server.project.registry.history(TASK)[-1]["who"].startswith("token ")
    assert "Roll back to 1" in done.text
    back = change(browser, "rollback", 1)
    assert "model 1 restored" in back.text and stages(server)[1] == "live"
    gone = browser.post("/models/change", data={"action": "rollback", "task": TASK, "version": "2"})
    assert gone.status_code == 404 and "answered before" in gone.text


def test_a_shadow_a_canary_and_a_retirement_are_forms_too(server: Any, enter: Enter) -> None:
    browser = enter(server)
    assert "model 2 shadowed" in change(browser, "shadow", 2).text
    assert "End shadow" in browser.get("/models").text
    page = change(browser, "canary", 2, share="0.25").text
    assert "canary 25&nbsp;%" in page and "End canary" in page
    with server.client() as client:
        (model,) = [m for m in client.get("/v1/models").json()["models"] if m["task"] == TASK]
        assert model["canary"]["share"] == 0.25, "in force before the page comes back"
    change(browser, "recall", 2)
    assert (
        "Removed with it: 0 stored answers"
        in browser.get(
            "/models/confirm", params={"task": TASK, "version": 2, "action": "retire"}
        ).text
    )
    change(browser, "retire", 2)
    assert stages(server) == {1: "live", 2: "retired"}


@pytest.fixture
def unlike(project: Path, shop: Any, serve: Any) -> Iterator[Any]:
    """Served with a candidate that learnt the names of the classes the wrong way round."""
    turned = {"disc": "speckle", "speckle": "stripes", "stripes": "disc"}
    wrong = {name: turned[shape] for name, shape in shop.classes.items()}
    with listlens.open(project) as opened:
        opened.import_labels(TASK, shop.write_labels(project / "labels.csv", wrong))
        assert opened.train(TASK).stage == "candidate"
    with serve(project) as running:
        yield running


@pytest.mark.slow
def test_what_changes_is_compared_by_a_job_and_shown_with_photos(unlike: Any, enter: Enter) -> None:
    server, project = unlike, unlike.project
    browser = enter(server)
    shown = browser.get("/models/diff", params={"task": TASK, "version": 2}).text
    assert "has not been compared" in shown
    form = {"task": TASK, "version": "2", "which": "sample:30"}
    waiting = browser.post("/models/diff", data=form)
    assert "/static/job.js" in waiting.text and "waiting" in waiting.text
    (job,) = project.store.jobs.list()
    assert (job.kind, job.asked) == ("diff", {"version": 2, "sample": 30, "days": None})
    assert "Job 1: diff" in browser.get("/models").text
    with JobKeeper(project.store, project.root):
        for _ in range(600):
            if project.store.jobs.get(job.job_id).ended:
                break
            time.sleep(0.1)
    facts = project.store.jobs.get(job.job_id).result
    assert facts is not None, project.store.jobs.get(job.job_id)
    page = browser.get("/models/diff", params={"task": TASK, "version": 2}).text
    assert facts["text"][0] in page and "a person looks at" in page and "/static/job.js" not in page
    photos = re.findall(r'src="(/thumbnail/[0-9a-f]{64}\.jpg)"', page)
    assert len(photos) == sum(len(flip["examples"]) for flip in facts["flips"]) > 0
    picture = browser.get(photos[0])
    assert picture.headers["content-type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"
    project.registry.promote(TASK, 2)
    stale = browser.get("/models/diff", params={"task": TASK, "version": 2}).text
    assert "model 2 answers by now" in stale and "Promote model 2" not in stale
    whole = browser.get(f"/jobs/{job.job_id}").text
    assert facts["text"][0] in whole and "upgrade.html" in whole


def test_what_takes_long_becomes_a_job(
    server: Any, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_routes, "MOST_ANSWERED", 35)
    browser = enter(server)
    page = change(browser, "promote", 2)
    assert page.url.path == "/jobs" and "promote" in page.text
    (job,) = server.project.store.jobs.list()
    assert (job.kind, job.asked["why"], stages(server)[2]) == ("promote", "I <looked>", "candidate")
    cancelled = browser.post(f"/jobs/{job.job_id}/cancel")
    assert "cancelled" in cancelled.text and "Cancel this job" not in cancelled.text
    trained = browser.post("/jobs", data={"kind": "train", "task": TASK})
    assert trained.url.path == "/jobs/2" and "waiting" in trained.text
    assert "train" in browser.get("/jobs").text  # also of a kind that names no version


def test_who_may_only_look_can_change_nothing(server: Any, enter: Enter) -> None:
    browser = enter(server, "read")
    page = browser.get("/models").text
    assert "This log-in may look" in page and "/models/confirm" not in page
    assert "Compare with" not in browser.get("/models/diff?task=label&version=2").text
    asked = {"task": TASK, "version": "2", "action": "promote"}
    assert "needs a token with scope" in browser.get("/models/confirm", params=asked).text
    for path, form in (("/models/change", asked), ("/models/diff", asked), ("/jobs", asked),
                       ("/jobs/1/cancel", {})):  # fmt: skip
        refused = browser.post(path, data=form)
        assert refused.status_code == 403 and "scope &#39;admin&#39;" in refused.text, path
    assert browser.get("/jobs").status_code == 403
    assert stages(server) == {1: "live", 2: "candidate"}
    with server.client("") as nobody:
        assert nobody.post("/models/change", data=asked).status_code == 401
        assert nobody.get(f"/thumbnail/{'0' * 64}.jpg").status_code == 401


@pytest.fixture(scope="module")
def kept(trained_twice: Path, serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("pages") / "project"
    shutil.copytree(trained_twice, root)
    with serve(root) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "form", "status"),
    [
        ("GET", "/models/diff", None, 422),
        ("GET", "/models/diff?task=rom&version=1", None, 404),
        ("GET", "/models/diff?task=label&version=9", None, 404),
        ("GET", "/models/diff?task=label&version=99999999999", None, 422),
        ("GET", "/models/confirm?task=label&version=2&action=dance", None, 422),
        ("GET", "/models/confirm?task=label&version=2&action=canary&share=1", None, 422),
        ("GET", "/models/confirm?task=label&version=9&action=promote", None, 404),
        ("GET", "/models/confirm?task=label&version=1&action=rollback", None, 404),
        ("GET", "/models/confirm?task=label&version=1&action=retire", None, 422),
        ("POST", "/models/change", {"action": "retire", "task": "label", "version": "1"}, 422),
        ("POST", "/models/change", {}, 422),
        ("POST", "/models/change", {"why": "x" * 20_000}, 413),
        ("POST", "/models/diff", {"task": "rom", "version": "1"}, 404),
        ("POST", "/models/diff", {"task": "x" * 600, "version": "1"}, 422),
        ("POST", "/jobs", {"kind": "diff", "task": "label"}, 422),
        ("POST", "/jobs", {"kind": "train", "task": "rom"}, 404),
        ("GET", "/jobs/99", None, 404),
        ("GET", "/jobs/x", None, 404),
        ("POST", "/jobs/99/cancel", {}, 404),
        ("GET", f"/thumbnail/{'0' * 64}.jpg", None, 404),
        ("GET", "/thumbnail/..%2F..%2Flistlens.jpg", None, 404),
        ("GET", "/nothing", None, 404),
    ],
)
def test_what_is_wrong_is_said_on_a_page_and_changes_nothing(
    kept: Any, enter: Enter, method: str, path: str, form: dict[str, str] | None, status: int
) -> None:
    answer = enter(kept).request(method, path, data=form)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert 'role="alert"' in answer.text and "Traceback" not in answer.text
    assert stages(kept) == {1: "live", 2: "candidate"}


def test_a_project_without_models_says_what_to_do(serve: Any, enter: Enter, tmp_path: Path) -> None:
    listlens.init(tmp_path / "shop").close()
    with serve(tmp_path / "shop") as running:
        browser = enter(running)
        assert "There is no task yet" in browser.get("/models").text
        assert "None yet." in browser.get("/jobs").text
        running.project.add_task("a > <b>", "single", ["x", "y"])
        page = browser.get("/models").text
        assert "No model yet" in page and "a &gt; &lt;b&gt;" in page and "<b>" not in page


@pytest.mark.slow
def test_a_person_with_a_phone_and_one_with_a_keyboard(
    two_models: Path, serve: Any, tmp_path: Path
) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with serve(two_models) as server, playwright.sync_playwright() as driver:
        project, address = server.project, "http://{}:{}".format(*server.address)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 375, "height": 740}, has_touch=True)
        phone = context.new_page()
        said: list[str] = []
        phone.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        phone.goto(f"{address}/login")
        phone.fill("#token", server.token)
        phone.tap("main button")
        phone.wait_for_url(f"{address}/")
        phone.goto(f"{address}/models")
        phone.tap("text=What would change")
        phone.tap("text=Compare with model 1")
        with JobKeeper(project.store, project.root):  # the page follows by itself
            phone.wait_for_selector("h2:has-text('What flips')", timeout=120_000)
        for path in ("/", "/try", "/models", "/jobs", "/jobs/1",
                     "/models/diff?task=label&version=2",
                     "/models/confirm?task=label&version=2&action=promote"):  # fmt: skip
            phone.goto(address + path)
            widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            scroll, client = phone.evaluate(widths)
            assert scroll <= client == 375, f"{path} is {scroll} px wide"
        assert not said, said
        keys = context.new_page()
        keys.goto(f"{address}/models/confirm?task=label&version=2&action=promote")
        for _ in range(30):
            keys.keyboard.press("Tab")
            focus = "document.activeElement.matches('main button') && " \
                "getComputedStyle(document.activeElement).outlineStyle"  # fmt: skip
            if keys.evaluate(focus) not in (False, "none"):
                break
        keys.keyboard.press("Enter")
        keys.wait_for_url(f"{address}/models?changed=label")
        assert stages(server) == {1: "retired", 2: "live"}
        browser.close()
