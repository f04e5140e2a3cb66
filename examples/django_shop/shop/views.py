"""The address that listlens tells what it found."""

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from standardwebhooks import Webhook, WebhookVerificationError

from shop.models import Photo, Seen, Tag


@csrf_exempt
@require_POST
def listlens_webhook(request: HttpRequest) -> HttpResponse:
    """Verify a delivery, and apply it once."""
    try:
        event = Webhook(settings.LISTLENS_WEBHOOK_SECRET).verify(
            request.body, {name.lower(): value for name, value in request.headers.items()}
        )
    except WebhookVerificationError:
        return HttpResponse(status=400)
    with transaction.atomic():
        _, is_new = Seen.objects.get_or_create(message_id=request.headers["webhook-id"])
        if is_new:
            apply(event["type"], event["data"])
    return HttpResponse(status=204)


def apply(kind: str, data: dict) -> None:
    """Store what was found out of a photo that is still there."""
    photo = Photo.objects.filter(pk=data.get("photo_id")).first()
    if photo is None or kind not in ("photo.predicted", "photo.failed"):
        return
    photo.tags.all().delete()
    # Not .save(), which would tell listlens again.
    Photo.objects.filter(pk=photo.pk).update(problem=data.get("detail", "")[:200])
    for task, answer in data.get("results", {}).items():
        given = answer["prediction"]
        for tag in given if isinstance(given, list) else [given]:
            if tag is not None:
                Tag.objects.create(
                    photo=photo,
                    task=task,
                    tag=str(tag),
                    probability=answer["probability"],
                    review=answer["review"],
                )
