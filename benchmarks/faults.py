"""What becomes of events when the worker is killed, over and over: each is accounted for once.

    python benchmarks/faults.py                              # 20,000 events, 100 kills, on SQLite
    python benchmarks/faults.py --store postgresql+psycopg://postgres@127.0.0.1/test
    python benchmarks/faults.py --broker nats                # or redis, rabbitmq, kafka
    python benchmarks/faults.py --events 600 --kills 10      # a first look
    python benchmarks/faults.py --source nats://127.0.0.1:4222/new

With `--source` the events go through a topic at a broker, which must be empty.

Photos are added, changed, deleted and added again; many have equal bytes, some are broken, some are
missing. A tenth of the events comes twice, and they come out of order. The worker is killed with
SIGKILL at random moments; on PostgreSQL its connections are cut by the server as well. With a
broker, events come in and announcements go out by a server of its own, which is killed too. In the
end a worker finishes what is left, and everything is compared with what the events say by
themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from fault_brokers import KINDS, Broker, GivenSource, OwnBroker
from meter import peak_mb
from photos import CACHE, with_comment
from PIL import Image

import listlens
from listlens.core.types import Status
from listlens.pipeline.event_door import let_in, understood
from listlens.store.open import Store
from listlens.stream.running import work

AT = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = """
[events]
photos = "files"
[worker]
lease_s = 3.0
attempts = 4
backoff_s = 0.05
backoff_max_s = 0.2
"""


@dataclass(frozen=True)
class Story:
    """All events that are sent, in the order they are sent, and the files they name."""

    sent: list[dict[str, Any]]
    shas: dict[str, str]  # of the usable files


def main() -> int:
    options = parse()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        found = run(Path(folder), options)
    print(json.dumps(found, indent=1))
    name = options.store.partition(":")[0].partition("+")[0] or "sqlite"
    name += f"-{options.broker}" if options.broker else ""
    (CACHE / f"faults-{name}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 1 if found["problems"] else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--cuts", type=int, default=10, help="of connections, on PostgreSQL")
    parser.add_argument("--store", default="", help="URL of a PostgreSQL; default: SQLite")
    parser.add_argument("--broker", choices=KINDS, help="a server of it is started, and killed")
    parser.add_argument("--broker-kills", type=int, default=10)
    parser.add_argument("--source", help="address of an empty topic that the events go through")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def run(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Send the story, kill workers meanwhile, let one finish, and compare."""
    dice = random.Random(options.seed)
    story = make_story(root / "files", options.events, dice)
    url = options.store
    schema = f"faults_{os.getpid()}"
    if url:
        url += f"{'&' if '?' in url else '?'}application_name={schema}&schema={schema}"
    store = f'[store]\nurl = "{url}"\n' if url else ""
    (root / "listlens.toml").write_text(store + SETTINGS, encoding="utf-8")
    warm_up(root)
    broker: Broker | None = GivenSource(options.source) if options.source else None
    if options.broker:
        broker = OwnBroker(options.broker, root / "broker")
    began = time.monotonic()
    kills, cuts = lives(root, story, options, dice, schema, broker)
    with listlens.open(root) as project:
        taken = project.store.events.ledger().received
    flat = last_life(root, broker, len({said["id"] for said in story.sent}))
    with listlens.open(root) as project:
        problems = compare(project.store, story, broker)
        result = {
            "database": (url or "sqlite").partition(":")[0],
            "source": (options.source or "").partition("?")[0],
            "sent": len(story.sent),
            "taken_in_by_the_killed": taken,
            "kills": kills,
            "connections_cut": cuts,
            "seconds": round(time.monotonic() - began, 1),
            "ledger": {
                **project.store.events.ledger().as_dict(),
                "announced": project.store.outbox.count(),
            },
            **(about_broker(project.store, broker) if broker else {}),
            "photos": {k: v for k, v in project.store.photos.counts().items() if v},
            "memory_mb": flat,
            "problems": problems[:20],
            "n_problems": len(problems),
        }
    if url:
        drop(options.store, schema)
    if broker:
        broker.stop()
    return result


def about_broker(store: Store, broker: Broker) -> dict[str, Any]:
    topics = {one.way: one for one in store.topics.list()}
    return {
        "broker_killed": broker.killed,
        "messages_read": topics["in"].n,
        "messages_sent": topics["out"].n if "out" in topics else 0,
    }


# -- the story ----------------------------------------------------------------------------------


def make_story(files: Path, n: int, dice: random.Random) -> Story:
    """Write small photos, and tell n events about them, a tenth of them twice and out of order."""
    files.mkdir(parents=True)
    shas = {}
    base = [small_photo(seed) for seed in range(20)]
    for i in range(max(20, n // 10)):
        name, data = f"{i}.jpg", with_comment(base[i % 20], str(i).encode())
        if i % 33 == 5:
            data = data[: len(data) // 2]
        elif i % 33 == 6:
            data = b"<html>not found</html>" + str(i).encode()
        else:
            shas[name] = hashlib.sha256(data).hexdigest()
        (files / name).write_bytes(data)
    names = [*(p.name for p in files.iterdir()), *(f"missing-{i}.jpg" for i in range(n // 300 + 1))]
    events: list[dict[str, Any]] = []
    key = 0
    while len(events) < n:
        events += about_a_photo(f"p{key}", f"L{key // 8}", names, dice)
        key += 1
    events = events[:n]
    # What happened a minute apart at most may come in another order.
    order = sorted(events, key=lambda e: e["at_s"] + dice.uniform(0, 60))
    for twice in dice.sample(order, n // 10):
        order.insert(dice.randrange(len(order)), twice)
    return Story([sent(event) for event in order], shas)


def about_a_photo(
    photo: str, listing: str, names: list[str], dice: random.Random
) -> list[dict[str, Any]]:
    """What happens to one photo: it is added, perhaps changed, deleted, added again."""
    at_s = dice.uniform(0, 3600)
    kinds = ["photo.added", *["photo.changed"] * dice.choice([0, 0, 1, 2])]
    kinds += dice.choice([[], [], ["photo.deleted"], ["photo.deleted", "photo.added"]])
    told = []
    for kind in kinds:
        event = {"kind": kind, "listing_id": listing, "photo_id": photo, "at_s": round(at_s, 3)}
        if kind != "photo.deleted":
            event["path"] = dice.choice(names)
            if dice.random() < 0.2:
                event["attributes"] = {"price": dice.randrange(1000)}
        told.append(event)
        at_s += dice.uniform(0.1, 50)
    if dice.random() < 0.1:
        price = {"price": dice.randrange(1000)}
        told.append({"kind": "listing.changed", "listing_id": listing, "attributes": price,
                     "at_s": round(at_s, 3)})  # fmt: skip
    return told


def sent(event: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in event.items() if name != "at_s"}
    said["at"] = (AT + timedelta(seconds=event["at_s"])).isoformat()
    said["id"] = f"{event['kind']}/{event.get('photo_id', event['listing_id'])}/{event['at_s']}"
    return said


def small_photo(seed: int) -> bytes:
    import io

    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((96, 72))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()


# -- lives and deaths ---------------------------------------------------------------------------


def warm_up(root: Path) -> None:
    """Make the store, in a process of its own: no thread of a network may be there at a fork."""
    process = fork(lambda: listlens.open(root).close())
    os.waitpid(process, 0)


def lives(
    root: Path,
    story: Story,
    options: argparse.Namespace,
    dice: random.Random,
    schema: str,
    broker: Broker | None,
) -> tuple[int, int]:
    """Send a part of the story, let a worker live for a moment, kill it; again and again."""
    size = -(-len(story.sent) // max(1, options.kills))
    kills = cuts = 0
    for number in range(max(1, options.kills)):
        said = story.sent[number * size : (number + 1) * size]
        if broker is None:
            put(root, said)
        else:
            broker.send(said, number * size)
        if number >= options.kills:
            break
        reader, writer = os.pipe()

        def live(to: int = writer) -> None:
            with listlens.open(root) as project:
                project.backbone  # noqa: B018  loaded before its life begins
                os.write(to, b"!")
                work(project, threading.Event(), **topics(broker))

        child = fork(live)
        os.close(writer)
        select.select([reader], [], [], 120)
        time.sleep(dice.uniform(0.0, broker.life_s if broker else 3.0))
        every = max(1, options.kills // max(1, options.broker_kills))
        if broker is not None and broker.ours and number % every == every // 2:
            broker.kill_and_start(dice)
            time.sleep(dice.uniform(0.0, 3.0))
        if options.store and cuts < options.cuts and number % 5 == 2:
            cuts += cut(options.store, schema)
            time.sleep(dice.uniform(0.2, 1.5))
        alive = os.waitpid(child, os.WNOHANG)[0] == 0
        kills += alive
        if alive:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        if broker is not None:
            broker.worker_died()
        os.close(reader)
        if number % 10 == 9:
            print(f"{number + 1} lives", file=sys.stderr, flush=True)
    return kills, cuts


def topics(broker: Broker | None) -> dict[str, list[str]]:
    """What a worker reads and announces to, as `work` takes it."""
    return {"sources": [broker.source], "announce": list(broker.results)} if broker else {}


def put(root: Path, said: list[dict[str, Any]]) -> None:
    with listlens.open(root) as project:
        now, config = project.store.clock(), project.config.events
        let_in(project.store, (one for s in said for one in understood(s, config, now)))


def fork(body: Any) -> int:
    """Run something in a process of its own that shares what was imported; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        body()
        os._exit(0)
    except BaseException as error:
        print(f"a life ended: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)


def last_life(root: Path, broker: Broker | None, n_events: int) -> list[float]:
    """Let a worker finish what is left; return its memory (MB) over time."""
    path = root / "memory.json"

    def live() -> None:
        with listlens.open(root) as project:
            samples = [0.0]
            stop, done = threading.Event(), threading.Event()

            def sample() -> None:
                while not done.wait(1.0):
                    samples.append(resident_mb())

            threading.Thread(target=sample, daemon=True).start()
            while True:
                work(project, stop, "drained", **topics(broker))
                ledger = project.store.events.ledger()
                left = ledger.states["waiting"] + ledger.states["leased"]
                left += broker.left() + untold(project.store) if broker else 0
                if not left and ledger.received >= n_events:
                    break
                time.sleep(0.2)
            done.set()
            path.write_text(json.dumps([*samples[1:], resident_mb(), peak_mb()]))

    os.waitpid(fork(live), 0)
    samples = json.loads(path.read_text())
    return [round(samples[i * (len(samples) - 1) // 5], 1) for i in range(6)]


def untold(store: Store) -> int:
    """How many announcements no broker has confirmed yet: the lease of a killed process runs on."""
    cursors = [one.cursor for one in store.topics.list() if one.way == "out"]
    return store.outbox.count(min(cursors)) if cursors else 0


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cut(url: str, name: str) -> int:
    """Cut every connection of ours, as a restart of the server does."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        return int(bool(connection.execute(query, [name]).fetchall()))


def drop(url: str, schema: str) -> None:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA "{schema}" CASCADE'.encode())


# -- comparing ----------------------------------------------------------------------------------


def compare(store: Store, story: Story, broker: Broker | None = None) -> list[str]:
    """Say everything that is not as the events say by themselves.

    A broker may deliver an event once more after a kill.
    """
    events = {said["id"]: said for said in story.sent}
    ledger = store.events.ledger()
    problems = [] if ledger.adds_up else [f"the ledger does not add up: {ledger}"]
    n_twice = len(story.sent) - len(events)
    as_sent = ledger.duplicates >= n_twice if broker else ledger.duplicates == n_twice
    if ledger.received != len(events) or not as_sent:
        problems.append(f"received {ledger.received} of {len(events)}")
    if broker is not None:
        problems += compare_topics(store, broker)
    if ledger.states["waiting"] or ledger.states["leased"]:
        problems.append(f"not finished: {ledger.states}")
    problems += compare_photos(store, events, story.shas)
    problems += compare_listings(store, events)
    return problems + compare_announced(store, events) + compare_contents(store)


def compare_topics(store: Store, broker: Broker) -> list[str]:
    """Every message read is in the ledger, and every announcement came out at the broker."""
    ledger, problems = store.events.ledger(), list[str]()
    read = sum(one.n for one in store.topics.list() if one.way == "in")
    if read != ledger.received + ledger.duplicates:
        problems.append(f"{read} messages read, {ledger.received} + {ledger.duplicates} events")
    announced, after = list[str](), 0
    while True:
        page, after = store.outbox.read(after, limit=1000)
        announced += [one.event_key for one in page]
        if not page:
            break
    told = broker.told() if broker.results else announced
    problems += [f"never told: {key}" for key in set(announced) - set(told)]
    problems += [f"told of nothing: {key}" for key in set(told) - set(announced)]
    print(f"{len(announced)} announced, {len(told)} messages told", file=sys.stderr)
    return problems


def compare_photos(
    store: Store, events: dict[str, dict[str, Any]], shas: dict[str, str]
) -> list[str]:
    """The newest event of each photo decides what is stored of it."""
    newest: dict[str, dict[str, Any]] = {}
    for said in sorted(events.values(), key=lambda said: str(said["at"])):
        if "photo_id" in said:
            newest[said["photo_id"]] = said
    there = {photo.photo_id: photo for photo in store.photos.scan()}
    problems = []
    for name, said in newest.items():
        photo = there.pop(name, None)
        sha = shas.get(said.get("path", ""))
        if said["kind"] == "photo.deleted":
            ok = photo is None
        elif sha is not None:
            ok = photo is not None and (photo.status, photo.sha256) == (Status.OK, sha)
        else:
            ok = photo is not None and photo.status is Status.FAILED and photo.reason is not None
            end = store.events.get(said["id"])
            ok = ok and end.state.value == "dead" and end.reason == photo.reason.value
        if not ok:
            problems.append(f"{name}: {said} gave {photo}")
    return problems + [f"nobody told of {photo}" for photo in there.values()]


def compare_listings(store: Store, events: dict[str, dict[str, Any]]) -> list[str]:
    """What was said last of a listing stands, save where a photo's later event came before it."""
    problems = []
    last: dict[str, dict[str, Any]] = {}
    for said in sorted(events.values(), key=lambda said: str(said["at"])):
        if said["kind"] == "listing.changed":
            last[said["listing_id"]] = said
    for name, said in last.items():
        later = [
            e["attributes"] for e in events.values()
            if e["listing_id"] == name and "attributes" in e and e["at"] >= said["at"]
        ]  # fmt: skip
        found = store.photos.listing(name)
        if found is None or found["attributes"] not in later:
            problems.append(f"listing {name}: {found}, of {later}")
    return problems


def compare_announced(store: Store, events: dict[str, dict[str, Any]]) -> list[str]:
    """Each event that changed something was announced once, every other never."""
    announced, after = Counter[str](), 0
    while True:
        page, after = store.outbox.read(after, limit=1000)
        announced.update(one.body["event_id"] for one in page)
        if not page:
            break
    problems = []
    for key in events:
        end = store.events.get(key)
        quiet = end.outcome in ("superseded", "absent")
        if announced.pop(key, 0) != (0 if quiet else 1):
            problems.append(f"{key} ended as {end.outcome or end.reason}: wrongly announced")
        if end.state.value == "dead" and not end.reason:
            problems.append(f"{key} is dead without a reason")
    return problems + [f"announced without an event: {key}" for key in announced]


def compare_contents(store: Store) -> list[str]:
    """Every content that a photo shows has its embedding and answers; nothing else is kept."""
    shown = {p.content_id for p in store.photos.scan() if p.status is Status.OK and p.content_id}
    models = store.models.list()
    problems = [] if models else ["no model answered"]
    for model in models:
        missing = store.vectors.missing(model.space, sorted(shown))
        unanswered = store.predictions.missing(model.model_id, sorted(shown))
        problems += [f"content {pk} has no embedding" for pk in missing]
        problems += [f"content {pk} has no answer" for pk in unanswered]
    store.vectors.drop_damaged()
    if models and store.vectors.missing(models[0].space, sorted(shown)):
        problems.append("a file of embeddings is damaged")
    return problems


if __name__ == "__main__":
    sys.exit(main())
