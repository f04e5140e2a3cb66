"""`--pdf`: report.pdf lies beside report.html, of the same model, or not at all."""

from __future__ import annotations

import shutil


def test_evaluate_and_train_write_a_pdf_beside_the_report(cli, project):
    done = cli("evaluate", "label", "--pdf", "--project", project, "--json")
    assert done.code == 0, done.err
    pdf = project / "reports" / "label" / "report.pdf"
    assert done.json["files"]["report as PDF"] == str(pdf)
    assert pdf.read_bytes().startswith(b"%PDF-")

    kept = cli("train", "label", "--project", project, "--json").json
    assert kept["reused"] and kept["files"]["report as PDF"] == str(pdf)
    pdf.unlink()
    again = cli("train", "label", "--pdf", "--project", project, "--json").json
    assert again["reused"] and pdf.exists()

    plain = cli("evaluate", "label", "--project", project, "--json").json
    assert "report as PDF" not in plain["files"]
    assert not pdf.exists(), "it would tell of what report.html no longer says"


def test_auto_without_labels_writes_one_too(cli, shop, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for source in sorted(shop.photos.rglob("*.jpg"))[:3]:
        shutil.copy(source, photos / f"{source.parent.name}-{source.name}")
    done = cli("auto", photos, "--out", tmp_path / "out", "--pdf", "--json")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF-")
