"""Clients of other servers: Triton's for the Open Inference Protocol, TensorFlow Serving's REST."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import listlens
from listlens.serve.problems import Problem
from listlens.serve.tensors import read_infer

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")


@pytest.fixture
def photos(draw_photo: Callable[..., Image.Image]) -> list[bytes]:
    found = []
    for seed in (9001, 9002, 9003):
        stream = io.BytesIO()
        draw_photo("disc", seed, (320, 240)).save(stream, "JPEG")
        found.append(stream.getvalue())
    return found


@pytest.fixture
def client(home_server: Any) -> Iterator[Any]:
    with triton.InferenceServerClient("{}:{}".format(*home_server.address)) as opened:
        yield opened


@pytest.fixture
def headers(home_server: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {home_server.token}"}


def expected(server: Any, photos: list[bytes], as_record: Any, task: str) -> np.ndarray[Any, Any]:
    records = server.predict([as_record(data) for data in photos], tasks=[task])["records"]
    return np.array([list(r["results"][task]["probabilities"].values()) for r in records])


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_triton_s_client_gets_the_same_answers(
    home_server: Any, client: Any, headers: Any, photos: list[bytes], as_record: Any, binary: bool
) -> None:
    image = triton.InferInput("image", [len(photos)], "BYTES")
    image.set_data_from_numpy(np.array(photos, object), binary_data=True)
    names = ("probs", "prediction", "review")
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    answer = client.infer("single", [image], outputs=wanted, headers=headers, request_id="r1")
    probs = answer.as_numpy("probs")
    assert probs.dtype == np.float32
    assert probs == pytest.approx(expected(home_server, photos, as_record, "single"), abs=1e-6)
    said = [t.decode() if isinstance(t, bytes) else t for t in answer.as_numpy("prediction")]
    assert said == [["disc", "speckle", "stripes"][i] for i in probs.argmax(axis=1)]
    assert answer.as_numpy("review").dtype == bool
    response = answer.get_response()
    assert (response["model_version"], response["id"]) == ("2", "r1")


def test_all_outputs_come_where_none_is_named(
    client: Any, headers: Any, photos: list[bytes]
) -> None:
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array(photos[:1], object))
    answer = client.infer("multi", [image], headers=headers, model_version="2")
    assert answer.as_numpy("probs").shape == (1, 3)
    assert isinstance(json.loads(answer.as_numpy("prediction")[0]), list)


def test_pixels_are_answered_as_a_file_of_them(
    home_server: Any, client: Any, headers: Any, draw_photo: Any, as_record: Any
) -> None:
    image = draw_photo("speckle", 9100, (200, 120))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    pixels = np.asarray(image)[None]
    tensor = triton.InferInput("image", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels)
    probs = client.infer("tree", [tensor], headers=headers).as_numpy("probs")
    file = expected(home_server, [stream.getvalue()], as_record, "tree")
    assert probs == pytest.approx(file, abs=1e-6)


def test_health_and_metadata(client: Any, headers: Any) -> None:
    assert client.is_server_live() and client.is_server_ready(), "without a token"
    assert client.is_model_ready("score", headers=headers)
    assert not client.is_model_ready("nothing", headers=headers)
    assert client.get_server_metadata(headers=headers)["name"] == "listlens"
    metadata = client.get_model_metadata("single", headers=headers)
    assert metadata["inputs"][0]["datatype"] == "BYTES" and metadata["versions"] == ["2"]
    assert metadata["outputs"][0]["shape"] == [-1, 3]


@pytest.mark.parametrize(
    ("model", "version", "data", "said"),
    [
        ("singel", "", b"x", "Did you mean 'single'"),
        ("single", "7", b"x", "does not answer; 2 does"),
        ("single", "", b"no photo", "photo 0 cannot be used: not_an_image"),
    ],
    ids=["task", "version", "photo"],
)
def test_a_refusal_reads_in_the_client_s_words(
    client: Any, headers: Any, model: str, version: str, data: bytes, said: str
) -> None:
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([data], object))
    with pytest.raises(triton.InferenceServerException, match=said):
        client.infer(model, [image], headers=headers, model_version=version)


def test_tensorflow_serving_s_rest_call_is_answered(
    home_server: Any, photos: list[bytes], as_record: Any
) -> None:
    texts = [base64.b64encode(data).decode() for data in photos]
    rows = expected(home_server, photos, as_record, "single")
    with home_server.client() as client:
        state = client.get("/v1/models/single").json()["model_version_status"][0]
        assert (state["version"], state["state"]) == ("2", "AVAILABLE")
        for instances in ([{"b64": t} for t in texts], [{"image": {"b64": t}} for t in texts]):
            for path in ("/v1/models/single:predict", "/v1/models/single/versions/2:predict"):
                answer = client.post(path, json={"instances": instances})
                assert np.array(answer.json()["predictions"]) == pytest.approx(rows, abs=1e-6)
        for wrong in ({}, {"instances": [{}]}, {"instances": [[1, 2]]}, {"instances": "x"}):
            assert client.post("/v1/models/single:predict", json=wrong).status_code == 422
        assert client.post("/v1/models/nothing:predict", json={}).status_code == 404


def test_an_answer_names_the_version_that_gave_it(
    two_models: Path, serve: Any, shop: Any, as_record: Any
) -> None:
    with listlens.open(two_models) as project:
        project.registry.beside("label", share=0.5)
    files = [shop.photos / name for name in shop.classes]
    image = triton.InferInput("image", [len(files)], "BYTES")
    image.set_data_from_numpy(np.array([file.read_bytes() for file in files], object))
    with serve(two_models) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        asked = [as_record(file.read_bytes()) for file in files]
        said = server.predict(asked, tasks=["label"])["records"]
        with triton.InferenceServerClient("{}:{}".format(*server.address)) as client:
            assert client.get_model_metadata("label", headers=headers)["versions"] == ["1", "2"]
            both = client.infer("label", [image], headers=headers)
            alone = {
                v: client.infer("label", [image], headers=headers, model_version=v) for v in "12"
            }
    versions = [f"label/{v.decode()}" for v in both.as_numpy("version")]
    assert versions == [one["results"]["label"]["model"] for one in said]
    assert set(versions) == {"label/1", "label/2"}
    assert both.get_response()["model_version"] == "1,2"
    for version, answer in alone.items():
        assert answer.get_response()["model_version"] == version
        assert {v.decode() for v in answer.as_numpy("version")} == {version}
    probs = both.as_numpy("probs")
    for at, name in enumerate(versions):
        own = alone[name[-1]].as_numpy("probs")[at]
        assert probs[at] == pytest.approx(own, abs=1e-6)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["image", "x"]),
        "datatype": st.sampled_from(["BYTES", "UINT8", "FP32"]),
        "shape": st.one_of(json_values, st.lists(st.integers(0, 3), max_size=4)),
        "data": st.one_of(json_values, st.lists(st.sampled_from(["AAAA", "*"]), max_size=3)),
        "parameters": st.one_of(json_values, st.just({"binary_data_size": 8})),
    },
)


@settings(max_examples=300)
@given(st.one_of(json_values, tensors, st.lists(tensors, max_size=2)), st.binary(max_size=9))
def test_any_document_is_a_call_or_a_problem(inputs: Any, after: bytes) -> None:
    head = json.dumps({"inputs": inputs if isinstance(inputs, list) else [inputs]}).encode()
    try:
        call = read_infer(head + after, str(len(head)), 4)
    except Problem as problem:
        assert 400 <= problem.status < 500
    else:
        assert 1 <= len(call.photos) <= 4
