"""Without an optional package, what needs it says which line installs it; the rest works."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]

BLOCK = """
import sys

class Absent:
    '''Make packages look as if they were not installed.'''

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {names!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
        return None

sys.meta_path.insert(0, Absent())
"""

REPORT = """
from listlens.core.errors import MissingExtraError
try:
    use()
except MissingExtraError as error:
    print(error)
else:
    sys.exit('nothing was raised')
"""

READ_PARQUET = """
def use():
    from pathlib import Path
    from listlens.sources.tables import read_table
    Path('rows.parquet').write_bytes(b'PAR1')
    list(read_table(Path('rows.parquet')))
"""
READ_XLSX = """
def use():
    from pathlib import Path
    from listlens.sources.tables import read_table
    Path('rows.xlsx').write_bytes(b'PK')
    list(read_table(Path('rows.xlsx')))
"""
OPEN_POSTGRES = """
def use():
    from pathlib import Path
    from listlens.store.open import open_store
    open_store('postgresql+psycopg://nobody@127.0.0.1/nothing', Path())
"""
LOAD_ONNXRUNTIME = """
def use():
    from listlens.backbones.registry import load_backbone
    load_backbone(engine='onnxruntime')
"""
WRITE_PDF = """
def use():
    from pathlib import Path
    from listlens.evaluate.pdf import write_pdf
    from listlens.evaluate.report import ReportData
    write_pdf(Path('report.pdf'), ReportData(title='shop'))
"""
TELL_SQS = """
def use():
    from listlens.brokers.registry import open_outlet
    open_outlet('sqs://eu-west-1/tags')
"""
READ_TEXT = """
def use():
    from listlens.images.text import TextReader
    TextReader()
"""
READ_SENTENCES = """
def use():
    from pathlib import Path
    from listlens.backbones.text_encoder import _tokenizer
    _tokenizer(Path('tokenizer.json'), Path('text.onnx'))
"""
READ_YAML = """
def use():
    from pathlib import Path
    from listlens.image_atm.config import read_job
    read_job(Path('config.yml'))
"""
IMPORT_KERAS = """
def use():
    from pathlib import Path
    from listlens.quality.keras_weights import convert_keras
    convert_keras(Path('weights.hdf5'), Path('out.onnx'))
"""

READ_OBJECTS = """
def use():
    from listlens.sources.fetching import Fetcher, FetchRules
    Fetcher(FetchRules(buckets=('s3://photos',)))
"""

FINE_TUNE = """
def use():
    from listlens.pipeline.finetuning import require_torch
    require_torch()
"""

EXPORT_TIMM = """
def use():
    from listlens.backbones.timm_export import export_timm
    export_timm('resnet18')
"""

SERVE = """
def use():
    from listlens.serve.running import require_server
    require_server()
"""

CLIENT = """
def use():
    import listlens.client
"""

REGISTER = """
def use():
    from listlens.pipeline.mlflow_registry import _mlflow
    with _mlflow('http://127.0.0.1:9', look=False):
        pass
"""


def run(code: str, absent: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(names=absent) + code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )


ABSENT = {
    "parquet": (["polars"], READ_PARQUET, "tables"),
    "xlsx": (["polars", "fastexcel"], READ_XLSX, "tables"),
    "xlsx-reader": (["fastexcel"], READ_XLSX, "tables"),
    "postgresql": (["psycopg"], OPEN_POSTGRES, "postgres"),
    "onnxruntime": (["onnxruntime"], LOAD_ONNXRUNTIME, "onnxruntime"),
    "pdf": (["typst"], WRITE_PDF, "report"),
    "fine-tuning": (["torch"], FINE_TUNE, "finetune"),
    "text": (["rapidocr_onnxruntime"], READ_TEXT, "text"),
    "sentences": (["tokenizers"], READ_SENTENCES, "sentences"),
    "imageatm": (["yaml"], READ_YAML, "imageatm"),
    "keras": (["h5py"], IMPORT_KERAS, "keras"),
    "objects": (["obstore"], READ_OBJECTS, "objects"),
    "timm-without-pytorch": (["torch"], EXPORT_TIMM, "timm"),
    "timm": (["timm"], EXPORT_TIMM, "timm"),
    "server": (["fastapi"], SERVE, "serve"),
    "server-log": (["structlog"], SERVE, "serve"),
    "client": (["httpx"], CLIENT, "client"),
    "mlflow": (["mlflow"], REGISTER, "mlflow"),
    "amazon": (["boto3"], TELL_SQS, "aws"),
}
EACH_TIME = {"parquet", "postgresql", "pdf", "server", "client"}
"""Each costs a process; the others run with the slow tests."""


@pytest.mark.parametrize(
    ("absent", "use", "extra"),
    [
        pytest.param(*case, id=name, marks=[] if name in EACH_TIME else pytest.mark.slow)
        for name, case in ABSENT.items()
    ],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(tmp_path, absent, use, extra):
    done = run(use + REPORT, absent, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"pip install 'listlens[{extra}]'" in done.stdout


def test_opencv_without_its_library_of_the_system_says_how_to_do_without(tmp_path):
    code = """
import sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == 'cv2':
            raise ImportError('libGL.so.1: cannot open shared object file')
        return None

sys.meta_path.insert(0, Broken())
from listlens.core.errors import ConfigError
from listlens.images.text import TextReader
try:
    TextReader()
except ConfigError as error:
    print(error)
"""
    done = run(code, [], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "libGL.so.1" in done.stdout and "opencv-python-headless" in done.stdout


def test_the_default_install_reads_csv_and_opens_sqlite(tmp_path):
    code = """
from pathlib import Path
from listlens.sources.tables import read_table
from listlens.store.open import open_store

Path('rows.csv').write_text('image,listing_id\\na.jpg,1\\n')
assert len(list(read_table(Path('rows.csv')))) == 1
open_store('sqlite:///listlens.db', Path()).close()
"""
    optional = ["polars", "fastexcel", "psycopg", "typst", "torch", "pandas", "duckdb", "fastapi"]
    done = run(code, optional, tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_extra_named_in_the_code_exists():
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingExtraError":
                values = [*node.args[1:2], *[k.value for k in node.keywords if k.arg == "extra"]]
                named |= {v.value for v in values if isinstance(v, ast.Constant)}
    assert named, "no module raises MissingExtraError with a literal extra"
    assert named <= set(EXTRAS)


def test_everything_imported_is_declared_as_a_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *[line for extra in EXTRAS.values() for line in extra]]
    declared = {re.split(r"[;\[>=]", line)[0].strip() for line in wanted}
    distributions = {
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "pillow_heif": "pillow-heif",
        "rapidocr_onnxruntime": "rapidocr-onnxruntime",
        "prometheus_client": "prometheus-client",
        "pydantic_core": "pydantic-core",
        "yaml": "pyyaml",
        "nats": "nats-py",
        "confluent_kafka": "confluent-kafka",
        "aio_pika": "aio-pika",
        "huggingface_hub": "huggingface-hub",
        "mlflow": "mlflow-skinny",
        "opentelemetry": "opentelemetry-sdk",
    }
    missing = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
            missing |= {distributions.get(n, n) for n in tops - {"listlens"}} - declared
    assert missing == set()
