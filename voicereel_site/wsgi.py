"""The web entry point, served by granian."""

import os
from importlib import import_module
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")


class _Utf8Request(WSGIRequest):
    """Addresses and forms are UTF-8, whatever the content type's charset says.

    Django would decode the address with it, and fails for codecs such as hex before any of our code
    runs.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(
            meta.get("CONTENT_TYPE", "")
        )


class _Handler(WSGIHandler):
    request_class = _Utf8Request


django.setup(set_prefix=False)
application = _Handler()
# Now, or the first request of each process would wait a second for the imports of all views.
import_module(settings.ROOT_URLCONF)
import_module("accounts.tenancy").warn_unless_protected()
