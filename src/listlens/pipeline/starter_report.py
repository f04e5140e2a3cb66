"""The report of photos without labels: what was checked, and which starter tags were given."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from listlens.core.types import Status
from listlens.evaluate.pdf import renew_pdf
from listlens.evaluate.report import ReportData, write_report
from listlens.pipeline.checks import found

if TYPE_CHECKING:
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store


def write_starter_report(
    store: Store, starter: LiveModel, folder: Path, *, pdf: bool = False
) -> dict[str, str]:
    """Write the report, perhaps also as PDF, of photos nobody labelled; return name to path."""
    tags: Counter[str] = Counter()
    for _, probs in store.predictions.scan(starter.model_id):
        for decision in starter.decide(probs):
            tags.update(decision.classes)
    failed, listings, n_photos = [], set(), 0
    for photo in store.photos.scan():
        if photo.status is Status.GONE:
            continue
        n_photos += 1
        listings.add(photo.listing_id)
        if photo.status is Status.FAILED:
            reason = photo.reason.value if photo.reason else photo.status.value
            failed.append(f"{photo.photo_id}: {reason}: {photo.detail}")
    message = "Photos that cannot be used: {n}. The rest goes on."
    checks = found("unusable_photos", "warning", message, failed)
    data = ReportData(
        title="photos without labels",
        checks=[check.as_dict() for check in checks],
        n_photos=n_photos,
        n_listings=len(listings),
        starter_tags=dict(tags.most_common()),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    html, as_json = folder / "report.html", folder / "report.json"
    write_report(html, as_json, data)
    files = {"report": str(html), "report as JSON": str(as_json)}
    return files | renew_pdf(html, data, pdf)
