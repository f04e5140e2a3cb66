"""A registered model as MLflow keeps one: files with an `MLmodel`, parameters, metrics, tags.

Pure: nothing here talks to a server or imports mlflow. The `MLmodel` is written here because
mlflow's own writer needs pandas, scikit-learn and the whole of mlflow.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from listlens._version import __version__
from listlens.evaluate.wording import card_numbers
from listlens.learn.model import BACKBONE_FILES, FILES
from listlens.pipeline.model_saving import ONNX_FILE
from listlens.pipeline.models import LiveModel
from listlens.store.models import ModelView

FOLDER, REPORT_FOLDER = "model", "report"
"""Where in the run's artifacts the model lies, and its report."""

MOST_VALUE = 500
"""Characters of a parameter's value that every MLflow takes; a longer one is in `model.json`."""

ENVIRONMENT = ("numpy", "onnx", "onnxruntime", "pandas")
"""What mlflow's onnx flavor runs on, beside mlflow."""


@dataclass(frozen=True)
class MlflowModel:
    """One version of a model, as it is handed to MLflow.

    Args:
        row: of the model.
        model: the same, loaded and checked.
        kept: files of the project's folder that are handed over, name to path.
        report: `report.html` and `report.json` of this very version; empty where another's lie
            there by now.
        run: what the training was asked, JSON-able.
    """

    row: ModelView
    model: LiveModel
    kept: dict[str, Path]
    report: dict[str, Path]
    run: Mapping[str, Any]

    @classmethod
    def of(
        cls, row: ModelView, model: LiveModel, run: Mapping[str, Any], reports: list[Path]
    ) -> MlflowModel:
        """Collect what there is of a model.

        Args:
            row: of the model; its folder was checked when `model` was loaded.
            model: loaded.
            run: what the training was asked.
            reports: folders where its report may lie.
        """
        assert model.folder is not None
        named = {name: model.folder / name for name in (*FILES, *BACKBONE_FILES, ONNX_FILE)}
        kept = {name: path for name, path in named.items() if path.is_file()}
        found = next((folder for folder in reports if _is_of(folder, row.sha256)), None)
        names = ("report.html", "report.json") if found else ()
        report = {name: found / name for name in names if found and (found / name).is_file()}
        return cls(row, model, kept, report, run)

    @property
    def has_graph(self) -> bool:
        """Whether there is an ONNX graph, which MLflow itself can run."""
        return ONNX_FILE in self.kept

    def params(self) -> dict[str, str]:
        """What the run was trained with: asked, chosen, and on which embeddings."""
        assert self.model.model is not None
        trained, space = self.model.model, self.row.space
        known = {
            **self.run,
            **trained.training,
            "kind": trained.kind,
            "n_classes": len(trained.classes),
            "target": trained.policy.target,
            "backbone": space.backbone,
            "engine": space.engine,
            "precision": space.precision,
            "preprocessing": space.preprocessing,
            "data_fingerprint": trained.fingerprint,
        }
        plain = {k: str(v) for k, v in known.items() if isinstance(v, str | int | float)}
        return {key: value for key, value in plain.items() if len(value) <= MOST_VALUE}

    def metrics(self) -> dict[str, float]:
        """Held-out numbers with their 95 % intervals: ``test/accuracy``, ``test/accuracy_low``."""
        assert self.model.model is not None
        return dict(_numbers(self.model.model.metrics))

    def tags(self) -> dict[str, str]:
        """What names this version for ever; see `states` for what may change."""
        return {
            "listlens.task": self.model.task,
            "listlens.version": str(self.row.version),
            "listlens.taxonomy": str(self.row.taxonomy_version),
            "listlens.sha256": self.row.sha256,
        }

    def description(self) -> str:
        """One sentence a number, for MLflow's pages."""
        assert self.model.model is not None
        told = "; ".join(
            f"{one['metric']} {one['value']:.3f} (95 % interval {one['low']:.3f} to "
            f"{one['high']:.3f}) on {one['n']} photos of {one['part']}"
            for one in card_numbers(self.model.model.metrics)
        )
        name = f"Model {self.row.version} of task {self.model.task!r}, by listlens {__version__}."
        return f"{name} {told or 'Not measured'}."

    def written(self, run_id: str, mlflow_version: str) -> dict[str, str]:
        """Return the files that MLflow wants beside the model's own, name to content."""
        import yaml

        needs = [f"mlflow=={mlflow_version}", *(f"{n}{_same(n)}" for n in ENVIRONMENT)]
        python = platform.python_version()
        conda = {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", "pip", {"pip": needs}],
        }
        tools = {"python": python, "build_dependencies": ["pip", "setuptools", "wheel"],
                 "dependencies": ["-r requirements.txt"]}  # fmt: skip
        described = self._described(run_id, mlflow_version)
        files = {
            "MLmodel": yaml.safe_dump(described, sort_keys=False, allow_unicode=True),
            "requirements.txt": "\n".join(needs) + "\n",
            "conda.yaml": yaml.safe_dump(conda, sort_keys=False),
            "python_env.yaml": yaml.safe_dump(tools, sort_keys=False),
        }
        return files if self.has_graph else {"MLmodel": files["MLmodel"]}

    def _described(self, run_id: str, mlflow_version: str) -> dict[str, Any]:
        """The content of `MLmodel`."""
        assert self.model.model is not None
        trained = self.model.model
        flavors: dict[str, Any] = {
            "listlens": {"data": ".", "listlens_version": __version__, **_class_names(self.model)}
        }
        described = {
            "artifact_path": FOLDER,
            "run_id": run_id,
            "utc_time_created": trained.created,
            "model_uuid": self.row.sha256[:32],
            "mlflow_version": mlflow_version,
            "model_size_bytes": sum(path.stat().st_size for path in self.kept.values()),
            "metadata": self.tags(),
            "flavors": flavors,
        }
        if self.has_graph:
            flavors["onnx"] = {
                "onnx_version": installed("onnx"),
                "data": ONNX_FILE,
                "providers": ["CPUExecutionProvider"],
                "onnx_session_options": None,
                "code": None,
            }
            flavors["python_function"] = {
                "loader_module": "mlflow.onnx",
                "python_version": platform.python_version(),
                "data": ONNX_FILE,
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            }
            described["signature"] = self._signature()
        return described

    def _signature(self) -> dict[str, str | None]:
        """What goes in and comes out: the graph's own tensors."""
        size, dim = self.model.model.preprocessing.size_px, self.row.space.dim  # type: ignore[union-attr]
        outputs = (("probs", len(self.model.classes)), ("embedding", dim))
        return {
            "inputs": json.dumps([_tensor("image", "uint8", [-1, size, size, 3])]),
            "outputs": json.dumps([_tensor(name, "float32", [-1, n]) for name, n in outputs]),
            "params": None,
        }


def states(row: ModelView, policy: str) -> dict[str, str]:
    """Return the tags that may change in the life of a version.

    Args:
        row: of the model.
        policy: number and target of its thresholds in force.
    """
    return {"listlens.stage": row.stage, "listlens.policy": policy}


def _is_of(folder: Path, sha256: str) -> bool:
    """Whether the report in a folder tells of the model with this hash."""
    try:
        told = json.loads((folder / "report.json").read_text("utf-8"))
        return bool(told["model"]["sha256"] == sha256)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of a card: an estimate gives three."""
    for part, told in metrics.items():
        for name, value in told.items() if isinstance(told, Mapping) else ():
            if isinstance(value, Mapping):
                ends = {"": "value", "_low": "low", "_high": "high"}
                found = {f"{name}{end}": value.get(key) for end, key in ends.items()}
            else:
                found = {name: value}
            for key, number in found.items():
                if isinstance(number, int | float) and math.isfinite(number):
                    yield f"{part}/{key}", float(number)


def _class_names(model: LiveModel) -> dict[str, Any]:
    """Kind and classes, as the graph's outputs are ordered: the names of the training."""
    assert model.model is not None
    return {"task": model.task, "kind": model.kind, "classes": list(model.model.classes)}


def _tensor(name: str, dtype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


def _same(package: str) -> str:
    """Pin a package to what is installed here; one that is not is left to MLflow."""
    try:
        return f"=={installed(package)}"
    except ImportError:  # PackageNotFoundError is one
        return ""
