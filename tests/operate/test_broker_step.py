"""The step of docs/operate.md that adds a broker, run as it is written against NATS."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path

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
