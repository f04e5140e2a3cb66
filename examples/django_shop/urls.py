"""The admin, the uploads, and the address that listlens tells what it found."""

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import path
from shop.views import listlens_webhook

urlpatterns = [
    path("admin/", admin.site.urls),
    path("listlens/", listlens_webhook),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
