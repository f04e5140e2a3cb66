"""Measured: listlens, from files to embeddings in a project's store. Called by run.py."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from meter import Meter

import listlens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("warm_up", type=Path, help="folder ingested before measuring")
    parser.add_argument("photos", type=Path, help="folder that is measured")
    parser.add_argument("--keep", default="none")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--decode", default="default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.photos.parent) as folder:
        settings = (
            f'[store]\nkeep = "{options.keep}"\n'
            f'[backbone]\nengine = "{options.engine}"\ndecode = "{options.decode}"\n'
        )
        (Path(folder) / "listlens.toml").write_text(settings, encoding="utf-8")
        with listlens.open(folder) as project:
            project.ingest(options.warm_up)
            meter = Meter()
            report = project.ingest(options.photos)
            n = report.new
            assert n == report.embedded == len(list(options.photos.rglob("*.jpg"))), report
            space = project.backbone.space
            meter.report(n, runs_on=f"{space.engine} {space.precision}")


if __name__ == "__main__":
    main()
