"""Tell listlens of photos that it could not be told of, or of all there are (a back-fill)."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop import tagging
from shop.models import Photo

BATCH = 500


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="also those that it knows")

    def handle(self, *args: object, **options: object) -> None:
        photos = Photo.objects.order_by("pk")
        if not options["all"]:
            photos = photos.filter(told=False)
        n, last = 0, 0
        while batch := list(photos.filter(pk__gt=last)[:BATCH]):
            if not tagging.tell(batch):
                raise CommandError(f"listlens does not answer; {n} photos were told. Run it again.")
            n, last = n + len(batch), batch[-1].pk
        self.stdout.write(f"{n} photos told")
