"""Listings with photos, and what listlens says of them."""

from django.db import models


class Listing(models.Model):
    title = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.title


class Photo(models.Model):
    listing = models.ForeignKey(Listing, models.CASCADE, related_name="photos")
    file = models.FileField(upload_to="photos/")
    position = models.PositiveIntegerField(default=0)
    told = models.BooleanField(default=False, editable=False)  # whether listlens knows of it
    problem = models.CharField(max_length=200, blank=True, editable=False)

    def __str__(self) -> str:
        return f"photo {self.pk} of {self.listing}"


class Tag(models.Model):
    photo = models.ForeignKey(Photo, models.CASCADE, related_name="tags")
    task = models.CharField(max_length=100)
    tag = models.CharField(max_length=200)
    probability = models.FloatField(null=True)
    review = models.BooleanField()  # a person should look


class Seen(models.Model):
    """Deliveries that were applied: the same one again changes nothing."""

    message_id = models.CharField(max_length=100, primary_key=True)
