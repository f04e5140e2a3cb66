"""The API's addresses for listings and for searches."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from listlens.core.errors import NotFoundError
from listlens.pipeline.listings import listing_view, tell
from listlens.pipeline.search import search
from listlens.serve.bodies import read_query, read_shape
from listlens.serve.documents import said
from listlens.serve.listing_shapes import (
    HitsOut,
    ListingIn,
    ListingOut,
    ListingQuery,
    SearchQuery,
    ToldOut,
)
from listlens.serve.problems import Problem

if TYPE_CHECKING:
    from listlens.pipeline.models import LiveModel
    from listlens.serve.app import Serving

LISTING_BYTES = 2 * 2**20


def add_listings(router: APIRouter, serving: Serving) -> None:
    """Add the addresses for listings and searches."""
    store = serving.project.store

    @router.put(
        "/v1/listings/{listing_id:path}",
        **said("Tell of a listing", "listings", ToldOut, body=ListingIn, status=202),
    )
    async def put(listing_id: str, request: Request) -> Response:
        """Take in a listing with its photos, as events; the photos are then fetched and answered.

        A photo that cannot be used goes to the dead letters and does not stop the others. Where a
        photo is named twice, or nothing can be used, all is refused. Needs scope `write`.
        """
        asked = await read_shape(request, serving.predicting.budget, ListingIn, LISTING_BYTES)

        def take() -> dict[str, Any]:
            return asdict(tell(store, listing_id, asked.model_dump(), store.clock()))

        return JSONResponse(await to_thread.run_sync(take), 202)

    @router.get(
        "/v1/listings/{listing_id:path}",
        **said(
            "What is known of a listing", "listings", ListingOut, query=ListingQuery,
            wrong=("not-found",),
        ),
    )  # fmt: skip
    async def get(listing_id: str, request: Request) -> Response:
        """Return a listing with its photos, each with its answers by task. Needs scope `read`."""
        asked = read_query(request, ListingQuery)

        def look() -> dict[str, Any]:
            found = listing_view(store, _live(serving), listing_id, asked.top)
            if found is None:
                raise NotFoundError(f"no listing {listing_id[:200]!r} is known, or on its way.")
            for photo in found["photos"]:
                photo["location"] = serving.places.shown(photo["location"], photo["id"])
            return found

        return JSONResponse(await to_thread.run_sync(look))

    _add_search(router, serving)


def _add_search(router: APIRouter, serving: Serving) -> None:
    @router.get(
        "/v1/search",
        **said("Find photos", "listings", HitsOut, query=SearchQuery, wrong=("not-found",)),
    )
    async def find(request: Request) -> Response:
        """Find photos by a tag, or by the words that are written on them. Needs scope `read`."""
        asked = read_query(request, SearchQuery)
        if (asked.tag is None) == (asked.words is None):
            raise Problem("invalid", "Say what to look for: tag or words, and only one of them.")

        def look() -> list[dict[str, Any]]:
            project = serving.project
            if asked.tag is not None:
                hits = search(project.store, _live(serving), asked.tag, asked.limit)
            else:
                hits = list(project.text.search(asked.words or "", asked.limit))
            for hit in hits:
                hit["location"] = serving.places.shown(hit["location"], hit["image"])
            return hits

        return JSONResponse({"hits": await to_thread.run_sync(look)})


def _live(serving: Serving) -> list[LiveModel]:
    return [one.live for _, one in sorted(serving.models.current.items())]
