"""A model as MLflow keeps one: what is handed over, and that it says what the graph is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

import listlens
from listlens.core.errors import InputError
from listlens.learn.model import Model
from listlens.pipeline.mlflow_model import MlflowModel, states
from listlens.pipeline.mlflow_registry import InMlflow, default_name, hand_over, without_password
from listlens.pipeline.models import load_model_row


def handed(root: Path, version: int) -> MlflowModel:
    """Version of the shop's task, as it would be handed over."""
    with listlens.open(root) as project:
        task = project.store.labels.task("label")
        row = project.store.models.get(task.task_id, version)
        model = load_model_row(project.store, root, task, row)
        return MlflowModel.of(row, model, {"seed": 7}, [root / "reports" / "label", root])


def described(model: MlflowModel) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(model.written("run", "3.1.0")["MLmodel"])
    return found


def test_the_signature_is_the_graphs_own(trained: Path) -> None:
    """MLflow checks input by the signature, so a wrong one would refuse what the graph takes."""
    model = handed(trained, 1)
    graph = onnx.load(model.kept["model.onnx"]).graph
    told = described(model)["signature"]
    for key, values in (("inputs", graph.input), ("outputs", graph.output)):
        found = {t["name"]: t["tensor-spec"] for t in json.loads(told[key])}
        assert set(found) == {value.name for value in values}
        for value in values:
            tensor = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            shape = [-1, *(d.dim_value for d in tensor.shape.dim[1:])]
            assert found[value.name] == {"dtype": str(dtype), "shape": shape}


def test_flavors_name_the_graph_its_classes_and_what_runs_it(trained: Path) -> None:
    model = handed(trained, 1)
    told = described(model)
    assert set(told["flavors"]) == {"listlens", "onnx", "python_function"}
    assert told["flavors"]["onnx"]["data"] == told["flavors"]["python_function"]["data"]
    assert told["flavors"]["onnx"]["data"] in model.kept
    stored = Model.load(trained / "models/label/1")
    assert told["flavors"]["listlens"]["classes"] == list(stored.classes)
    assert told["metadata"]["listlens.sha256"] == model.row.sha256
    needs = model.written("run", "3.1.0")["requirements.txt"].split()
    assert needs[0] == "mlflow==3.1.0" and any(n.startswith("onnxruntime") for n in needs)


def test_a_model_without_a_graph_claims_none_that_mlflow_could_run(trained: Path) -> None:
    whole = handed(trained, 1)
    kept = {name: path for name, path in whole.kept.items() if name != "model.onnx"}
    model = MlflowModel(whole.row, whole.model, kept, {}, {})
    assert set(model.written("run", "3.1.0")) == {"MLmodel"}
    assert set(described(model)["flavors"]) == {"listlens"}
    assert "signature" not in described(model)


def test_numbers_come_with_their_intervals_and_the_fingerprint_of_the_data(trained: Path) -> None:
    model, stored = handed(trained, 1), Model.load(trained / "models/label/1")
    told = stored.metrics["cross_validation"]["accuracy"]
    metrics = model.metrics()
    for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        assert metrics[f"cross_validation/accuracy{end}"] == told[key]
    assert metrics["cross_validation/n"] == stored.metrics["cross_validation"]["n"]
    params = model.params()
    assert params["data_fingerprint"] == stored.fingerprint
    assert params["seed"] == str(stored.training["seed"])  # what the training did, not was asked
    assert all(len(value) <= 500 for value in params.values())
    assert f"{told['value']:.3f}" in model.description()


def test_a_report_goes_along_only_where_it_is_of_this_very_version(two_models: Path) -> None:
    first, second = handed(two_models, 1), handed(two_models, 2)
    assert first.report["report.html"] == two_models / "report.html"  # of `auto`
    assert second.report["report.html"] == two_models / "reports/label/report.html"
    (two_models / "report.json").write_text("{]")
    assert handed(two_models, 1).report == {}


def test_what_is_only_of_use_beside_the_store_stays_here(trained: Path) -> None:
    """Held-out answers name rows of the store, which `forget` must be able to reach."""
    assert set(handed(trained, 1).kept) == {
        "model.json", "head.safetensors", "README.md", "model.onnx"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["  ", "a/b", "a:b", "it's", 'a"b', "a\nb"])
def test_a_name_that_mlflow_cannot_have_is_refused_before_anything_is_asked(
    trained: Path, name: str
) -> None:
    with listlens.open(trained) as project:
        task = project.store.labels.task("label")
        with pytest.raises(InputError, match="allowed"):
            hand_over(project.store, trained, task, 1, "http://127.0.0.1:9", name)
    assert not set(default_name(Path("/x/shop"), name)) & set("/:'\"\n")


def test_no_password_is_ever_shown() -> None:
    assert without_password("https://ann:s3cret@host:5/p") == "https://***@host:5/p"
    assert without_password("https://ann:a@b@host/") == "https://***@host/"
    assert without_password("postgresql://ann:s3/cr@et@host/db") == "postgresql://***@host/db"
    assert without_password("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert without_password("sqlite:////data/a@b.db") == "sqlite:////data/a@b.db"


def test_what_changed_is_said_in_words(trained: Path) -> None:
    done = InMlflow("label", 2, "http://h", "shop-label", 5, "r", False, ("alias live: version 5",))
    assert done.text().splitlines() == [
        "Model 2 of 'label' is version 5 of 'shop-label' at http://h already.",
        "Alias live: version 5.",
    ]
    same = InMlflow("label", 2, "http://h", "shop-label", 5, "r", False)
    assert same.text().endswith("already: nothing changed.")
    row = handed(trained, 1).row
    assert states(row, "1: best-f1") == {"listlens.stage": "live", "listlens.policy": "1: best-f1"}
