"""The page on thresholds: looked at, chosen and taken back by a person."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import listlens
from listlens.core.errors import InputError
from listlens.serve.policy_pages import _wanted
from listlens.serve.problems import Problem

TASK = "label"
Enter = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def unsure_project(trained: Path, shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a live model that learnt from labels a fifth of which is wrong; no test changes it."""
    turned = {"disc": "speckle", "speckle": "stripes", "stripes": "disc"}
    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("unsure") / "project"))
    wrong = {name: turned[shape] for i, (name, shape) in enumerate(shop.classes.items())
             if i % 5 == 0}  # fmt: skip
    with listlens.open(root) as opened:
        opened.import_labels(TASK, shop.write_labels(root / "labels.csv", wrong))
        made = opened.train(TASK)
        opened.registry.promote(TASK, made.version)
    return root


@pytest.fixture
def server(unsure_project: Path, serve: Any, tmp_path: Path) -> Iterator[Any]:
    with serve(Path(shutil.copytree(unsure_project, tmp_path / "project"))) as running:
        yield running


def fields(page: str) -> dict[str, str]:
    """The form that puts thresholds in force, as a browser would send it."""
    (form,) = re.findall(r'<form method="post" action="/models/policy" class="actions">.*?</form>',
                         page, re.S)  # fmt: skip
    return dict(re.findall(r'name="([\w-]+)" value="([^"]*)"', form.replace("&lt;", "<")))


def policy(server: Any) -> tuple[int, str]:
    (first, *_) = server.project.policies(TASK)
    return first["version"], first["target"]


def test_an_aim_is_looked_at_put_in_force_and_taken_back(server: Any, enter: Enter) -> None:
    browser = enter(server)
    assert 'href="/models/policy?task=label"' in browser.get("/models").text
    shown = browser.get("/models/policy", params={"task": TASK}).text
    assert "In force: policy 1, best F1" in shown and "at most 20&nbsp;% wrong" in shown
    plan = server.project.set_policy(TASK, target="error<=0.2", dry_run=True)
    asked = browser.get("/models/policy", params={"task": TASK, "target": "error<=0.2"}).text
    assert f"held-out photos a person looks at <b>{plan.after.n_review}</b>" in asked
    assert f"stored pictures a person looks at <b>{plan.stock_after}</b>" in asked
    assert policy(server) == (1, "best-f1"), "looking changes nothing"
    done = browser.post("/models/policy", data=fields(asked))
    assert "Policy 2 is in force: at most 20&nbsp;% wrong." in done.text
    assert policy(server) == (2, "error<=0.2")
    with server.client() as client:  # in force before the page comes back
        (live,) = [m for m in client.get("/v1/models").json()["models"] if m["task"] == TASK]
    assert live["policy"] == 2
    back = browser.post("/models/policy", data={"task": TASK, "model": "2", "restore": "1"})
    assert "Policy 3 is in force: best F1." in back.text and policy(server) == (3, "best-f1")


def test_one_class_is_tried_at_many_thresholds_and_set_by_hand(server: Any, enter: Enter) -> None:
    browser = enter(server)
    tried = browser.get("/models/policy", params={"task": TASK, "class": "disc"}).text
    assert "disc by hand" in tried
    told = server.project.policy_choices(TASK, "disc")["tried"]
    reviewed = re.findall(
        r'<td class="number">([\d,]+)</td><td>\s*<form', tried.split("by hand")[-1]
    )
    assert reviewed == [f"{row['n_review']:,}" for row in told]
    asked = {"task": TASK, "class": "disc", "threshold": "0.9"}
    browser.post("/models/policy", data=fields(browser.get("/models/policy", params=asked).text))
    (first, *_) = server.project.policies(TASK)
    assert (first["target"], first["thresholds"]["disc"]) == ("by hand", 0.9)


def test_a_number_may_be_typed_and_nonsense_is_answered_on_a_page(
    server: Any, enter: Enter
) -> None:
    browser = enter(server)
    typed = {"task": TASK, "aim": "error", "percent": "12,5"}
    page = browser.get("/models/policy", params=typed).text
    assert "at most 12.5&nbsp;% wrong: what it would do" in page
    for params, status in (
        ({"task": "rom"}, 404),
        ({"task": TASK, "aim": "error", "percent": "150"}, 422),
        ({"task": TASK, "target": "error<=2"}, 422),
        ({"task": TASK, "target": "<script>"}, 422),
        ({"task": TASK, "aim": "error", "percent": "nan"}, 422),
        ({"task": TASK, "aim": "luck", "percent": "1"}, 422),
        ({"task": TASK, "class": "dist", "threshold": "0.5"}, 404),
        ({"task": TASK, "class": "disc", "threshold": "7"}, 422),
    ):
        wrong = browser.get("/models/policy", params=params)
        assert wrong.status_code == status and 'role="alert"' in wrong.text, params
        assert "<script>" not in wrong.text
    for form, status in (
        ({"task": TASK}, 422),
        ({"task": TASK, "model": "2"}, 422),
        ({"task": TASK, "model": "2", "restore": "9"}, 404),
        ({"task": TASK, "model": "1", "target": "error<=0.2"}, 422),  # answers no more
    ):
        assert browser.post("/models/policy", data=form).status_code == status, form
    assert policy(server) == (1, "best-f1")


def test_a_percentage_that_is_refused_stays_in_the_form(server: Any, enter: Enter) -> None:
    typed = {"task": TASK, "aim": "precision", "percent": "150"}
    page = enter(server).get("/models/policy", params=typed).text
    assert "150 per cent; allowed: from 0.0001 to 99.9999" in page and "not known" not in page
    assert re.search(r'<input id="percent" [^>]*value="150"', page)
    assert '<option value="precision" selected>' in page
    for percent in ("0.0001", "99.9999"):
        small = enter(server).get("/models/policy", params={**typed, "percent": percent})
        assert small.status_code == 200, small.text


def test_the_same_aim_above_and_below_is_explained(server: Any, enter: Enter) -> None:
    page = enter(server).get("/models/policy", params={"task": TASK}).text
    assert "In force: policy 1, best F1" in page
    assert "<b>best F1</b> can have other numbers here than above" in page


def test_without_a_task_the_page_leads_to_those_that_have_thresholds(
    server: Any, enter: Enter
) -> None:
    browser, labels = enter(server), server.project.store.labels
    labels.add_task("season", "single", ["summer", "winter"])
    only = browser.get("/models/policy")
    assert only.status_code == 200 and only.url.params["task"] == TASK
    wrong = browser.get("/models/policy", params={"task": "lable"})
    assert wrong.status_code == 404 and "Allowed: &#39;label&#39;." in wrong.text
    assert "starter" not in wrong.text and "season" not in wrong.text


def test_who_may_only_look_sees_what_is_in_force_and_changes_nothing(
    server: Any, enter: Enter
) -> None:
    browser = enter(server, "read")
    page = browser.get("/models/policy", params={"task": TASK, "target": "error<=0.2"}).text
    assert "best F1" in page and "This log-in may look" in page
    assert "Put in force" not in page and "Look<" not in page
    form = {"task": TASK, "model": "2", "target": "error<=0.2"}
    assert browser.post("/models/policy", data=form).status_code == 403
    assert policy(server) == (1, "best-f1")


def test_without_held_out_answers_the_page_says_why_and_restores_still(
    server: Any, enter: Enter
) -> None:
    browser, folder = enter(server), server.project.root / "models" / TASK / "2"
    (folder / "heldout.safetensors").unlink()
    answer = browser.get("/models/policy", params={"task": TASK})
    assert answer.status_code < 500 and 'role="alert"' in answer.text
    assert "Every policy of model 2" in answer.text
    (folder / "head.safetensors").unlink()
    broken = browser.get("/models/policy", params={"task": TASK})
    assert 'role="alert"' in broken.text
    assert str(server.project.root.parent) not in answer.text + broken.text, "where that is"


def test_a_task_without_a_model_of_its_own_has_a_page_that_says_so(
    server: Any, enter: Enter
) -> None:
    server.project.store.labels.add_task("season", "single", ["summer", "winter"])
    browser = enter(server)
    for task in ("season", "starter"):
        for answer in (
            browser.get("/models/policy", params={"task": task}),
            browser.post("/models/policy", data={"task": task, "model": "1", "restore": "1"}),
            browser.post("/models/policy", data={"task": task, "model": "1", "target": "best-f1"}),
        ):
            assert answer.status_code in (404, 422), (task, answer.text)
            assert 'role="alert"' in answer.text


@pytest.mark.parametrize("percent", ["", "x", "inf", "1e999"])
def test_a_number_that_is_none_is_refused(percent: str) -> None:
    with pytest.raises(Problem, match="number"):
        _wanted({"aim": "error", "percent": percent})


@pytest.mark.slow
def test_a_tree_has_aims_and_no_classes_and_a_score_has_neither(
    home: Path, serve: Any, enter: Enter
) -> None:
    with listlens.open(home) as project:
        choices = project.policy_choices("tree")
        assert choices["aims"] and choices["classes"] == [] == choices["tried"]
        with pytest.raises(InputError, match="one threshold"):
            project.policy_choices("tree", "one > disc")
        with pytest.raises(InputError, match="score"):
            project.policy_choices("score")
    with serve(home) as running:
        browser = enter(running)
        assert browser.get("/models").text.count('href="/models/policy?') == 3
        assert browser.get("/models/policy").text.count('href="/models/policy?') >= 3
        tree = browser.get("/models/policy", params={"task": "tree"}).text
        assert "Other aims" in tree and "Classes</h2>" not in tree and "of each class" not in tree
        multi = browser.get("/models/policy", params={"task": "multi", "class": "many"}).text
        assert "many by hand" in multi
        score = browser.get("/models/policy", params={"task": "score"})
        assert score.status_code == 200 and "it has no threshold" in score.text


@pytest.mark.slow
def test_a_person_with_a_phone_chooses_an_aim(server: Any, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    address = "http://{}:{}".format(*server.address)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True)
        phone = context.new_page()
        said: list[str] = []
        phone.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        phone.goto(f"{address}/login")
        phone.fill("#token", server.token)
        phone.tap("main button")
        phone.wait_for_url(f"{address}/")
        phone.goto(f"{address}/models")
        phone.tap("text=Thresholds")
        phone.tap("th a >> nth=0")
        phone.wait_for_selector("h2:has-text('by hand')")
        phone.tap("tr:has-text('at most 20') button")
        phone.wait_for_selector("text=what it would do")
        widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scroll, client = phone.evaluate(widths)
        phone.screenshot(path=str(tmp_path / "policy.png"), full_page=True)
        assert scroll <= client == 400, f"{scroll} px wide"
        cut = "[...document.querySelectorAll('.wide')].map(e => e.scrollWidth - e.clientWidth)"
        assert max(phone.evaluate(cut)) <= 0, "no column is cut off"
        phone.tap("text=Put in force")
        phone.wait_for_selector("text=Policy 2 is in force")
        assert policy(server) == (2, "error<=0.2") and not said
        browser.close()
