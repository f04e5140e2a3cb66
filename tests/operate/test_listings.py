"""A listing told as a whole over HTTP, worked on by the server's own worker, and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.core.errors import AccessError, InputError, NotFoundError
from listlens.pipeline.listings import listing_view, tell
from listlens.store.open import open_store


def photos(host: str, names: list[str]) -> list[dict[str, Any]]:
    return [
        {"id": Path(name).stem + name[:7], "url": f"{host}/{name}", "position": n}
        for n, name in enumerate(names)
    ]


def test_a_listing_is_told_and_read_back_with_its_tags(
    served: Any, shop: Any, photo_host: str
) -> None:
    names = sorted(shop.classes)[:3]
    said = photos(photo_host, names)
    with served.client() as client:
        moment = "2026-01-02T00:00:00Z"
        about = {"seller_id": "S", "attributes": {"price": 10}, "at": moment}
        assert client.put_listing("a/b ü", said, **about).new == 4
        assert client.put_listing("a/b ü", said, **about).duplicates == 4
        served.settled()
        found = client.listing("a/b ü", top=1)
        assert (found.seller_id, found.attributes, found.waiting) == ("S", {"price": 10}, 0)
        assert [one.id for one in found.photos] == [one["id"] for one in said]
        results = [one.results["label"] for one in found.photos]
        assert [one.prediction for one in results] == [shop.classes[name] for name in names]
        assert results[0].model == "label/1" and len(results[0].probabilities) == 1

        (asked,) = client.predict([said[0]["url"]], ["label"], top=1)
        assert (asked.results or {})["label"].probability == pytest.approx(
            results[0].probability, abs=2e-3
        ), "as stored, in half precision"

        changed = [{**said[1], "position": 0}]
        assert client.put_listing("a/b ü", changed, complete=True).new == 3
        served.settled()
        after = client.listing("a/b ü")
        assert [(one.id, one.position) for one in after.photos] == [(said[1]["id"], 0)]
        assert after.attributes == {"price": 10}, "what is left out stays"


def test_complete_reaches_photos_whose_events_are_still_waiting(tmp_path: Path) -> None:
    said = photos("https://shop.example", ["home-00/0.jpg", "home-00/1.jpg", "home-00/2.jpg"])
    with open_store("sqlite:///listlens.db", tmp_path) as store:
        assert tell(store, "L", {"photos": said}, store.clock()).new == 3
        waiting = listing_view(store, [], "L")
        assert waiting is not None and (waiting["waiting"], waiting["photos"]) == (3, [])
        told = tell(store, "L", {"photos": said[:1], "complete": True}, store.clock())
        assert told.new == 3, "the first once more, and the others as deleted"
        kinds = [event.kind for event in store.events.claim("me", 9, 60)]
        assert sorted(kinds)[-2:] == ["photo.deleted", "photo.deleted"] and len(kinds) == 6
        assert listing_view(store, [], "M") is None


def test_a_photo_without_a_place_goes_to_the_dead_letters(served: Any) -> None:
    with served.client() as client:
        put = client.put_listing("B", [{"id": "x"}, {"id": "y", "url": "http://10.0.0.1/a.jpg"}])
        assert (put.new, put.dead) == (1, 1)
        assert put.wrong == [
            "photo 'x': url, path: a photo that was added or changed has one of them, not none"
        ]
        served.settled()
        (photo,) = client.listing("B").photos
        assert (photo.status, photo.reason) == ("failed", "unsafe_address")
        assert photo.results == {}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"photos": [{"id": "c"}]}, "photo 'c': url, path"),
        ({"photos": [{"id": "c", "url": "https://x.example/c.jpg"}], "at": "yesterday"}, "'yest"),
        ({"attributes": {"a": 1}, "at": "yesterday"}, "at: ISO 8601"),
        ({"photos": [{"id": "c", "url": f"https://x.example/{n}"} for n in "ab"]}, "photos.1 have"),
    ],
)
def test_a_call_that_is_wrong_as_a_whole_is_refused_and_leaves_nothing(
    said: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with open_store("sqlite:///listlens.db", tmp_path) as store:
        with pytest.raises(InputError, match=why):
            tell(store, "L", said, store.clock())
        assert store.events.ledger().received == 0


def test_a_refused_listing_is_told_why_over_http(served: Any) -> None:
    with served.client() as client, pytest.raises(InputError, match="photo 'c': url, path"):
        client.put_listing("R", [{"id": "c"}])


def test_photos_are_found_by_tag(served: Any, shop: Any) -> None:
    with served.client() as client:
        hits = client.search("label:disc", limit=5)
        assert len(hits) == 5 and {one.class_ for one in hits} == {"disc"}
        assert all(shop.classes.get(one.image, "disc") == "disc" for one in hits)
        with pytest.raises(NotFoundError, match="no task has a tag"):
            client.search("sofa bed lamp")
        with pytest.raises(NotFoundError, match="listlens text"):
            client.search(words="sale")
        with pytest.raises(NotFoundError, match="no listing"):
            client.listing("never told")
        with pytest.raises(InputError, match="tag or words"):
            client.search()
        with pytest.raises(InputError, match="limit"):
            client.search("disc", limit=0)


def test_where_files_are_on_the_server_is_not_told(served: Any, shop: Any) -> None:
    """The photos that the project began with lie in a folder of the machine."""
    with served.client() as client:
        hits = client.search("disc", limit=50)
        assert hits and all(hit.location == hit.image for hit in hits if "://" not in hit.location)
        inside = next(hit for hit in hits if "://" not in hit.location)
        (photo, *_) = client.listing(inside.listing_id).photos
        assert photo.location == photo.id and (shop.photos / photo.location).is_file()


def test_reading_and_writing_need_their_scopes(served: Any) -> None:
    with listlens.open(served.root) as project:
        reads, _ = project.store.tokens.create(["read"])
        writes, _ = project.store.tokens.create(["write"])
    with served.client(reads) as client:
        assert client.search("disc", limit=1)
        with pytest.raises(AccessError):
            client.put_listing("C")
        with pytest.raises(AccessError):
            client.put([])
        with pytest.raises(AccessError):
            list(client.dead())
    with served.client(writes) as client:
        assert client.put_listing("C", attributes={"a": 1}).new == 1
        with pytest.raises(AccessError):
            client.listing("C")


@pytest.mark.slow
def test_a_worker_that_cannot_start_keeps_nobody_from_being_answered(
    project: Path, serving: Callable[..., Any], shop: Any
) -> None:
    (project / "models" / "label" / "1" / "model.json").write_text("{}")
    with serving(project) as served, served.client() as client:
        assert client.health().status == "degraded"
        assert client.put_listing("L", attributes={"a": 1}).new == 1
        assert client.ledger().waiting == 1
