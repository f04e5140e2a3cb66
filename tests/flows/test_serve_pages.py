"""The pages and the command: log-in, status, a photo to try; started, stopped, told to do wrong."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import listlens

RUN = "import sys; from listlens.cli import main; sys.exit(main())"


@pytest.fixture
def browser(home_server: Any) -> Iterator[httpx.Client]:
    """A client that logged in as a person does."""
    with home_server.client("", headers={"Accept": "text/html"}) as client:
        done = client.post("/login", data={"token": home_server.token})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        yield client


def test_a_browser_without_a_token_sees_the_log_in(home_server: Any) -> None:
    with home_server.client("", headers={"Accept": "text/html,*/*"}) as client:
        page = client.get("/")
        assert page.status_code == 401 and 'action="/login"' in page.text
        assert page.headers["www-authenticate"].startswith("Bearer")
        wrong = client.post("/login", data={"token": "listlens_wrong"})
        assert wrong.status_code == 401 and "unknown, expired or revoked" in wrong.text
        assert "set-cookie" not in wrong.headers


def test_the_cookie_is_for_this_site_and_no_script(home_server: Any) -> None:
    with home_server.client("") as client:
        cookie = client.post("/login", data={"token": home_server.token}).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie


PAGES = ["/", "/try", "/login", "/models", "/jobs", "/models/diff?task=single&version=1",
         "/models/confirm?task=single&version=1&action=promote"]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_nothing_that_its_policy_forbids(browser: httpx.Client, path: str) -> None:
    page = browser.get(path)
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"<style|style=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page.text)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        if address.startswith("/static/"):
            assert browser.get(address).status_code == 200, address
        else:
            assert address.startswith(("/", "#")), "everything is vendored"


def test_the_status_page_shows_the_models(browser: httpx.Client) -> None:
    page = browser.get("/").text
    for words in ("single/2", "in the last minute", "score/2", "needed no looking at"):
        assert words in page


def test_a_photo_can_be_tried(
    browser: httpx.Client, draw_photo: Callable[..., Image.Image]
) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "SECRET-PLACE"
    draw_photo("disc", 77, (300, 200)).save(stream, "JPEG", exif=exif)
    page = browser.post("/try", files={"photo": ("<b>.jpg", stream.getvalue(), "image/jpeg")}).text
    assert "&lt;b&gt;.jpg" in page and "<b>.jpg" not in page
    assert 'src="data:image/jpeg;base64,' in page and "<meter" in page
    assert "single/2" in page and "SECRET-PLACE" not in page
    broken = browser.post("/try", files={"photo": ("x.jpg", b"no photo")}).text
    assert "not_an_image" in broken and "data:image" not in broken


def test_a_form_of_another_site_is_refused(browser: httpx.Client) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ):
        for path in ("/try", "/models/change", "/jobs"):
            refused = browser.post(path, files={"photo": ("x", b"y")}, headers=headers)
            assert refused.status_code == 403, (path, headers)
    own = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/try", files={"photo": ("x", b"y")}, headers=own).status_code == 200


def test_logging_out_forgets_the_token(browser: httpx.Client) -> None:
    assert browser.post("/logout").headers["location"] == "/login"
    assert browser.get("/").status_code == 401


def started(root: Path, *options: str) -> tuple[subprocess.Popen[str], list[str]]:
    """Start the real command; return it with what it said until it listens."""
    command = [sys.executable, "-c", RUN, "serve", "-p", str(root), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    said: list[str] = []
    while not said or "http://" not in said[-1]:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said.append(line.strip())
    return process, said


@pytest.mark.slow
def test_the_command_prints_a_token_once_and_stops_gently(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    listlens.init(root).close()
    process, said = started(root)
    try:
        url = re.findall(r"http://[0-9.:]+", said[-1])[0]
        token = next(line for line in said if line.startswith("listlens_"))
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            assert client.get("/health").json()["status"] == "ready"
            answer = client.get("/v1/models", headers={"Authorization": f"Bearer {token}"})
            assert answer.json()["models"][0]["task"] == "starter"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "Traceback" not in err and '"event": "request"' in err
    again, said = started(root, "--open-inference")
    again.terminate()
    again.communicate(timeout=30)
    assert not any(line.startswith("listlens_") for line in said)


def test_what_cannot_be_served_is_said_in_words(cli: Callable[..., Any], tmp_path: Path) -> None:
    listlens.init(tmp_path / "shop").close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = cli("serve", "-p", tmp_path / "shop", "--port", port)
    assert ran.code == 2 and "cannot listen" in ran.err and "--port" in ran.err
    ran = cli("serve", "-p", tmp_path / "shop", "--host", "0.0.0.0", "--open-inference")
    assert ran.code == 2 and "this machine only" in ran.err


@pytest.mark.slow
def test_the_pages_work_in_a_real_browser(home_server: Any, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium here")
    url = "http://{}:{}/login".format(*home_server.address)
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               f"--user-data-dir={tmp_path}", "--enable-logging=stderr", url]  # fmt: skip
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert 'name="token"' in done.stdout, f"after {time.monotonic() - begun:.0f} s"
    assert "Content Security Policy" not in done.stderr
