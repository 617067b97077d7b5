"""The Celery application: queues ``default`` and ``render``, and the beat schedule (settings)."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_shutting_down
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")

app = Celery("voicereel")
app.conf.update(settings.CELERY)
app.autodiscover_tasks()


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Having a receiver keeps Celery from replacing Django's JSON logging."""


@worker_shutting_down.connect
def _give_jobs_back(**_: Any) -> None:
    """On SIGTERM, Celery waits for its tasks; a render ends after the line in hand."""
    from synthesis import rendering  # needs Django to be set up

    rendering.stopping.set()
