"""Settings of the example: what is not about listlens is as short as it can be."""

import os
from pathlib import Path

BASE = Path(os.environ.get("SHOP_FOLDER", Path(__file__).parent))

LISTLENS_URL = os.environ.get("LISTLENS_URL", "http://127.0.0.1:8000")
LISTLENS_TOKEN = os.environ.get("LISTLENS_TOKEN", "")
LISTLENS_WEBHOOK_SECRET = os.environ.get("LISTLENS_WEBHOOK_SECRET", "")
SITE_URL = os.environ.get("SITE_URL", "http://127.0.0.1:8080")

SECRET_KEY = os.environ.get("SECRET_KEY", "only-for-this-example")
DEBUG = True  # serves the uploads; behind a real site a web server does
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE / "shop.sqlite3"}}
MEDIA_ROOT, MEDIA_URL, STATIC_URL = BASE / "media", "/media/", "/static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
