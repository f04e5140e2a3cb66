"""The examples as they stand in the repository, against the real server."""

from __future__ import annotations

import functools
import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_calls_of_curl_are_answered(served: Any, shop: Any, photo_host: str) -> None:
    name, shape = sorted(shop.classes.items())[0]
    other, other_shape = sorted(shop.classes.items())[1]
    command = ["sh", str(EXAMPLES / "curl.sh"), str(shop.photos / name), f"{photo_host}/{name}"]
    environment = {**os.environ, "LISTLENS_URL": served.url, "LISTLENS_TOKEN": served.token}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    predicted, told, feed, listing = (
        json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")
    )
    assert predicted["records"][0]["results"]["label"]["prediction"] == shape
    assert told["new"] == 1 and feed["events"][0]["listing_id"] == "curl-1"
    assert listing["photos"][0]["results"]["label"]["prediction"] == shape
    # Again, with much announced before that is none of its business.
    with served.client() as client:
        client.put(
            {"kind": "listing.changed", "listing_id": f"other-{n}", "attributes": {"n": n}}
            for n in range(150)
        )
        served.settled()
    command[-1] = f"{photo_host}/{other}"
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, told, feed, listing = (
        json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")
    )
    assert told["new"] == 1 and [one["listing_id"] for one in feed["events"]] == ["curl-1"]
    assert listing["photos"][0]["results"]["label"]["prediction"] == other_shape
    wrong = {**environment, "LISTLENS_TOKEN": "listlens_wrong"}
    done = subprocess.run(
        command, env=wrong, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0 and "urn:listlens:problem:unauthorized" in done.stdout


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def django(folder: Path, port: int, environment: dict[str, str]) -> Iterator[Callable[..., str]]:
    """Run the Django project as its README says; yields what runs its commands."""
    env = {**os.environ, **environment, "SHOP_FOLDER": str(folder)}
    env |= {"DJANGO_SUPERUSER_PASSWORD": "secret", "PYTHONDONTWRITEBYTECODE": "1"}
    base = [sys.executable, str(EXAMPLES / "django_shop" / "manage.py")]

    def manage(*arguments: str) -> str:
        done = subprocess.run(
            [*base, *arguments], env=env, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    manage("migrate", "--run-syncdb", "-v", "0")
    manage("createsuperuser", "--noinput", "--username", "ann", "--email", "ann@shop.example")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*base, "runserver", "--noreload", f"127.0.0.1:{port}"],
            env=env, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield manage
        finally:
            server.terminate()
            server.wait(30)


class Admin:
    """A person in a browser at the admin."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=60, trust_env=False)
        until = time.monotonic() + 180
        while True:
            try:
                self.http.get("/admin/login/")
                break
            except httpx.TransportError:
                assert time.monotonic() < until, "Django does not start"
                time.sleep(0.2)
        page = self.post("/admin/login/?next=/admin/", {"username": "ann", "password": "secret"})
        assert "Log out" in page

    def page(self, path: str) -> str:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, fields: dict[str, Any], **how: Any) -> str:
        page = self.page(path)
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert found is not None
        answer = self.http.post(path, data={"csrfmiddlewaretoken": found[1], **fields}, **how)
        assert answer.status_code == 200 and "errornote" not in answer.text, answer.text
        return answer.text

    def upload(self, file: Path) -> None:
        fields = {"listing": "1", "position": "0", "_save": "Save"}
        for key, value in {"TOTAL": 0, "INITIAL": 0, "MIN_NUM": 0, "MAX_NUM": 0}.items():
            fields[f"tags-{key}_FORMS"] = str(value)
        with file.open("rb") as photo:
            self.post("/admin/shop/photo/add/", fields, files={"file": (file.name, photo)})

    def waits_for(self, text: str) -> str:
        """Return the list of photos once it shows a text."""
        until = time.monotonic() + 180
        while text not in (page := self.page("/admin/shop/photo/")):
            assert time.monotonic() < until, page
            time.sleep(0.2)
        return page


def test_an_upload_in_django_is_tagged_in_its_admin(
    project: Path,
    serving: Callable[..., Any],
    allowing: Callable[..., None],
    shop: Any,
    tmp_path: Path,
) -> None:
    pytest.importorskip("django")
    name, shape = sorted(shop.classes.items())[0]
    port, folder = free_port(), tmp_path / "django"
    folder.mkdir()
    site = f"http://127.0.0.1:{port}"
    allowing(project, site)
    running = functools.partial(serving, project)
    with running() as served, served.client() as client:
        secret = client.add_webhook(f"{site}/listlens/").secret
        url, token = served.url, served.token
        environment = {"LISTLENS_URL": url, "LISTLENS_TOKEN": token, "SITE_URL": site,
                       "LISTLENS_WEBHOOK_SECRET": secret}  # fmt: skip
        with django(folder, port, environment) as manage:
            admin = Admin(site)
            admin.post("/admin/shop/listing/add/", {"title": "A home", "_save": "Save"})
            admin.upload(shop.photos / name)
            admin.waits_for(f"label: {shape}")
            assert shape in admin.page("/admin/shop/photo/1/change/")
            broken = tmp_path / "broken.jpg"
            broken.write_bytes(b"no photo")
            admin.upload(broken)
            served.settled()
            failed = client.listing("1").photos[1]
            assert failed.reason == "not_an_image"
            admin.waits_for(html.escape(failed.detail[:200]))
            refused = httpx.post(f"{site}/listlens/", content=b"{}", trust_env=False)
            assert refused.status_code == 400, "it is not signed"

            served.process.terminate()
            served.process.wait(60)
            admin.upload(shop.photos / name)
            page = admin.page("/admin/shop/photo/")
            assert "photo 3 of A home" in page, "an upload goes on without listlens"
            with running(port=int(url.rpartition(":")[2])):
                assert manage("tell_listlens") == "1 photos told\n"
                until = time.monotonic() + 180
                while page.count(f"label: {shape}") < 2:
                    assert time.monotonic() < until, page
                    page = admin.page("/admin/shop/photo/")
                    time.sleep(0.2)
                assert manage("tell_listlens") == "0 photos told\n"
