"""The step of docs/operate.md that adds a broker, run as it is written against NATS."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from listlens.brokers.registry import open_inlet, open_outlet
from listlens.core.errors import BrokerError
from listlens.core.messages import Outgoing

ROOT = Path(__file__).resolve().parents[2]
AT = os.environ.get("LISTLENS_TEST_NATS", "nats://127.0.0.1:4222")


@pytest.fixture
def names() -> Iterator[dict[str, str]]:
    """New subjects in the place of those of the page."""
    made = {name: f"{name}-{uuid.uuid4().hex[:12]}" for name in ("photos", "results")}
    try:
        open_inlet(f"{AT}/{made['photos']}").close()
    except BrokerError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no NATS with JetStream (LISTLENS_TEST_NATS): {error}")
        pytest.skip(f"no NATS with JetStream here (LISTLENS_TEST_NATS): {error}")
    yield made

    async def clear() -> None:
        import nats

        client = await nats.connect(AT)
        for name in made.values():
            await client.jetstream().delete_stream(name)
        await client.close()

    asyncio.run(clear())


def blocks(language: str, names: dict[str, str]) -> list[str]:
    """The blocks of the step, with our subjects in the place of theirs."""
    text = (ROOT / "docs/operate.md").read_text("utf-8")
    step = text.partition("## 7. And a broker")[2].partition("\n## ")[0]
    for name, ours in names.items():
        step = step.replace(f"nats://127.0.0.1:4222/{name}", f"{AT}/{ours}")
    return re.findall(rf"```{language}\n(.*?)```", step, re.DOTALL)


@pytest.mark.slow
def test_the_step_with_a_broker_does_what_it_says(names, project, shop, cli, monkeypatch):
    monkeypatch.chdir(project.parent)
    project.rename("shop")
    check, topics = (shlex.split(block) for block in blocks("text", names))
    (settings,) = blocks("toml", names)
    path = Path("shop/listlens.toml")
    text = path.read_text().replace('photos = ""', f'photos = "{shop.photos}"')
    head, _, rest = text.partition("[brokers]")
    path.write_text(head + settings + rest.partition("announce = []")[2])

    photo = next(iter(shop.classes))
    event = {"kind": "photo.added", "listing_id": "L1", "photo_id": "a", "path": photo}
    outlet = open_outlet(f"{AT}/{names['photos']}")
    outlet.send([Outgoing(json.dumps(event).encode(), "L1", "first")])
    outlet.close()

    shown = cli(*check[1:])
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["path"] == photo
    assert cli("work", "--drain", "-p", "shop").code == 0
    listed = cli(*topics[1:])
    assert f"in   {AT}/{names['photos']}" in listed.out
    results = open_inlet(f"{AT}/{names['results']}")
    (told,) = results.receive(5, 5.0)
    results.close()
    said = json.loads(told.body)
    assert said["results"]["label"]["prediction"] == shop.classes[photo]


@pytest.mark.slow
def test_a_server_says_that_a_broker_is_gone_and_answers_calls_all_the_same(project, serving):
    path = project / "listlens.toml"
    gone = "nats://nobody:s3cret@127.0.0.1:1/photos"
    path.write_text(path.read_text().replace("sources = []", f'sources = ["{gone}"]', 1))
    with serving(project) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        until = time.monotonic() + 60
        while True:
            health = httpx.get(f"{server.url}/health")
            assert health.status_code == 200
            if health.json()["status"] == "degraded":
                break
            assert time.monotonic() < until, health.text
            time.sleep(0.2)
        assert "nats://127.0.0.1:1/photos" in health.json()["detail"]
        assert "s3cret" not in health.text
        metrics = httpx.get(f"{server.url}/metrics", headers=headers).text
        assert 'listlens_topic_received_total{topic="nats://127.0.0.1:1/photos"} 0.0' in metrics
