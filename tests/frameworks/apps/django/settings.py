"""A project as `django-admin startproject` begins it, without a database."""

DEBUG = True
SECRET_KEY = "of-the-test"
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = []
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
