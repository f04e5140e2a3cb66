"""A model that brings its own network is tagged with, asked, judged and exported as any other."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import listlens
from listlens.backbones.own_onnx import read_own_onnx
from listlens.core.errors import ModelError
from listlens.images.prepare import prepare
from listlens.learn.model import Model, folder_hash
from listlens.learn.recipe import train
from listlens.pipeline.apply import load_model
from listlens.pipeline.dataset import build_examples
from listlens.pipeline.finetune_photos import embed_examples
from listlens.pipeline.finetuning import FineTuned, Winner
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.judging import judge
from listlens.pipeline.model_saving import model_of, save_model
from listlens.pipeline.tagging import embed_missing

Cli = Callable[..., Any]
SIZE, DIM = 32, 24
TOLD = {"chosen": True, "reason": "it was brought", "n_learnt": 0, "n_apart": 0,
        "comparison": {"metric": "accuracy", "frozen": 0.9, "tuned": 1.0, "n_photos": 36,
                       "n_listings": 12, "gain": {"value": 0.1, "low": 0.0, "high": 0.2},
                       "loss_gain": {"value": -0.1, "low": -0.2, "high": -0.05}},
        "training": {"losses": [0.2, 0.1], "best_round": 1, "timed_out": False},
        "cost": {"seconds": 1.0, "megabytes": 0.1, "ms_per_photo": 0.2}}  # fmt: skip


def write_network(path: Path) -> None:
    """Write random filters and what they find on average; and its description."""
    kernels = np.random.default_rng(0).normal(0, 0.3, (DIM, 3, 5, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["photo"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["hwc"]),
        helper.make_node("Transpose", ["hwc"], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["chw", "kernels"], ["found"], strides=[2, 2]),
        helper.make_node("Relu", ["found"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["pooled"]),
    ]
    maps = ["N", DIM, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("photo", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", DIM]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, maps),
        ],
        [
            numpy_helper.from_array(kernels, "kernels"),
            numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    told = {"size_px": SIZE, "embedding": "pooled", "feature_map": "maps"}
    path.with_name(path.name + ".json").write_text(json.dumps(told))


def bring(home: Path, folder: Path, *, learnt_from: slice = slice(0), promote: bool = True) -> None:
    """Add a model with a network of its own, which learnt from the photos of some listings."""
    write_network(folder / "tuned.onnx")
    with listlens.open(home) as project:
        task = project.store.labels.task("label")
        network = replace(read_own_onnx(folder / "tuned.onnx", 448), name="small-finetuned")
        backbone = project.backbone.with_network(network)  # type: ignore[attr-defined]
        examples = build_examples(project.store, task, project.backbone.space)
        groups = examples.data.groups
        seen = np.isin(groups, np.unique(groups)[learnt_from])
        embeddings = embed_examples(examples, backbone, project.limits)
        data = replace(examples.data, embeddings=embeddings, seen=seen if seen.any() else None)
        examples = replace(examples, data=data)
        learnt = train(data)
        heldout = Heldout.from_trained(learnt, [p.photo.photo_pk for p in examples.photos])
        if seen.any():
            heldout = heldout.filled(Heldout.of(home / "models" / "label" / "1"))
        judged = judge(examples, heldout, learnt.classes, learnt.policy, None)
        tuned = FineTuned(TOLD, Winner(examples, learnt, backbone, folder / "tuned.onnx"))
        model = model_of(task, examples, learnt, judged, backbone, tuned)
        run = project.store.models.record_run(task.task_id, {}, examples.fingerprint, 0)
        saved = save_model(
            project.store, project.root, task, model, heldout, backbone, run, examples
        )
        if promote:
            project.store.stages.promote(saved.model_id)
        project.store.models.finish_run(run, "done", {"checks": [], "summary": {"lines": []}})


@pytest.fixture(scope="module")
def won(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose live model brings a network; no test changes it."""
    folder = tmp_path_factory.mktemp("won")
    home = Path(shutil.copytree(trained, folder / "project"))
    bring(home, folder)
    return home


def test_photos_that_a_network_learnt_from_count_in_no_comparison(
    trained: Path, tmp_path: Path, cli: Cli
) -> None:
    home = Path(shutil.copytree(trained, tmp_path / "project"))
    bring(home, tmp_path, learnt_from=slice(4))
    told = cli("compare", "label", "-p", home, "--json").json
    assert told["n"] == 24  # of 36, in 12 listings of 3
    assert told["protocol"].startswith("those apart from fine-tuning")


def test_the_folder_holds_the_network_and_its_hash_covers_it(won: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(won / "models" / "label" / "2", tmp_path / "2"))
    digest = folder_hash(folder)
    assert Model.load(folder, digest).own_backbone == folder / "backbone.onnx"
    assert "comes with the model as `backbone.onnx`" in (folder / "README.md").read_text()
    (folder / "backbone.onnx.json").write_text("{}")
    with pytest.raises(ModelError, match="hash differs"):
        Model.load(folder, digest)
    (folder / "backbone.onnx").unlink()
    with pytest.raises(ModelError, match=r"no backbone\.onnx"):
        Model.load(folder)


def test_another_network_in_its_place_is_refused(won: Path, tmp_path: Path, shop: Any) -> None:
    folder = Path(shutil.copytree(won / "models" / "label" / "2", tmp_path / "2"))
    described = json.loads((folder / "backbone.onnx.json").read_text())
    (folder / "backbone.onnx.json").write_text(json.dumps(described | {"fit": "crop"}))
    with pytest.raises(ModelError, match="not the network that the model was trained on"):
        load_model(folder)


def test_photos_get_the_same_answers_stored_asked_for_and_in_the_graph(
    won: Path, shop: Any, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(won, tmp_path / "home"))
    paths = [shop.photos / name for name in list(shop.classes)[:6]]
    with listlens.open(home) as project:
        reports = project.tag(["label"])
        assert (reports["label"].predicted, reports["label"].without_embedding) == (36, 0)
        assert project.tag(["label"])["label"].already == 36
        (live,) = project.models(["label"])
        space = project.backbone_for(live.model).space
        assert space.backbone == "small-finetuned"
        assert project.backbone.space.backbone == "efficientnet-lite0"
        ids = [v[0].content_id for v in project.store.photos.by_photo_id(
            [str(p.relative_to(shop.photos)) for p in paths]).values()]  # fmt: skip
        stored = project.store.predictions.get(live.model_id, ids)
        asked = [p for _, p in project.predict(paths, ["label"])]
        assert project.search("disc", limit=3)
        assert project.notices() == []
    loaded = load_model(home / "models" / "label" / "2")
    proba = loaded.predict_proba(paths)
    for row, content_id, answer in zip(proba, ids, asked, strict=True):
        assert np.abs(stored[content_id] - row).max() < 1e-3
        assert answer.probs == pytest.approx(dict(zip(loaded.classes, row.tolist(), strict=True)))
    pixels = np.stack([
        prepare(p.read_bytes(), loaded.backbone.preprocessing, measure=False).pixels for p in paths
    ])  # fmt: skip
    session = onnxruntime.InferenceSession(
        home / "models" / "label" / "2" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (probs,) = session.run(["probs"], {"image": pixels})
    assert np.abs(probs - proba).max() < 0.03  # the engine may compute in bfloat16


def test_models_of_two_networks_answer_side_by_side(won: Path, shop: Any, tmp_path: Path) -> None:
    home = Path(shutil.copytree(won, tmp_path / "home"))
    photo = shop.photos / next(iter(shop.classes))
    with listlens.open(home) as project:
        reports = project.tag(["label", "starter"])
        assert {name: r.without_embedding for name, r in reports.items()} == {
            "label": 0, "starter": 0,
        }  # fmt: skip
        assert [task for task, _ in project.predict([photo])] == ["label"]


def test_it_is_judged_again_by_its_own_embeddings_and_reported(
    won: Path, shop: Any, tmp_path: Path, cli: Cli
) -> None:
    home = Path(shutil.copytree(won, tmp_path / "home"))
    ran = cli("evaluate", "label", "-p", home, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["summary"]["fine_tuning"] == TOLD
    said = ran.json["summary"]["lines"][-1]
    assert said.startswith("Fine-tuning won and is used: accuracy 1.000 against 0.900")
    report = json.loads(Path(ran.json["files"]["report as JSON"]).read_text())
    assert report["fine_tuning"] == TOLD
    assert report["model"]["backbone"] == "small-finetuned"
    html = Path(ran.json["files"]["report"]).read_text(encoding="utf-8")
    assert 'id="fine-tuning"' in html
    assert "0.1 MB in the model" in html
    assert cli("export", home / "answers.csv", "-p", home).code == 0


@pytest.mark.slow
def test_photos_that_its_network_cannot_see_any_more_are_named(
    new_shop: Callable[..., Any], tmp_path: Path, cli: Cli
) -> None:
    shop, home = new_shop(tmp_path / "shop"), tmp_path / "home"
    listlens.auto(shop.photos, shop.labels, out=home)
    bring(home, tmp_path)
    lost = next(iter(shop.classes))
    (shop.photos / lost).unlink()
    ran = cli("evaluate", "label", "-p", home, "--json")
    assert ran.code == 0, ran.err
    (check,) = [c for c in ran.json["checks"] if c["name"] == "photos_left_out"]
    assert check["items"] == [lost]


def test_its_photos_are_read_within_the_projects_limits(
    won: Path, tmp_path: Path, cli: Cli
) -> None:
    home = Path(shutil.copytree(won, tmp_path / "home"))
    settings = (home / "listlens.toml").read_text(encoding="utf-8")
    narrow = re.sub(r"max_bytes = .*", "max_bytes = 100", settings)
    (home / "listlens.toml").write_text(narrow, encoding="utf-8")
    ran = cli("evaluate", "label", "-p", home)
    assert ran.code != 0
    assert "none of the 36 labelled photos can be embedded" in ran.err


@pytest.fixture
def waiting(trained: Path, tmp_path: Path) -> Path:
    """A project whose candidate brings a network that has looked at 12 of the 36 photos only."""
    home = Path(shutil.copytree(trained, tmp_path / "project"))
    bring(home, tmp_path, promote=False)
    with listlens.open(home) as project:
        model = Model.load(home / "models" / "label" / "2")
        ids = [c.content_id for c in project.store.contents.scan()][:12]
        embed_missing(project.store, project.backbone_for(model), project.limits, only=set(ids))
    return home


def test_a_network_of_its_own_looks_at_a_sample_before_it_is_promoted(
    waiting: Path, cli: Cli
) -> None:
    told = cli("models", "diff", "label", "--sample", "20", "-p", waiting, "--json").json
    assert (told["n"], told["models"]) == (20, [1, 2])
    cost = told["cost"]
    assert 0 < cost["to_embed"] < 24  # those of the sample are embedded now
    assert cost["to_predict"] == 36
    assert cost["embed_s_per_photo"] > 0
    said = cli("models", "diff", "label", "--sample", "20", "-p", waiting).out
    assert "Its own network embeds" in said
    every = cli("models", "diff", "label", "-p", waiting, "--json").json
    assert (every["n"], every["cost"]["to_embed"]) == (36, 0)  # 500 are allowed, 36 are there


def test_promoting_it_embeds_and_answers_the_stock_and_retiring_it_sweeps_its_vectors(
    waiting: Path, cli: Cli
) -> None:
    done = cli("models", "promote", "label", "-p", waiting, "--json").json
    assert (done["answered"], done["to_answer"]) == (36, 0)
    folder = next((waiting / "vectors").glob("small-finetuned*"))
    assert list(folder.glob("*.npy"))
    assert cli("models", "rollback", "label", "-p", waiting).code == 0
    dry = cli("models", "retire", "label", "2", "--dry-run", "-p", waiting, "--json").json
    assert dry["swept"] == {"n_predictions": 36, "n_vectors": 36}
    assert list(folder.glob("*.npy"))
    gone = cli("models", "retire", "label", "2", "-p", waiting, "--json").json
    assert gone["swept"] == dry["swept"]
    assert not list(folder.glob("*.npy"))
    with listlens.open(waiting) as project:
        assert project.models(["label"])[0].version == 1
        ids = [c.content_id for c in project.store.contents.scan()]
        assert project.store.vectors.missing(project.backbone.space, ids) == []
        assert project.predict([waiting / "none.jpg"], ["label"])
    back = cli("models", "promote", "label", "2", "-p", waiting, "--json").json
    assert (back["answered"], back["live"]) == (36, 2)  # it looks at all photos again


def test_vectors_that_another_model_needs_stay(waiting: Path) -> None:
    from listlens.store.models import ModelRecord

    with listlens.open(waiting) as project:
        store, two = project.store, project.store.models.get(1, 2)
        twin = ModelRecord(1, 3, two.folder, two.sha256, two.space, two.taxonomy_version, {})
        store.models.register(twin)
        moved = project.registry.retire("label", 2)
        assert moved.swept["n_vectors"] == 0
        assert project.registry.retire("label", 3, dry_run=True).swept["n_vectors"] == 12
        live = project.registry.retire("label", 1, force=True)
        assert live.swept["n_vectors"] == 0  # the project's backbone's are never swept
        assert (
            store.vectors.missing(
                project.backbone.space, [c.content_id for c in store.contents.scan()]
            )
            == []
        )
