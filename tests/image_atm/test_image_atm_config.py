"""Image ATM's configuration: every key is obeyed, named as without use, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from listlens.core.errors import ConfigError, NotFoundError
from listlens.image_atm.config import NO_USE, parse_job, read_job

EXAMPLE = """\
image_dir: sample_dataset/
job_dir: sample_jobdir/

dataprep:
  run: True
  samples_file: sample_configfile.json
  resize: True

train:
  run: True
  cloud: False

evaluate:
  run: True
  report:
    create: True
    kernel_name: any_kernel
    export_html: True
    export_pdf: False

cloud:
  cloud_tag: image_atm_example_tag
  provider: aws
  tf_dir: cloud/aws
  region: eu-west-1
  vpc_id: vpc-example
  instance_type: p2.xlarge
  bucket: s3://example-bucket
  destroy: True
"""
"""config/config.example.yml of idealo/imageatm."""

PLACES = {"image_dir": "photos", "job_dir": "job"}


def test_the_example_of_image_atm_is_understood_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(EXAMPLE)
    job = read_job(path)
    assert job.steps == ("dataprep", "train", "evaluate")
    assert job.samples_file == Path("sample_configfile.json")
    assert (job.report, job.html, job.pdf) == (True, True, False)
    assert set(job.without_use) == {"dataprep.resize", "evaluate.report.kernel_name", "cloud"}


def test_every_training_knob_that_has_no_use_is_named_with_the_reason() -> None:
    knobs = {key.partition(".")[2]: 1 for key in NO_USE if key.startswith("train.")}
    job = parse_job({**PLACES, "train": {"run": True, **knobs}})
    assert set(job.without_use) == {f"train.{knob}" for knob in knobs}
    assert all(job.without_use.values())


def test_a_step_may_name_its_folders_itself() -> None:
    job = parse_job({"train": {"run": True, **PLACES}})
    assert (job.image_dir, job.job_dir) == (Path("photos"), Path("job"))
    same = parse_job({**PLACES, "train": {"run": True, "image_dir": "photos/"}})
    assert same.image_dir == Path("photos")


REFUSED: dict[str, tuple[dict[Any, Any], str]] = {
    "cloud-training": ({**PLACES, "train": {"run": True, "cloud": True}}, "train.cloud: listlens"),
    "cloud-run": ({**PLACES, "cloud": {"run": True}}, "cloud.run: listlens starts no machine"),
    "unknown-key": (
        {**PLACES, "train": {"run": True, "batchsize": 3}},
        "train.batchsize: unknown key. Did you mean 'batch_size'",
    ),
    "unknown-section": (
        {**PLACES, "evaluation": {"run": True}}, "evaluation: unknown key. Did you mean 'evaluate'",
    ),
    "no-samples": ({**PLACES, "dataprep": {"run": True}}, "dataprep.samples_file: missing"),
    "no-folders": ({"train": {"run": True}}, "image_dir: missing"),
    "other-folders": (
        {"train": {"run": True, **PLACES}, "evaluate": {"job_dir": "other"}},
        "different ones are named (train.job_dir: job, evaluate.job_dir: other)",
    ),
    "a-steps-own-photos": (
        {**PLACES, "train": {"run": True}, "dataprep": {"image_dir": "B"}},
        "image_dir: all steps use one folder, and different ones are named "
        "(image_dir: photos, dataprep.image_dir: B)",
    ),
    "a-steps-own-job": (
        {**PLACES, "train": {"run": True, "job_dir": "K"}}, "(job_dir: job, train.job_dir: K)",
    ),
    "a-steps-number": (
        {**PLACES, "train": {"run": True, "job_dir": 3}}, "train.job_dir: a path (got 3)",
    ),
    "no-step": ({**PLACES, "train": {"cloud": False}}, "nothing to do"),
    "word-for-a-switch": ({**PLACES, "train": {"run": "yes"}}, "train.run: True or False"),
    "number-for-a-path": ({**PLACES, "image_dir": 3, "train": {"run": True}}, "image_dir: a path"),
    "number-for-a-steps-path": (
        {**PLACES, "image_dir": None, "train": {"run": True, "image_dir": 3}},
        "train.image_dir: a path (got 3)",
    ),
    "empty-path": ({"image_dir": "", "job_dir": "job", "train": {"run": True}}, "(got '')"),
    "empty-samples": (
        {**PLACES, "dataprep": {"run": True, "samples_file": ""}}, "dataprep.samples_file: a path",
    ),
    "no-section": ({**PLACES, "train": True}, "train: takes keys"),
    "unknown-report-key": (
        {**PLACES, "evaluate": {"run": True, "report": {"html": True}}},
        "evaluate.report.html: unknown key",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_with_its_key(values: dict[Any, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_job(values)
    assert says in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match="4 problem"):
        parse_job({"train": {"run": True, "cloud": True, "epochs": 3}})


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b",
        "",
        "a: [",
        "\t",
        "!!python/object/apply:os.getcwd []",
        "a: 2020-99-99",
        "a: !!timestamp x",
        "a: !!int x",
        "a: *b",
        "? [a]\n: b",
    ],
    ids=[
        "list",
        "empty",
        "broken",
        "tab",
        "python object",
        "date-that-is-none",
        "no-date",
        "no-number",
        "no-anchor",
        "list-for-a-key",
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yml"):
        read_job(tmp_path / "c.yml")
    with pytest.raises(NotFoundError):
        read_job(tmp_path / "other.yml")
