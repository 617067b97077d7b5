"""What must leave the database leaves it, sooner or later, and only when its cause is committed."""

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from accounts.models import OutboxMessage
from accounts.outbox import ask_for_task, ask_to_delete_files, relay
from tests.accounts.disk import files_below

BROKER = Path(settings.CELERY["broker_transport_options"]["data_folder_out"])
TASK = "synthesis.render_job"


@pytest.fixture
def broken_broker() -> Iterator[Path]:
    """The broker's folder replaced by a file: nothing can be published until it is moved away."""
    aside = BROKER.with_name("messages-aside")
    BROKER.rename(aside)
    BROKER.write_text("not a folder")
    yield aside
    if BROKER.is_file():
        BROKER.unlink()
        aside.rename(BROKER)


def mend(aside: Path) -> None:
    BROKER.unlink()
    aside.rename(BROKER)


def published(job_id: str) -> int:
    """How many messages in the broker's folder name a job."""
    bodies = [json.loads(path.read_text())["body"] for path in BROKER.glob("*.msg")]
    return sum(job_id in base64.b64decode(body).decode() for body in bodies)


def fall_due() -> None:
    OutboxMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.django_db(transaction=True)
def test_a_message_is_published_when_its_cause_is_committed() -> None:
    with transaction.atomic():
        ask_for_task(TASK, "job_prompt")
        assert published("job_prompt") == 0
    assert published("job_prompt") == 1
    assert not OutboxMessage.objects.exists()
    assert relay() == 0
    assert published("job_prompt") == 1


@pytest.mark.django_db(transaction=True)
def test_a_message_whose_cause_is_rolled_back_is_never_published() -> None:
    with transaction.atomic():
        ask_for_task(TASK, "job_undone")
        transaction.set_rollback(True)
    assert relay() == 0
    assert published("job_undone") == 0


@pytest.mark.django_db(transaction=True)
def test_a_message_that_the_broker_refused_is_published_by_the_relay(broken_broker: Path) -> None:
    with transaction.atomic():
        ask_for_task(TASK, "job_late")
    message = OutboxMessage.objects.get()
    assert message.attempts == 1
    assert message.last_error
    assert message.due_at > timezone.now()
    assert relay() == 0  # not due yet

    fall_due()
    assert relay() == 0  # due, and refused again
    assert OutboxMessage.objects.get().attempts == 2

    mend(broken_broker)
    fall_due()
    assert relay() == 1
    assert published("job_late") == 1
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_refused_message_waits_longer_each_time_but_never_over_ten_minutes(
    broken_broker: Path,
) -> None:
    ask_for_task(TASK, "job_waiting")
    waits = []
    for _ in range(12):
        waits.append((OutboxMessage.objects.get().due_at - timezone.now()).total_seconds())
        fall_due()
        relay()
    assert waits[:3] == sorted(waits[:3])
    assert waits[0] > 3
    assert 590 < waits[-1] <= 600


@pytest.mark.django_db(transaction=True)
def test_one_message_that_fails_does_not_hold_up_the_others(broken_broker: Path) -> None:
    default_storage.save("t/held/a.flac", ContentFile(b"x"))
    ask_for_task(TASK, "job_first")
    ask_to_delete_files("t/held")
    assert files_below("t/held") == []
    assert OutboxMessage.objects.get().subject == TASK


@pytest.mark.django_db
def test_files_are_deleted_below_a_folder_and_nowhere_else() -> None:
    for name in ("one/a.flac", "one/lines/b.flac", "one/lines/deep/c.flac", "one0/d.flac"):
        default_storage.save(f"t/erasing/{name}", ContentFile(b"x"))
    ask_to_delete_files("t/erasing/one")
    assert len(files_below("t/erasing")) == 4
    assert relay() == 1
    assert files_below("t/erasing") == ["t/erasing/one0/d.flac"]
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db
def test_files_that_are_gone_can_be_deleted_again() -> None:
    default_storage.save("t/twice/a.flac", ContentFile(b"x"))
    ask_to_delete_files("t/twice")
    ask_to_delete_files("t/twice")
    ask_to_delete_files("t/never-was")
    assert relay() == 3
    assert files_below("t/twice") == []
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db
def test_a_message_of_a_kind_we_do_not_know_stays_and_deletes_nothing() -> None:
    default_storage.save("t/strange/a.flac", ContentFile(b"x"))
    OutboxMessage.objects.create(kind="webhook", subject="t/strange", due_at=timezone.now())
    assert relay() == 0
    assert files_below("t/strange") == ["t/strange/a.flac"]
    assert OutboxMessage.objects.get().last_error
