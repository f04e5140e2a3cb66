"""Other servers' protocols: the Open Inference Protocol v2, and TensorFlow Serving's `:predict`.

A task is a model, and its versions are the live one and, where there is one, its canary. A call
that names no version is answered as `/v1/predict` does, photo by photo, and says which version
answered each; one that names a version is answered by that one alone. Both protocols have no word
for one photo that fails among others, so the whole call is refused and names it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from listlens._version import __version__
from listlens.core.errors import NotFoundError
from listlens.serve.bodies import Record, read_body
from listlens.serve.predicting import reason_of, result
from listlens.serve.problems import Problem
from listlens.serve.tensors import INPUT, LENGTH_HEADER, Output, read_infer, write_infer

if TYPE_CHECKING:
    from listlens.serve.answering import Answered
    from listlens.serve.app import Serving
    from listlens.serve.live import Served

OUTPUTS = ("probs", "prediction", "review", "version")
"""Calibrated probabilities FP32 `[n, classes]`, the decision as text BYTES `[n]` (JSON for several
classes), whether a person should look BOOL `[n]`, which version answered BYTES `[n]`."""


class Protocols:
    """The two protocols over one server.

    Args:
        serving: what answers.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def add_routes(self, app: FastAPI) -> None:
        """Add the addresses to the application; their own specifications describe them."""
        router = APIRouter(include_in_schema=False)
        router.get("/v2", response_model=None)(self.server)
        for what in ("live", "ready"):
            router.get(f"/v2/health/{what}", response_model=None)(self.alive)
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            router.get(path, response_model=None)(self.metadata)
            router.get(f"{path}/ready", response_model=None)(self.ready)
            router.post(f"{path}/infer", response_model=None)(self.infer)
        for path in ("/v1/models/{model}", "/v1/models/{model}/versions/{version}"):
            router.get(path, response_model=None)(self.tensorflow_status)
            router.post(f"{path}:predict", response_model=None)(self.tensorflow_predict)
        app.include_router(router)

    async def server(self) -> Response:
        """Say what this is."""
        about = {"name": "listlens", "version": __version__, "extensions": ["binary_tensor_data"]}
        return JSONResponse(about)

    async def alive(self) -> Response:
        """Say that calls are answered."""
        return JSONResponse({"live": True, "ready": True})

    async def metadata(self, model: str, version: str = "") -> Response:
        """Say what a model takes and gives."""
        served = self._served(model, version)
        n, others = len(served.live.classes), self._serving.models.current[model].both
        return JSONResponse(
            {
                "name": model,
                "versions": [str(one.live.version) for one in others],
                "platform": "listlens",
                "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
                "outputs": [
                    {"name": "probs", "datatype": "FP32", "shape": [-1, n]},
                    {"name": "prediction", "datatype": "BYTES", "shape": [-1]},
                    {"name": "review", "datatype": "BOOL", "shape": [-1]},
                    {"name": "version", "datatype": "BYTES", "shape": [-1]},
                ],
                "parameters": {"classes": list(served.live.classes), "kind": served.live.kind},
            }
        )

    async def ready(self, model: str, version: str = "") -> Response:
        """Say whether a model answers."""
        served = self._served(model, version)
        return JSONResponse({"name": model, "version": str(served.live.version), "ready": True})

    async def infer(self, request: Request, model: str, version: str = "") -> Response:
        """Answer photos, as the Open Inference Protocol has it."""
        served = self._served(model, version)
        config = self._serving.predicting.config
        with self._serving.predicting.budget.share() as share:
            body = await read_body(request, config.max_body_bytes, share)
            header = request.headers.get(LENGTH_HEADER, "")
            call = read_infer(body, header, config.max_records)
            answered = await self._answered(call.photos, served)
        rows = [one.answers[0] for one in answered]
        versions = [str(row.served.live.version) for row in rows]
        outputs: dict[str, Output] = {
            "probs": np.stack([row.probs for row in rows]).astype(np.float32),
            "prediction": [_text(result(row, 0)["prediction"]) for row in rows],
            "review": np.array([row.decision.review for row in rows]),
            "version": versions,
        }
        named = ",".join(sorted(set(versions), key=int))
        data, n_json = write_infer(call, model, named, outputs)
        headers = {} if n_json is None else {LENGTH_HEADER: str(n_json)}
        kind = "application/json" if n_json is None else "application/octet-stream"
        return Response(data, headers=headers, media_type=kind)

    async def tensorflow_status(self, model: str, version: str = "") -> Response:
        """Say that a model is there, as TensorFlow Serving does."""
        served = self._served(model, version)
        state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return JSONResponse(
            {"model_version_status": [{"version": str(served.live.version)} | state]}
        )

    async def tensorflow_predict(self, request: Request, model: str, version: str = "") -> Response:
        """Answer photos, as TensorFlow Serving's REST interface has it: a row of numbers each."""
        served = self._served(model, version)
        config = self._serving.predicting.config
        with self._serving.predicting.budget.share() as share:
            body = await read_body(request, config.max_body_bytes, share)
            call = read_infer(_as_infer(body), "", config.max_records)
            answered = await self._answered(call.photos, served)
        return JSONResponse({"predictions": [one.answers[0].probs.tolist() for one in answered]})

    def _served(self, model: str, version: str) -> Served:
        """What answers a call; a canary only where its classes are those that the metadata name."""
        try:
            (served,) = self._serving.models.chosen([model])
        except NotFoundError as error:
            raise Problem("unknown-task", str(error)) from None
        alone = replace(served, canary=None)
        canary = served.canary
        if not version:
            same = canary is not None and canary.live.classes == served.live.classes
            return served if same else alone
        known = {str(one.live.version): one for one in (alone, canary) if one is not None}
        if version not in known:
            there = " and ".join(known)
            raise Problem(
                "not-found",
                f"version {version[:20]!r} of {model!r} does not answer; {there} "
                f"{'do' if len(known) > 1 else 'does'}.",
            )
        return known[version]

    async def _answered(self, photos: list[bytes], served: Served) -> list[Answered]:
        records = [Record(place, data) for place, data in enumerate(photos)]
        answered = await self._serving.predicting.answer(records, [served])
        for place, one in enumerate(answered):
            if one.error is not None:
                reason, detail = reason_of(one.error)
                raise Problem("invalid", f"photo {place} cannot be used: {reason}: {detail}")
        return answered


def _text(prediction: Any) -> str:
    return prediction if isinstance(prediction, str) else json.dumps(prediction)


def _as_infer(body: bytes) -> bytes:
    """A call of TensorFlow Serving as one of the other protocol: `{"b64": ...}` an instance."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", f"The body is no JSON in UTF-8: {error}.") from None
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list):
        raise Problem("invalid", 'The body must be {"instances": [{"b64": "..."}, ...]}.')
    texts = []
    for one in instances:
        inner = next(iter(one.values()), None) if isinstance(one, dict) and len(one) == 1 else None
        value = inner.get("b64") if isinstance(inner, dict) else inner
        if not isinstance(value, str) or (not isinstance(inner, dict) and "b64" not in one):
            raise Problem(
                "invalid", 'Each instance must be {"b64": "..."} or {"NAME": {"b64": "..."}}.'
            )
        texts.append(value)
    tensor = {"name": INPUT, "datatype": "BYTES", "shape": [len(texts)], "data": texts}
    return json.dumps({"inputs": [tensor]}).encode()
