"""What must leave the database leaves it, sooner or later, and only when its cause is committed."""

import base64
import errno
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from celery import current_app
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts import outbox
from accounts.models import OutboxMessage
from accounts.outbox import ask_again_for_task, ask_for_task, ask_to_delete_files, relay
from synthesis.models import Job
from tests.accounts.disk import files_below

BROKER = Path(settings.CELERY["broker_transport_options"]["data_folder_out"])
TASK = "synthesis.render_job"
TENANT = "ten_" + "0" * 26


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


def job(job_id: str) -> Job:
    """A row to be looked at; that it is stored plays no part here."""
    return Job(pk=job_id, tenant_id=TENANT)


def mend(aside: Path) -> None:
    BROKER.unlink()
    aside.rename(BROKER)


def published(job_id: str) -> int:
    """How many messages in the broker's folder name a job."""
    return len(in_order(job_id))


def in_order(job_id: str) -> list[Path]:
    """The messages that name a job, as they were published."""
    named = [
        path
        for path in BROKER.glob("*.msg")
        if job_id in base64.b64decode(json.loads(path.read_text())["body"]).decode()
    ]
    return sorted(named, key=lambda path: int(path.name.split("_")[0]))


def fall_due() -> None:
    OutboxMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_nothing_else_publishes() -> None:
    publishers = [
        str(path.relative_to(settings.BASE_DIR))
        for app in ("accounts", "billing", "speakers", "synthesis", "voicereel_site")
        for path in (settings.BASE_DIR / app).rglob("*.py")
        if re.search(r"\.(delay|apply_async|send_task)\(", path.read_text())
    ]
    assert publishers == ["accounts/outbox.py"]


@pytest.mark.django_db(transaction=True)
def test_a_message_is_published_when_its_cause_is_committed() -> None:
    with transaction.atomic():
        ask_for_task(TASK, job("job_prompt"))
        assert published("job_prompt") == 0
    assert published("job_prompt") == 1
    assert not OutboxMessage.objects.exists()
    assert relay() == 0
    assert published("job_prompt") == 1


@pytest.mark.django_db(transaction=True)
def test_a_message_whose_cause_is_rolled_back_is_never_published() -> None:
    with transaction.atomic():
        ask_for_task(TASK, job("job_undone"))
        transaction.set_rollback(True)
    assert relay() == 0
    assert published("job_undone") == 0


@pytest.mark.django_db(transaction=True)
def test_a_message_that_the_broker_refused_is_published_by_the_relay(broken_broker: Path) -> None:
    with transaction.atomic():
        ask_for_task(TASK, job("job_late"))
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
    ask_for_task(TASK, job("job_waiting"))
    waits = []
    for _ in range(12):
        waits.append((OutboxMessage.objects.get().due_at - timezone.now()).total_seconds())
        fall_due()
        relay()
    assert waits[:6] == sorted(waits[:6])
    assert 0.5 < waits[0] <= 1
    assert 590 < waits[-1] <= 600


@pytest.mark.django_db(transaction=True)
def test_one_message_that_fails_does_not_hold_up_the_others(broken_broker: Path) -> None:
    default_storage.save(f"t/{TENANT}/held/a.flac", ContentFile(b"x"))
    ask_for_task(TASK, job("job_first"))
    ask_to_delete_files(TENANT, f"t/{TENANT}/held")
    fall_due()
    assert relay() == 1
    assert files_below(f"t/{TENANT}/held") == []
    assert OutboxMessage.objects.get().subject == "job_first"


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_is_asked_once_a_round(broken_broker: Path) -> None:
    for number in range(5):
        ask_for_task(TASK, job(f"job_{number}"))
    fall_due()
    OutboxMessage.objects.update(attempts=0)
    assert relay() == 0
    tried = OutboxMessage.objects.filter(attempts=1)
    assert [message.subject for message in tried] == ["job_0"]


@pytest.mark.django_db(transaction=True)
def test_messages_that_cannot_leave_take_no_others_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """More deletions than a round takes, all refused, each with another behind it."""

    def refuse(path: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "DeleteObjects")

    monkeypatch.setattr(outbox, "delete_below", refuse)
    monkeypatch.setattr(outbox, "_BATCH", 3)
    for number in range(5):
        ask_to_delete_files(TENANT, f"t/{TENANT}/stuck/{number}")
        ask_to_delete_files(TENANT, f"t/{TENANT}/stuck/{number}")
    ask_for_task(TASK, job("job_behind"), after=timedelta(seconds=1))
    fall_due()
    assert relay() == 1
    assert published("job_behind") == 1
    # Round by round each of the first in line is tried, and none of those behind them.
    for _ in range(5):
        OutboxMessage.objects.filter(attempts=0).update(due_at=timezone.now())
        relay()
    tried = OutboxMessage.objects.filter(attempts__gt=0).values_list("subject", flat=True)
    assert sorted(tried) == [f"t/{TENANT}/stuck/{number}" for number in range(5)]


@pytest.mark.django_db(transaction=True)
def test_messages_of_one_subject_leave_in_order(broken_broker: Path) -> None:
    ask_for_task(TASK, job("job_same"))
    mend(broken_broker)
    ask_for_task("synthesis.other", job("job_same"))  # its fast path finds that it is not its turn
    ask_for_task(TASK, job("job_free"))
    assert published("job_same") == 0
    assert published("job_free") == 1
    OutboxMessage.objects.filter(payload__task="synthesis.other").update(due_at=timezone.now())
    assert relay() == 0
    fall_due()
    assert relay() + relay() == 2
    names = [json.loads(path.read_text())["headers"]["task"] for path in in_order("job_same")]
    assert names == [TASK, "synthesis.other"]


@pytest.mark.django_db(transaction=True)
def test_a_message_nobody_took_for_a_day_is_given_up_and_stands_in_no_ones_way(
    broken_broker: Path,
) -> None:
    ask_for_task(TASK, job("job_dead"))
    OutboxMessage.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    fall_due()
    assert relay() == 0
    dead = OutboxMessage.objects.get()
    assert dead.given_up_at is not None
    mend(broken_broker)
    fall_due()
    assert relay() == 0
    ask_for_task(TASK, job("job_dead"))
    assert published("job_dead") == 1

    listed = io.StringIO()
    call_command("dead_letters", stdout=listed)
    assert f"{dead.pk}\t" in listed.getvalue()
    assert "job_dead" in listed.getvalue()
    call_command("dead_letters", requeue=[str(dead.pk)], stdout=listed)
    assert relay() == 1
    assert published("job_dead") == 2
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_message_younger_than_a_day_is_not_given_up(broken_broker: Path) -> None:
    ask_for_task(TASK, job("job_young"))
    OutboxMessage.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    fall_due()
    relay()
    assert OutboxMessage.objects.get().given_up_at is None


@pytest.mark.django_db(transaction=True)
def test_a_message_for_later_waits_its_time() -> None:
    ask_for_task(TASK, job("job_later"), after=timedelta(seconds=30))
    assert relay() == 0
    assert 25 < (OutboxMessage.objects.get().due_at - timezone.now()).total_seconds() <= 30
    fall_due()
    assert relay() == 1
    assert published("job_later") == 1


@pytest.mark.django_db(transaction=True)
def test_what_has_yet_to_leave_is_not_asked_again(broken_broker: Path) -> None:
    ask_for_task(TASK, job("job_a"))
    ask_again_for_task(TASK, [job("job_a"), job("job_b")])
    ask_again_for_task(TASK, [job("job_a"), job("job_b")])
    subjects = OutboxMessage.objects.values_list("subject", flat=True)
    assert sorted(subjects) == ["job_a", "job_b"]


@pytest.mark.django_db(transaction=True)
def test_a_message_whose_publisher_died_falls_due_again() -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    ask_for_task(TASK, job("job_held"), after=timedelta(seconds=1))
    fall_due()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "_publish", lambda message: die())
        with pytest.raises(Killed):
            relay()
    assert relay() == 0  # somebody may still be at it
    held_s = (OutboxMessage.objects.get().due_at - timezone.now()).total_seconds()
    assert 25 < held_s <= 30
    fall_due()
    assert relay() == 1
    assert published("job_held") == 1


@pytest.mark.django_db
def test_a_relay_that_died_in_the_middle_of_a_deletion_leaves_the_rest_to_the_next() -> None:
    class Killed(BaseException):
        pass

    for number in range(3):
        default_storage.save(f"t/{TENANT}/halfway/{number}.flac", ContentFile(b"x"))
    ask_to_delete_files(TENANT, f"t/{TENANT}/halfway")
    delete = default_storage.delete

    def die_after_one(name: str) -> None:
        delete(name)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default_storage, "delete", die_after_one)
        with pytest.raises(Killed):
            relay()
    assert len(files_below(f"t/{TENANT}/halfway")) == 2
    fall_due()
    assert relay() == 1
    assert files_below(f"t/{TENANT}/halfway") == []


def test_a_message_that_does_not_fit_on_the_disk_is_not_left_by_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = sorted(BROKER.iterdir())

    def full(self: Path, text: str) -> int:
        with self.open("w") as file:
            file.write(text[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OperationalError):
        current_app.send_task(TASK, args=["job_full"], queue="render", retry=False)
    assert sorted(BROKER.iterdir()) == before


@pytest.mark.django_db
def test_files_are_deleted_below_a_folder_and_nowhere_else() -> None:
    for name in ("one/a.flac", "one/lines/b.flac", "one/lines/deep/c.flac", "one0/d.flac"):
        default_storage.save(f"t/{TENANT}/erasing/{name}", ContentFile(b"x"))
    ask_to_delete_files(TENANT, f"t/{TENANT}/erasing/one")
    assert len(files_below(f"t/{TENANT}/erasing")) == 4
    assert relay() == 1
    assert files_below(f"t/{TENANT}/erasing") == [f"t/{TENANT}/erasing/one0/d.flac"]
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db
def test_files_that_are_gone_can_be_deleted_again() -> None:
    default_storage.save(f"t/{TENANT}/twice/a.flac", ContentFile(b"x"))
    ask_to_delete_files(TENANT, f"t/{TENANT}/twice")
    ask_to_delete_files(TENANT, f"t/{TENANT}/twice")
    ask_to_delete_files(TENANT, f"t/{TENANT}/never-was")
    assert relay() + relay() == 3
    assert files_below(f"t/{TENANT}/twice") == []
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db
def test_a_message_of_a_kind_we_do_not_know_stays_and_deletes_nothing() -> None:
    default_storage.save("t/strange/a.flac", ContentFile(b"x"))
    OutboxMessage.objects.create(kind="webhook", subject="t/strange", due_at=timezone.now())
    assert relay() == 0
    assert files_below("t/strange") == ["t/strange/a.flac"]
    assert OutboxMessage.objects.get().last_error


@pytest.mark.django_db(transaction=True)
def test_nobody_has_another_tenants_files_deleted() -> None:
    """The relay may delete all files, and the app may write messages of its own tenant's."""
    default_storage.save("t/ten_other/a.flac", ContentFile(b"x"))
    ask_to_delete_files(TENANT, "t/ten_other")
    ask_to_delete_files(TENANT, f"t/{TENANT}")
    assert relay() == 0
    assert files_below("t/ten_other") == ["t/ten_other/a.flac"]
    assert {m.last_error for m in OutboxMessage.objects.exclude(last_error="")} == {
        "ValueError: the files are another tenant's"
    }
