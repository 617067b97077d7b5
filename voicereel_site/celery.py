"""The Celery application: queues ``default`` and ``render`` or ``gpu``, and the beat schedule
(settings).
"""

import os
import sys
from typing import Any

import structlog
from celery import Celery
from celery.signals import (
    celeryd_after_setup,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_ready,
    worker_shutting_down,
)
from django.conf import settings
from prometheus_client import start_http_server

from voicereel_site.request_log import take_up

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")

log = structlog.get_logger(__name__)

app = Celery("voicereel")
app.conf.update(settings.CELERY)
app.autodiscover_tasks()


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Having a receiver keeps Celery from replacing Django's JSON logging."""


@task_prerun.connect
def _log_as_of_the_request(task: Any, **_: Any) -> None:
    """A task's log lines carry the id and the trace of the request that asked for it."""
    take_up(task.request.headers or {})


@task_postrun.connect
def _log_as_of_nobody(**_: Any) -> None:
    take_up({})


@celeryd_after_setup.connect
def _get_ready(instance: Any, **_: Any) -> None:
    """Before it takes its first message, a GPU's worker loads and warms up the engine."""
    from accounts.tenancy import warn_unless_protected  # needs Django to be set up

    if "operations" not in instance.app.amqp.queues.consume_from:
        warn_unless_protected()
    try:
        if settings.METRICS_PORT:
            start_http_server(settings.METRICS_PORT)
        if _has_the_gpu(instance.app):
            from synthesis.engines.fish.engine import warm_up

            warm_up()
    except Exception as exc:
        # Celery would log it and go on: a worker that takes jobs and fails each of them.
        log.exception("worker.not_ready")
        sys.exit(f"This worker cannot start: {exc}")


def _has_the_gpu(worker_app: Celery) -> bool:
    queues = worker_app.amqp.queues.consume_from
    return settings.ENGINE == "fish" and settings.ENGINE_QUEUE in queues


@worker_ready.connect
def _say_ready(sender: Any, **_: Any) -> None:
    """From here on it takes messages, and ends as asked: before, a SIGTERM would just kill it."""
    if _has_the_gpu(sender.app):
        from synthesis.engines.fish import metrics

        metrics.READY.set(1)


@worker_shutting_down.connect
def _give_jobs_back(**_: Any) -> None:
    """On SIGTERM, Celery waits for its tasks; a render ends with the lines in hand."""
    from synthesis import rendering  # needs Django to be set up

    rendering.stopping.set()
