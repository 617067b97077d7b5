"""A worker's thread keeps its connection to the database from task to task, as long as it works."""

from unittest.mock import Mock

import pytest
from celery.fixups.django import DjangoWorkerFixup
from celery.signals import task_prerun
from django.db import connection

from accounts.models import Tenant
from voicereel_site.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


def begin_task() -> None:
    """What Celery does first."""
    DjangoWorkerFixup(app).close_database()
    task = Mock(request=Mock(headers={}))
    failed = [raised for _, raised in task_prerun.send(sender=task, task=task) if raised]
    assert not failed


def test_a_task_goes_on_with_the_connection_of_the_one_before() -> None:
    connection.ensure_connection()
    before = connection.connection
    begin_task()
    assert Tenant.objects.count() == 0
    assert connection.connection is before


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server to lose")
def test_a_connection_that_the_server_has_closed_is_replaced() -> None:
    connection.ensure_connection()
    before = connection.connection
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [before.info.backend_pid])
    other.close()
    connection._looked_at = 0.0
    begin_task()
    assert Tenant.objects.count() == 0
    assert connection.connection is not before
