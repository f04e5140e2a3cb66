"""From a stream or queue at Amazon to tags in the database and at a webhook, by the real worker."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

import listlens
from listlens.brokers.registry import open_inlet

COMMAND = [sys.executable, "-c", "import sys; from listlens.cli import main; main()"]


@dataclass
class Receiver:
    """What takes webhooks: what was sent to it, each signature checked."""

    secret: str = ""
    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)

    @property
    def results(self) -> dict[str, str]:
        """photo_id to tag."""
        said = [one["data"] for one in self.got]
        tagged = [one for one in said if "results" in one]
        return {one["photo_id"]: one["results"]["label"]["prediction"] for one in tagged}


@contextmanager
def serving(handler: Any) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            Webhook(made.secret).verify(body, dict(self.headers))
            made.got.append(json.loads(body))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with serving(Handler) as made.port:
        yield made


@pytest.fixture
def photo_host(shop: Any) -> Iterator[str]:
    """The shop's photos behind URLs on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    with serving(functools.partial(Quiet, directory=str(shop.photos))) as port:
        yield f"127.0.0.1:{port}"


def change(project: Path, old: str, new: str) -> None:
    settings = project / "listlens.toml"
    text = settings.read_text()
    assert old in text
    settings.write_text(text.replace(old, new))


def understand(project: Path, tables: str) -> None:
    """Say in a project's settings what a shop's events look like."""
    change(project, "mapping = {}\n", "")
    change(project, "kinds = {}\n", "")
    with (project / "listlens.toml").open("a") as settings:
        settings.write(f"\n{tables}")


@contextmanager
def worker(project: Path, *args: str) -> Iterator[Any]:
    """Run `listlens work`; told to stop in the end, it must end well."""
    command = [*COMMAND, "work", "-p", str(project), "--json", *args]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield ran
        ran.send_signal(signal.SIGTERM)
        _, err = ran.communicate(timeout=60)
        assert ran.returncode == 0, err
        assert "Traceback" not in err
    finally:
        ran.kill()
        ran.communicate()


def wait_for(done: Callable[[], bool], within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


@pytest.mark.slow
def test_the_kinesis_path(
    amazon: Any, project: Path, shop: Any, receiver: Receiver, photo_host: str, cli: Any
) -> None:
    """Events in a shop's own words, put into a stream, are tags in the database, at the webhook
    and in another stream, also those of the time between two workers."""
    change(project, "private = []", f'private = ["127.0.0.1:{receiver.port}", "{photo_host}"]')
    understand(
        project,
        """
        [events.mapping]
        id = "eventId"
        kind = "type"
        at = "modified"
        listing_id = "ad.id"
        photo_id = "ad.photo"
        url = "ad.href"
        [events.kinds]
        IMAGE_CREATED = "photo.added"
        """,
    )
    hook = cli("webhooks", "add", f"http://127.0.0.1:{receiver.port}/hook", "--json", "-p", project)
    receiver.secret = hook.json["secret"]
    came, told = f"came{time.time_ns()}", f"told{time.time_ns()}"
    amazon.make_stream(came, 2)
    amazon.make_stream(told)
    photos = sorted(shop.classes)[:8]

    def put(*names: str) -> None:
        records = []
        for name in names:
            ad = {"id": name.split("/")[0], "photo": name, "href": f"http://{photo_host}/{name}"}
            now = datetime.now(UTC).isoformat()
            event = {"eventId": f"e/{name}", "type": "IMAGE_CREATED", "modified": now, "ad": ad}
            records.append({"Data": json.dumps(event).encode(), "PartitionKey": ad["id"]})
        amazon.client("kinesis").put_records(StreamName=came, Records=records)

    at = f"endpoint={amazon.kinesis_url}"
    addresses = ["--source", f"kinesis://us-east-1/{came}?{at}&lease=2"]
    addresses += ["--announce", f"kinesis://us-east-1/{told}?{at}"]
    put(*photos[:4], photos[0], "home-00/none.jpg")
    with worker(project, *addresses):
        wait_for(lambda: len(receiver.results) == 4)
    put(*photos[4:6])  # while nobody listens
    with worker(project, *addresses):
        wait_for(lambda: len(receiver.results) == 6)
        put(*photos[6:])
        wait_for(lambda: len(receiver.results) == 8)
    assert receiver.results == {photo: shop.classes[photo] for photo in photos}
    wait_for(lambda: len(receiver.got) >= 9)
    ids = [one["data"]["id"] for one in receiver.got]
    assert len(set(ids)) == 9, "eight tagged and one missing"
    with listlens.open(project) as opened:
        ledger = opened.store.events.ledger()
        assert ledger.adds_up
        assert (ledger.states["done"], dict(ledger.reasons)) == (8, {"missing": 1})
        stored = {one.photo_id for one in opened.store.photos.scan() if one.status.value == "ok"}
        assert set(photos) <= stored
        positions = opened.store.positions
        inlet = open_inlet(f"kinesis://us-east-1/{told}?{at}&group=test", positions)
        said = []
        while got := inlet.receive(100, 1.0):
            inlet.acknowledge(got)
            said += [json.loads(one.body) for one in got]
        inlet.close()
    tags = {o["photo_id"]: o["results"]["label"]["prediction"] for o in said if "results" in o}
    assert tags == receiver.results


@pytest.mark.slow
def test_a_photo_that_is_put_into_a_bucket_is_tagged(
    amazon: Any, project: Path, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket tells a queue, the worker reads the queue, and fetches the photo from the bucket."""
    pytest.importorskip("obstore")
    bucket, queue = f"b{time.time_ns()}", f"q{time.time_ns()}"
    for name, value in {
        "AWS_ENDPOINT_URL": amazon.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3, sqs = amazon.client("s3"), amazon.client("sqs")
    s3.create_bucket(Bucket=bucket)
    sqs.create_queue(QueueName=queue)
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queue}"
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    change(project, "buckets = []", f'buckets = ["s3://{bucket}"]')
    page = (Path(__file__).resolve().parents[3] / "docs" / "aws.md").read_text()
    block = page.partition("<!-- events of a bucket -->\n```toml\n[events]\n")[2]
    each, _, tables = block.partition("```")[0].partition("\n\n")
    change(project, 'each = ""', each)
    understand(project, tables)
    photos = sorted(shop.classes)[:3]
    for photo in photos:
        s3.put_object(Bucket=bucket, Key=f"in/{photo}", Body=(shop.photos / photo).read_bytes())
    source = f"sqs://us-east-1/{queue}?unwrap=s3"
    with worker(project, "--source", source), listlens.open(project) as opened:
        wait_for(lambda: opened.store.events.ledger().outcomes.get("predicted") == 3)
        s3.delete_object(Bucket=bucket, Key=f"in/{photos[0]}")
        wait_for(lambda: opened.store.events.ledger().outcomes.get("deleted") == 1)
        announced = [one.body for one in opened.store.outbox.read(limit=100)[0]]
    tags = {
        f"{one['listing_id']}/{one['photo_id']}": one["results"]["label"]["prediction"]
        for one in announced
        if "results" in one
    }
    assert tags == {photo: shop.classes[photo] for photo in photos}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
def test_workers_that_are_killed_lose_and_double_nothing_of_a_stream(amazon: Any) -> None:
    name = f"s{time.time_ns()}"
    amazon.make_stream(name, 3)
    source = f"kinesis://us-east-1/{name}?endpoint={amazon.kinesis_url}&lease=1"
    script = Path(__file__).resolve().parents[3] / "benchmarks" / "faults.py"
    command = [sys.executable, str(script), "--events", "300", "--kills", "5", "--source", source]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    found = json.loads(ran.stdout)
    assert (found["problems"], ran.returncode) == ([], 0), ran.stderr[-2000:]
    assert found["kills"] >= 4
    assert found["ledger"]["received"] == 300
    assert found["ledger"]["adds_up"]
