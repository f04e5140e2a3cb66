"""Image ATM's configuration: read, checked, and each key either obeyed or named.

Source: `imageatm/client/config.py` and `config/config.example.yml` of idealo/imageatm 0.1.1, where
the keys, the defaults and which of them are required stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from listlens.core.errors import ConfigError, MissingExtraError, NotFoundError, suggest

STEPS = ("dataprep", "train", "evaluate")
_PLACES = ("image_dir", "job_dir")
_TOP = (*_PLACES, *STEPS, "cloud")
_REPORT = ("create", "kernel_name", "export_html", "export_pdf")

NO_USE = {
    "dataprep.resize": "photos are decoded at reduced scale, so no smaller copies are written",
    "train.base_model_name": "the project's own backbone embeds; listlens.toml in job_dir names it",
    "train.batch_size": "the head is fitted on all photos at once",
    "train.learning_rate_dense": "the head has one optimum, and no learning rate",
    "train.learning_rate_all": "the backbone stays as it is",
    "train.epochs_train_dense": "the head has one optimum, and no epochs",
    "train.epochs_train_all": "the backbone stays as it is",
    "evaluate.report.kernel_name": "the report needs no Jupyter kernel",
    "cloud": "nothing is trained in a cloud; it runs here",
}
"""Keys of Image ATM that nothing here corresponds to, and why. Each that is set is named."""

_KEYS = {
    "dataprep": ("run", "samples_file", "resize"),
    "train": (
        "run", "cloud", "batch_size", "learning_rate_dense", "learning_rate_all",
        "epochs_train_dense", "epochs_train_all", "base_model_name",
    ),
    "evaluate": ("run", "report"),
    "cloud": (
        "run", "provider", "tf_dir", "region", "vpc_id", "instance_type", "bucket", "destroy",
        "cloud_tag",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What a configuration asks for.

    Args:
        image_dir: folder of the photos.
        job_dir: folder of what is made; becomes a project.
        steps: those of `STEPS` that run, in their order.
        samples_file: of `dataprep`; None where it does not run.
        report: whether `evaluate` leaves an evaluation folder.
        html: whether that holds the report as HTML.
        pdf: whether that holds the report as PDF.
        without_use: keys that are set and change nothing, with the reason.
    """

    image_dir: Path
    job_dir: Path
    steps: tuple[str, ...]
    samples_file: Path | None = None
    report: bool = False
    html: bool = False
    pdf: bool = False
    without_use: dict[str, str] = field(default_factory=dict)


def read_job(path: Path) -> Job:
    """Read a configuration file; relative paths in it are relative to where the command runs.

    Raises:
        MissingExtraError: the extra `imageatm` is not installed.
        NotFoundError: there is no such file.
        ConfigError: it is no YAML, has unknown keys or wrong values, or asks for a cloud; names all
            that is wrong.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingExtraError("Reading Image ATM's configuration", "imageatm") from error
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"there is no configuration file {path}.") from None
    except (OSError, ValueError, AttributeError, yaml.YAMLError, RecursionError) as error:
        # PyYAML lets errors of int() and of dates through, such as of 2020-99-99.
        raise ConfigError(f"{path} cannot be read: {error}. It must be YAML in UTF-8.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is no Image ATM configuration. Allowed keys: {', '.join(_TOP)}.")
    return parse_job(values, str(path))


def parse_job(values: Mapping[Any, Any], where: str = "the configuration") -> Job:
    """Check a configuration given as nested dicts; see `read_job`.

    Example:
        >>> job = parse_job({"image_dir": "photos", "job_dir": "job",
        ...                  "dataprep": {"run": True, "samples_file": "s.json", "resize": True}})
        >>> job.steps, list(job.without_use)
        (('dataprep',), ['dataprep.resize'])
    """
    problems: list[str] = []
    sections = {name: _section(values, name, problems) for name in (*STEPS, "cloud")}
    problems += _unknown("", values, _TOP)
    for name, section in sections.items():
        problems += _unknown(f"{name}.", section, (*_KEYS[name], *_PLACES))
    report = _report(sections["evaluate"], problems)
    flags = {
        f"{name}.{key}": _flag(section, name, key, problems)
        for name, section in sections.items()
        for key in ("run", "resize", "cloud", "destroy")
        if key in section
    }
    flags |= {f"report.{key}": _flag(report, "evaluate.report", key, problems)
              for key in ("create", "export_html", "export_pdf")}  # fmt: skip
    problems += _clouds(flags)
    places = {key: _place(values, sections, key, problems) for key in _PLACES}
    steps = tuple(name for name in STEPS if flags.get(f"{name}.run"))
    samples = _path(sections["dataprep"].get("samples_file"), "dataprep.samples_file", problems)
    if "dataprep" in steps and samples is None:
        problems.append("dataprep.samples_file: missing; it names the JSON file with the labels")
    if not steps and not problems:
        problems.append(f"nothing to do: no step of {', '.join(STEPS)} has `run: True`")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"{where} has {len(problems)} problem(s):\n{lines}")
    return Job(
        places["image_dir"] or Path(),
        places["job_dir"] or Path(),
        steps,
        samples if "dataprep" in steps else None,
        flags["report.create"],
        flags["report.export_html"],
        flags["report.export_pdf"],
        _without_use(sections, report),
    )


def _section(values: Mapping[Any, Any], name: str, problems: list[str]) -> Mapping[Any, Any]:
    section = values.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        problems.append(f"{name}: takes keys such as `run: True` (got {section!r})")
        return {}
    return section


def _unknown(prefix: str, given: Mapping[Any, Any], allowed: tuple[str, ...]) -> list[str]:
    """A line for each key that Image ATM does not know either."""
    return [
        f"{prefix}{key}: unknown key. {suggest(str(key), allowed)}"
        for key in given
        if key not in allowed
    ]


def _report(evaluate: Mapping[Any, Any], problems: list[str]) -> Mapping[Any, Any]:
    report = _section(evaluate, "report", problems)
    problems += _unknown("evaluate.report.", report, _REPORT)
    return report


def _flag(section: Mapping[Any, Any], name: str, key: str, problems: list[str]) -> bool:
    """A switch; absent is off."""
    value = section.get(key)
    if value is not None and not isinstance(value, bool):
        problems.append(f"{name}.{key}: True or False (got {value!r})")
        return False
    return bool(value)


def _clouds(flags: Mapping[str, bool]) -> list[str]:
    """What asks for a machine in a cloud."""
    asked = [name for name in ("train.cloud", "cloud.run") if flags.get(name)]
    return [
        f"{name}: listlens starts no machine in a cloud. Training takes seconds on the processor "
        "here: set it to False, or run this command on a machine of yours"
        for name in asked
    ]


def _place(
    values: Mapping[Any, Any],
    sections: Mapping[str, Mapping[Any, Any]],
    key: str,
    problems: list[str],
) -> Path | None:
    """A folder that the whole file names, or steps of it; all who name one must agree."""
    said = {key: values.get(key), **{f"{n}.{key}": s.get(key) for n, s in sections.items()}}
    before = len(problems)
    named = {at: path for at, given in said.items() if (path := _path(given, at, problems))}
    if len(set(named.values())) > 1:
        each = ", ".join(f"{at}: {path}" for at, path in named.items())
        problems.append(f"{key}: all steps use one folder, and different ones are named ({each})")
    if not named and len(problems) == before:
        problems.append(f"{key}: missing")
    return next(iter(named.values()), None)


def _path(value: object, key: str, problems: list[str]) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        problems.append(f"{key}: a path (got {value!r})")
        return None
    return Path(value)


def _without_use(
    sections: Mapping[str, Mapping[Any, Any]], report: Mapping[Any, Any]
) -> dict[str, str]:
    """Keys that are set, and to what nothing here corresponds."""
    set_here = {f"{name}.{key}" for name, section in sections.items() for key in section}
    set_here |= {f"evaluate.report.{key}" for key in report}
    if sections["dataprep"].get("resize") is False:
        set_here.discard("dataprep.resize")
    if sections["cloud"]:
        set_here.add("cloud")
    return {key: reason for key, reason in NO_USE.items() if key in set_here}
