"""The app; listlens is told from the moment it is ready."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        from shop import tagging

        tagging.connect()
