"""Photos in, answers out, over a real socket: as the command line answers, once a content."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

KINDS = ("single", "multi", "tree", "score")


def jpeg(draw: Callable[..., Image.Image], seed: int, shape: str = "disc") -> bytes:
    stream = io.BytesIO()
    draw(shape, seed, (320, 240)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@pytest.fixture
def new_photo(draw_photo: Callable[..., Image.Image]) -> Callable[[int], bytes]:
    """Photos that are in no store."""
    return lambda seed: jpeg(draw_photo, 1000 + seed)


def files_of(shop: Any, n: int = 6) -> list[Path]:
    return [shop.photos / name for name in sorted(shop.classes)[:n]]


def expected(kind: str, prediction: Any) -> Any:
    if kind == "multi":
        return list(prediction.classes)
    if kind == "score":
        return pytest.approx(prediction.score, abs=1e-6)
    return prediction.classes[0] if prediction.classes else None


@pytest.mark.parametrize("form", [False, True], ids=["base64", "multipart"])
def test_every_kind_is_answered_as_the_command_line_answers(
    home_server: Any, shop: Any, as_record: Any, form: bool
) -> None:
    files = files_of(shop)
    if form:
        parts: Any = [("photo", (f.name, f.read_bytes())) for f in files]
        with home_server.client() as client:
            answer = client.post("/v1/predict", files=parts, data={"tasks": list(KINDS)}).json()
    else:
        records = [as_record(f.read_bytes(), str(f)) for f in files]
        answer = home_server.predict(records, tasks=list(KINDS))
    said = {(p.image, task): p for task, p in home_server.project.predict(files, list(KINDS))}
    for file, one in zip(files, answer["records"], strict=True):
        assert one["id"] == (file.name if form else str(file)) and one["status"] == "ok"
        for kind in KINDS:
            prediction, result = said[str(file), kind], one["results"][kind]
            assert result["probabilities"] == pytest.approx(prediction.probs, abs=1e-6)
            assert result["prediction"] == expected(kind, prediction)
            assert result["probability"] == pytest.approx(prediction.probability, abs=1e-6)
            assert result["review"] == prediction.review
            assert result["model"] == f"{kind}/2"
            assert result.get("percentile") == prediction.percentile
            assert ("spread" in result) == (kind == "score")


@pytest.mark.data
def test_real_photos_get_the_probabilities_of_the_command_line(
    trained: Path, data_dir: Path, serve: Any, as_record: Any, cli: Callable[..., Any]
) -> None:
    files = sorted((data_dir / "houses").rglob("*.jpg"))[:7]
    ran = cli("predict", *files, "-p", trained, "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    with serve(trained) as server:
        answer = server.predict([as_record(f.read_bytes(), str(f)) for f in files])
        assert server.counters().batches < 7, "photos of one call share runs of the network"
    for one, line in zip(answer["records"], lines, strict=True):
        assert one["id"] == line["image"]
        result = one["results"]["label"]
        assert result["probabilities"] == pytest.approx(line["probs"], abs=1e-6)
        assert [result["prediction"]] == line["classes"]


def test_a_record_that_fails_leaves_the_others_alone(
    home_server: Any, new_photo: Callable[[int], bytes], as_record: Any
) -> None:
    good = new_photo(0)
    records = [
        as_record(good, "a"),
        as_record(b"<html>no photo</html>", 7),
        as_record(good[: len(good) // 2], "c"),
        {"id": "d", "base64": "***"},
        {"id": "e"},
        {"id": "f", "url": "http://127.0.0.1/x.jpg", "base64": "AA=="},
        {"base64": ""},
        as_record(good, "a"),
    ]
    answer = home_server.predict(records, tasks=["single"])
    assert [(r["id"], r["status"], r.get("reason")) for r in answer["records"]] == [
        ("a", "ok", None),
        (7, "failed", "not_an_image"),
        ("c", "failed", "truncated"),
        ("d", "failed", "bad_row"),
        ("e", "failed", "bad_row"),
        ("f", "failed", "bad_row"),
        (6, "failed", "empty"),
        ("a", "ok", None),
    ]
    failed = [r for r in answer["records"] if r["status"] == "failed"]
    assert all(r["detail"] and r["retry"] is False and "results" not in r for r in failed)
    assert answer["records"][0]["results"] == answer["records"][7]["results"]
    statistics = answer["statistics"]
    assert (statistics["records"], statistics["ok"], statistics["failed"]) == (8, 2, 6)
    assert (statistics["computed"], statistics["shared"]) == (1, 1)
    assert statistics["seconds"] > 0


def test_a_content_that_comes_again_is_neither_decoded_nor_embedded(
    home_server: Any, new_photo: Callable[[int], bytes], as_record: Any
) -> None:
    photo, broken = new_photo(11), b"not a photo at all"
    first = home_server.predict([as_record(photo), as_record(broken)], tasks=["single"])
    before = home_server.counters()
    assert first["statistics"]["computed"] == 1
    for tasks in (["single"], ["single", "score"], ["tree"]):
        again = home_server.predict([as_record(photo), as_record(broken)], tasks=tasks)
        assert again["statistics"]["cached"] == 1 and again["statistics"]["failed"] == 1
    assert home_server.counters() == before
    assert again["records"][1]["reason"] == first["records"][1]["reason"] == "not_an_image"


def test_a_content_of_the_store_is_not_looked_at_again(
    home_server: Any, shop: Any, as_record: Any
) -> None:
    file = shop.photos / sorted(shop.classes)[-1]
    before = home_server.counters()
    stored = home_server.predict([as_record(file.read_bytes())], tasks=["single"])
    assert stored["statistics"]["stored"] == 1
    assert home_server.counters() == before
    again = home_server.predict([as_record(file.read_bytes())], tasks=["single"])
    assert again["statistics"]["cached"] == 1
    (_, said), *_ = home_server.project.predict([file], ["single"])
    probabilities = again["records"][0]["results"]["single"]["probabilities"]
    assert probabilities == pytest.approx(said.probs, abs=1e-6)


def test_equal_photos_of_callers_at_once_are_looked_at_once(
    home_server: Any, new_photo: Callable[[int], bytes], as_record: Any
) -> None:
    photo = as_record(new_photo(12))
    before = home_server.counters().decoded
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: home_server.predict([photo], tasks=["single"]), range(8)))
    assert home_server.counters().decoded == before + 1
    hows = [a["statistics"] for a in answers]
    assert sum(h["computed"] for h in hows) == 1
    assert sum(h["shared"] + h["cached"] for h in hows) == 7
    assert len({json.dumps(a["records"]) for a in answers}) == 1


def test_predicting_stores_nothing(
    home: Path, home_server: Any, new_photo: Callable[[int], bytes], as_record: Any
) -> None:
    def state() -> tuple[Any, ...]:
        files = {p.name for p in home.rglob("*") if not p.name.startswith("listlens.db-")}
        return (
            files,
            home_server.project.status()["photos"],
            sum(1 for _ in home_server.project.store.contents.scan()),
        )

    before = state()
    home_server.predict([as_record(new_photo(i)) for i in range(3, 6)])
    assert state() == before


def test_the_likeliest_classes_are_enough_where_asked(
    home_server: Any, new_photo: Callable[[int], bytes], as_record: Any
) -> None:
    whole, two, none = (
        home_server.predict([as_record(new_photo(1))], tasks=["score"], **more)["records"][0][
            "results"
        ]["score"]["probabilities"]
        for more in ({}, {"top": 2}, {"top": 0})
    )
    assert list(two) == sorted(whole, key=whole.get, reverse=True)[:2]
    assert {c: whole[c] for c in two} == two and none == {}
    assert np.isclose(sum(whole.values()), 1, atol=1e-5)


def test_by_default_every_trained_task_answers(
    home_server: Any, new_photo: Callable[[int], bytes], as_record: Any
) -> None:
    (one,) = home_server.predict([as_record(new_photo(1))])["records"]
    assert set(one["results"]) >= set(KINDS)


def test_the_models_in_force_are_named_with_their_classes(home_server: Any) -> None:
    with home_server.client() as client:
        models = client.get("/v1/models").json()["models"]
    by_task = {m["task"]: m for m in models}
    assert by_task["single"]["classes"] == ["disc", "speckle", "stripes"]
    assert by_task["tree"]["model"] == "tree/2" and by_task["score"]["kind"] == "score"


def test_an_empty_project_answers_with_starter_tags(
    tmp_path: Path, serve: Any, new_photo: Callable[[int], bytes], as_record: Any
) -> None:
    import listlens

    listlens.init(tmp_path / "new").close()
    with serve(tmp_path / "new") as server:
        with server.client("") as client:
            health = client.get("/health")
        (one,) = server.predict([as_record(new_photo(1))])["records"]
    assert health.status_code == 200 and health.json()["models"] == ["starter/1"]
    assert list(one["results"]) == ["starter"]
    assert one["results"]["starter"]["model"] == "starter/1"
    assert "car" in one["results"]["starter"]["probabilities"]


def test_a_newer_model_takes_over_without_a_failed_call(
    project: Path, serve: Any, shop: Any, as_record: Any
) -> None:
    photo = as_record(files_of(shop)[0].read_bytes())
    seen = []
    with serve(project) as server, ThreadPoolExecutor(1) as pool:
        training = pool.submit(server.project.train, "label", force=True, seed=3, promote=True)
        for _ in range(2000):
            answer = server.predict([photo])
            seen.append(answer["records"][0]["results"]["label"]["model"])
            if seen[-1] == "label/2":
                break
        training.result(60)
    assert seen[0] == "label/1" and seen[-1] == "label/2"


def test_photos_come_by_their_address_too(
    home: Path, serve: Any, shop: Any, as_record: Any, tmp_path: Path
) -> None:
    file = files_of(shop)[0]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as images:
        images.folder = file.parent  # type: ignore[attr-defined]
        threading.Thread(target=images.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{images.server_port}"
        toml = home / "listlens.toml"
        before = toml.read_text()
        toml.write_text(before.replace("private = []", f'private = ["{there[7:]}"]'))
        try:
            with serve(home) as server:
                urls = [f"{there}/{file.name}", f"{there}/none.jpg", "http://10.0.0.1/", "file:///"]
                records = [{"id": url, "url": url} for url in urls]
                answer = server.predict([*records, as_record(file.read_bytes())], tasks=["single"])
        finally:
            toml.write_text(before)
            images.shutdown()
    first, missing, private, scheme, same = answer["records"]
    assert first["results"] == same["results"] and first["id"] == urls[0]
    assert missing["reason"] == "missing" and private["reason"] == "unsafe_address"
    assert {r["status"] for r in (missing, private, scheme)} == {"failed"}


class Files(http.server.BaseHTTPRequestHandler):
    """Sends the files of one folder."""

    def do_GET(self) -> None:
        path = self.server.folder / Path(self.path).name  # type: ignore[attr-defined]
        found = path.is_file()
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(path.read_bytes() if found else b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""
