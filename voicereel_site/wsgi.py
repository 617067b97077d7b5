"""The web entry point, served by granian (voicereel_site.web_server)."""

import gc
import os
from importlib import import_module

import django
from django.conf import settings

from voicereel_site import draining, inner_port, tracing
from voicereel_site.handlers import Application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")

if settings.METRICS_PORT:
    # Before anything counts.
    inner_port.share_metrics()

django.setup(set_prefix=False)
application = Application()
# Now, or the first request of each process would wait a second for the imports of all views.
import_module(settings.ROOT_URLCONF)
if not settings.CONSOLE:
    import_module("accounts.tenancy").warn_unless_protected()
import_module("voicereel_site.regions").require_own_region()
import_module("accounts.traffic").traffic.begin()
draining.begin()
inner_port.begin()
tracing.begin("web")
# What was imported stays: the collector need not look at it again with each few requests.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)
