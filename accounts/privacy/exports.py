"""Everything of a tenant's in one ZIP archive: its rows as JSON lines, its files as they are."""

import errno
import hashlib
import json
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog
from django.conf import settings
from django.core import signing
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.lookup import find_row
from accounts.models import DataExport, Membership, Tenant, User
from accounts.outbox import ask_again_for_task, ask_for_task, ask_to_delete_files
from accounts.privacy.rows import (
    exported_fields,
    kind_of,
    models_of_tenants,
    rows_of,
    tenant_fields,
)
from accounts.stored_files import StoredFile, bucket, walk
from accounts.stored_sentences import EXPORT_FAILED
from accounts.tenancy import act_for, acting_for
from voicereel_site.errors import Refusal
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

BUILD_TASK = "accounts.build_export"
KEPT = timedelta(days=7)
_SALT = "voicereel.export-link"
_LEASE = timedelta(minutes=2)
_SHOWN_EVERY_FILES = 20
_SWEPT_AT_A_TIME = 100
_LEAST_LEFT_BYTES = 256 * 1024**2  # of the disk, beside the archive
# Of people, what their fellow members see.
_PERSON = ("id", "email", "name", "created_at", "last_login")
_README = """\
Everything that VoiceReel keeps of account {tenant_id}, on {at}.

data/     a file for each kind of row, a row of JSON on each line; times are UTC. Hashes of keys and
          encrypted secrets are left out: they are of use to nobody.
files/    recordings, spoken lines, audio and captions, as data/job.jsonl, data/line.jsonl and
          data/reference_clip.jsonl name them (audio_key, caption_keys).
MANIFEST  the SHA-256 of every other file, as sha256sum -c reads it.
"""


def request_export(tenant: Tenant) -> DataExport:
    """Ask for an archive. One at a time. Inside a transaction. Raises validation_error (409)."""
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    rows = DataExport.objects.for_tenant(tenant)
    if rows.filter(status=DataExport.Status.PROCESSING).exists():
        detail = _("An export is being made already. Wait until it is done.")
        raise Refusal("validation_error", detail, 409)
    row = DataExport.objects.create(tenant=tenant)
    audit.record(tenant.pk, "export.requested", row.pk)
    ask_for_task(BUILD_TASK, row)
    return row


def get_export(tenant: Tenant, export_id: str) -> DataExport:
    """This tenant's export. Raises not_found."""
    found: DataExport = find_row(DataExport.objects.for_tenant(tenant), export_id, "export")
    return found


def archive_name(row: DataExport) -> str:
    """What the downloaded archive is called."""
    return f"voicereel-{row.pk}.zip"


def archive_link(row: DataExport, absolute: Callable[[str], str]) -> str:
    """Where the archive can be fetched for 15 minutes without a key: the object store, or here.

    absolute: from a path of ours to an address. That somebody was given it is on record: who opens it
    then, nobody can tell.
    """
    audit.record(row.tenant_id, "export.opened", row.pk)
    if bucket() is not None:
        disposition = f'attachment; filename="{archive_name(row)}"'
        parameters = {"ResponseContentDisposition": disposition}
        return str(
            default_storage.url(row.archive_key, parameters=parameters, expire=settings.LINK_TTL_S)
        )
    token = signing.TimestampSigner(salt=_SALT).sign_object([row.tenant_id, row.pk])
    return absolute(reverse("export-archive", args=[token, archive_name(row)]))


def open_archive_link(token: str) -> DataExport | None:
    """The export behind a link, for whose tenant the request acts from here on; None if it is over."""
    signer = signing.TimestampSigner(salt=_SALT)
    try:
        tenant_id, export_id = signer.unsign_object(token, max_age=settings.LINK_TTL_S)
    except (signing.BadSignature, ValueError):
        return None
    rows = DataExport.objects.for_tenant(tenant_id).filter(pk=export_id).exclude(archive_key="")
    with acting_for(tenant_id):
        row: DataExport | None = rows.first()
    if row is not None:
        act_for(tenant_id)
    return row


def build_export(tenant_id: str, export_id: str) -> None:
    """Make the archive of an export, unless it is done or in other hands."""
    now = timezone.now()
    rows = DataExport.objects.for_tenant(tenant_id).filter(pk=export_id)
    free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=now)
    waiting = rows.filter(free, status=DataExport.Status.PROCESSING)
    if not waiting.update(lease_expires_at=now + _LEASE, attempt=F("attempt") + 1):
        return
    export: DataExport = rows.get()
    try:
        with _Heartbeat(export):
            _build(export)
    except Exception as exc:
        if outage_of(exc) not in (None, "disk"):
            raise  # the sweep asks again
        log.exception("export.failed", export_id=export.pk)
        _mine(export).update(
            status=DataExport.Status.FAILED,
            error_detail=EXPORT_FAILED,
            finished_at=timezone.now(),
        )


class _Heartbeat:
    """Renews the lease of an export while its archive is made."""

    def __init__(self, export: DataExport) -> None:
        self._export = export
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def _beat(self) -> None:
        while not self._over.wait(_LEASE.total_seconds() / 4):
            # A beat that an outage takes is made up for by the next; the lease has four.
            with (
                closing(connection),
                acting_for(self._export.tenant_id),
                suppress(DatabaseError),
            ):
                _mine(self._export).update(lease_expires_at=timezone.now() + _LEASE)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _mine(export: DataExport) -> QuerySet:
    """The export's row, as long as nobody else has taken it up since."""
    rows = DataExport.objects.for_tenant(export.tenant_id)
    return rows.filter(pk=export.pk, status=DataExport.Status.PROCESSING, attempt=export.attempt)


def _build(export: DataExport) -> None:
    files = [file for file in walk(f"t/{export.tenant_id}/") if "/x/" not in file.key]
    _mine(export).update(files_total=len(files))
    with tempfile.TemporaryDirectory(prefix="export-", dir=settings.SCRATCH_DIR) as folder:
        path = Path(folder) / "archive.zip"
        rows_done, files_done = _write(path, export, files)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            # The attempt is in the name: who has lost the export overwrites and deletes nobody's.
            name = f"{export.folder}/archive-{export.attempt}.zip"
            key = default_storage.save(name, File(file))
        size = path.stat().st_size
    now = timezone.now()
    with transaction.atomic():
        if not _mine(export).update(
            status=DataExport.Status.SUCCEEDED,
            rows_done=rows_done,
            files_done=files_done,
            archive_key=key,
            archive_bytes=size,
            archive_sha256=sha256,
            finished_at=now,
            expires_at=now + KEPT,
        ):
            ask_to_delete_files(export.tenant_id, key)
            return
        # One archive at a time is kept: the newest has all that an earlier one had.
        earlier = DataExport.objects.for_tenant(export.tenant_id).exclude(pk=export.pk)
        drop_archives(earlier)
    log.info("export.succeeded", export_id=export.pk, rows=rows_done, files=files_done)


def drop_archives(exports: QuerySet) -> None:
    """Have the archives of exports deleted, whose rows stay. Inside a transaction."""
    for row in exports.exclude(archive_key=""):
        DataExport.objects.for_tenant(row.tenant_id).filter(pk=row.pk).update(archive_key="")
        ask_to_delete_files(row.tenant_id, row.folder)


def _write(path: Path, export: DataExport, files: list[StoredFile]) -> tuple[int, int]:
    """Write the archive. Returns how many rows and files are in it."""
    rows_done = files_done = 0
    sums = []
    at = f"{timezone.now():%Y-%m-%d %H:%M:%S} UTC"
    # Audio does not get smaller; rows do.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        readme = _README.format(tenant_id=export.tenant_id, at=at).encode()
        sums.append(f"{_add(archive, 'README.txt', [readme])}  README.txt\n")
        for kind, rows in _rows(export.tenant_id):
            name, lines = f"data/{kind}.jsonl", _Lines(rows)
            sums.append(f"{_add(archive, name, lines)}  {name}\n")
            rows_done += lines.count
        for file in files:
            if shutil.disk_usage(path.parent).free < _LEAST_LEFT_BYTES:
                raise OSError(errno.ENOSPC, "the archive does not fit on the disk")
            name = f"files/{file.key.removeprefix(f't/{export.tenant_id}/')}"
            try:
                with default_storage.open(file.key, "rb") as source:
                    chunks = iter(partial(source.read, 1 << 20), b"")
                    sums.append(f"{_add(archive, name, chunks, zipfile.ZIP_STORED)}  {name}\n")
            except FileNotFoundError:
                continue  # erased meanwhile
            files_done += 1
            if files_done % _SHOWN_EVERY_FILES == 0:
                _mine(export).update(files_done=files_done)
        archive.writestr("MANIFEST", "".join(sums), zipfile.ZIP_DEFLATED)
    return rows_done, files_done


def _add(
    archive: zipfile.ZipFile,
    name: str,
    chunks: Iterable[bytes],
    compression: int = zipfile.ZIP_DEFLATED,
) -> str:
    """Write a file of the archive piece by piece. Returns its SHA-256."""
    digest = hashlib.sha256()
    entry = zipfile.ZipInfo(name, time.gmtime()[:6])
    entry.compress_type = compression
    with archive.open(entry, "w", force_zip64=True) as to:
        for chunk in chunks:
            digest.update(chunk)
            to.write(chunk)
    return digest.hexdigest()


class _Lines:
    """Rows as lines of JSON, some at a time; count: how many there were."""

    def __init__(self, rows: QuerySet) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        with transaction.atomic():  # in which alone rows of a tenant are streamed
            for row in self._rows.iterator(chunk_size=500):
                self.count += 1
                yield f"{json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)}\n".encode()


def _rows(tenant_id: str) -> Iterator[tuple[str, QuerySet]]:
    yield "tenant", Tenant.objects.filter(pk=tenant_id).values(*tenant_fields())
    members = Membership.objects.for_tenant(tenant_id)
    people = User.objects.filter(pk__in=list(members.values_list("user_id", flat=True)))
    yield "person", people.values(*_PERSON)
    for model in models_of_tenants():
        rows = rows_of(model, tenant_id).order_by("pk")
        yield kind_of(model), rows.values(*exported_fields(model))


def sweep_exports() -> None:
    """Ask again for exports whose message or worker was lost."""
    lost = Q(lease_expires_at__lt=timezone.now()) | Q(
        lease_expires_at=None, created_at__lt=timezone.now() - _LEASE
    )
    waiting = DataExport.objects.filter(lost, status=DataExport.Status.PROCESSING)
    ask_again_for_task(BUILD_TASK, waiting.order_by("pk")[:_SWEPT_AT_A_TIME])


def forget_exports() -> None:
    """Delete archives whose time is over; their rows stay with those who asked."""
    with transaction.atomic():
        drop_archives(DataExport.objects.filter(expires_at__lt=timezone.now()))
