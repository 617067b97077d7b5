"""The Celery application: queues ``default`` and ``render`` or ``gpu``, and the beat schedule
(settings).
"""

import os
import sys
import time
from importlib import import_module
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
from django.db import connection

from voicereel_site import inner_port, tracing
from voicereel_site.request_log import take_up

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
# Of all pages' addresses, say, which `make check` looked at: two seconds of each worker's start.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")

log = structlog.get_logger(__name__)

_MIXING = {"render", "gpu", "test-jobs"}  # queues of which jobs come to be mixed

app = Celery("voicereel")
app.conf.update(settings.CELERY)
# Celery would close the thread's connection to the database before and after each task. A new one costs more
# than a short job does, most of it the server's: 20 ms of processor (a process, and what it knows of tables).
app.conf.CELERY_DB_REUSE_MAX = sys.maxsize
app.autodiscover_tasks()


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Having a receiver keeps Celery from replacing Django's JSON logging."""


@task_prerun.connect
def _begin_as_of_the_request(task: Any, **_: Any) -> None:
    """A task's log lines carry the id and the trace of the request that asked for it."""
    take_up(task.request.headers or {})
    # Unless it broke, as before each request of a web process.
    connection.close_if_unusable_or_obsolete()
    task.request.began = time.monotonic()


@task_postrun.connect
def _log_as_of_nobody(task: Any, state: str | None, **_: Any) -> None:
    take_up({})
    from voicereel_site import metrics  # the web's processes say first where theirs are

    outcome = "succeeded" if state == "SUCCESS" else "failed"
    metrics.TASKS.labels(task.name, outcome).inc()
    queue = (task.request.delivery_info or {}).get("routing_key") or "default"
    metrics.TASK_SECONDS.labels(queue).observe(time.monotonic() - task.request.began)


@celeryd_after_setup.connect
def _get_ready(instance: Any, **_: Any) -> None:
    """Before it takes its first message, a GPU's worker loads and warms up the engine."""
    from accounts.tenancy import warn_unless_protected  # needs Django to be set up
    from voicereel_site import regions

    if "operations" in instance.app.amqp.queues.consume_from:
        from synthesis.fleet_metrics import FleetCollector

        FleetCollector.begin()
    else:
        warn_unless_protected()
    try:
        regions.require_own_region()
        inner_port.begin()
        tracing.begin("worker")
        if _MIXING.intersection(instance.app.amqp.queues.consume_from):
            import_module("synthesis.audio")  # or the first job would wait for it
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
    from synthesis.workers import Presence

    presence = Presence(list(sender.app.amqp.queues.consume_from))
    presence.begin()
    worker_shutting_down.connect(lambda **_: presence.end(), weak=False)
    if _has_the_gpu(sender.app):
        from synthesis.engines.fish import metrics

        metrics.READY.set(1)


@worker_shutting_down.connect
def _give_jobs_back(**_: Any) -> None:
    """On SIGTERM, Celery waits for its tasks; a render ends with the lines in hand."""
    from synthesis import rendering  # needs Django to be set up

    rendering.stopping.set()
