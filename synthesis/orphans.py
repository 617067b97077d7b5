"""The storage and the database compared: files without a row, and rows without their file.

Files are written before the row that names them, so that a row never points to nothing; a process
that dies in between leaves a file that nobody will ever ask for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from itertools import groupby, islice

import structlog
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.models import DataExport, Tenant
from accounts.outbox import ask_to_delete_files
from accounts.stored_files import StoredFile, abort_stale_uploads, walk
from speakers.models import ReferenceClip, speaker_folder
from synthesis.models import Job, Line, job_folder
from synthesis.rendering import forget_lines
from synthesis.storage import is_outline
from voicereel_site.outages import require_storage

log = structlog.get_logger(__name__)

# A younger file may belong to a row that is about to be written.
_SETTLED_AFTER = timedelta(hours=1)
_ABANDONED_UPLOAD = timedelta(days=1)
_BATCH = 100  # jobs or speakers looked up at a time, with all their files


class StorageIsEmpty(Exception):
    """The disk is not mounted, or the bucket is another."""


class Side(Enum):
    FILE_WITHOUT_ROW = "file without row"
    ROW_WITHOUT_FILE = "row without file"


@dataclass(frozen=True)
class Orphan:
    """A path of the storage that only one side knows: a file's, or that of a folder of a deleted
    owner.
    """

    side: Side
    tenant_id: str
    path: str
    job_id: str | None = None  # whose line's sound is missing


def find_orphans() -> Iterator[Orphan]:
    """Compare both sides, tenant by tenant; memory grows with a tenant's jobs, not their files."""
    tenants = set(Tenant.objects.values_list("pk", flat=True))
    stored = {name for name in _folders("t") if name}
    for tenant_id in sorted(tenants | stored):
        yield from _orphans_of_tenant(tenant_id)


def _folders(path: str) -> list[str]:
    try:
        return list(default_storage.listdir(path)[0])
    except FileNotFoundError:
        return []


def _orphans_of_tenant(tenant_id: str) -> Iterator[Orphan]:
    seen: set[str] = set()  # folders of jobs and speakers that have files
    for folders in _batches(walk(f"t/{tenant_id}/")):
        seen |= folders.keys()
        known = _referenced(tenant_id, {folder.rsplit("/", 1)[1] for folder in folders})
        for folder, files in folders.items():
            yield from _compare(folder, files, known.get(folder))
    yield from _rows_without_any_file(tenant_id, seen)


def _batches(files: Iterator[StoredFile]) -> Iterator[dict[str, list[StoredFile]]]:
    """Files by their owner's folder, ``t/<tenant>/<j, s or x>/<id>``, some folders at a time."""
    grouped = groupby(files, key=lambda file: "/".join(file.key.split("/")[:4]))
    while batch := {folder: list(group) for folder, group in islice(grouped, _BATCH)}:
        yield batch


def _referenced(tenant_id: str, ids: set[str]) -> dict[str, dict[str, str | None]]:
    """The keys that rows name, by the folder of their owner; with the job, where it is a line's."""
    known: dict[str, dict[str, str | None]] = {}
    for job in Job.objects.filter(tenant=tenant_id, pk__in=ids):
        known[job.folder] = dict.fromkeys(filter(None, [job.audio_key, *job.caption_keys.values()]))
    lines = Line.objects.filter(tenant=tenant_id, job__in=ids).exclude(audio_key="")
    for job_id, key in lines.values_list("job_id", "audio_key"):
        known.setdefault(job_folder(tenant_id, job_id), {})[key] = job_id
    clips = ReferenceClip.objects.filter(tenant=tenant_id, speaker__in=ids)
    for speaker_id, key in clips.values_list("speaker_id", "audio_key"):
        known.setdefault(speaker_folder(tenant_id, speaker_id), {})[key] = None
    for export in DataExport.objects.filter(tenant=tenant_id, pk__in=ids).exclude(archive_key=""):
        known[export.folder] = {export.archive_key: None}
    return known


def _tenant_of(key: str) -> str:
    return key.split("/")[1]


def _compare(
    folder: str, files: list[StoredFile], referenced: Mapping[str, str | None] | None
) -> Iterator[Orphan]:
    settled = timezone.now() - _SETTLED_AFTER
    if referenced is None:
        if all(file.written_at < settled for file in files):
            yield Orphan(Side.FILE_WITHOUT_ROW, _tenant_of(folder), folder)
        return
    present = {file.key for file in files}
    for file in files:
        # The outline's name says whose it is; jobs of before there were any have none.
        named = file.key in referenced or is_outline(file.key)
        if not named and file.written_at < settled:
            yield Orphan(Side.FILE_WITHOUT_ROW, _tenant_of(file.key), file.key)
    yield from _missing({key: job for key, job in referenced.items() if key not in present})


def _missing(referenced: Mapping[str, str | None]) -> Iterator[Orphan]:
    for key, job_id in referenced.items():
        # Rows were read after the files were listed; meanwhile a worker goes on.
        if not default_storage.exists(key):
            yield Orphan(Side.ROW_WITHOUT_FILE, _tenant_of(key), key, job_id)


def _rows_without_any_file(tenant_id: str, seen: set[str]) -> Iterator[Orphan]:
    owners = [
        (job_folder(tenant_id, pk), pk)
        for pk in Job.objects.filter(tenant=tenant_id, lines_done__gt=0)
        .values_list("pk", flat=True)
        .iterator()
    ] + [
        (speaker_folder(tenant_id, pk), pk)
        for pk in ReferenceClip.objects.filter(tenant=tenant_id)
        .values_list("speaker_id", flat=True)
        .distinct()
        .iterator()
    ]
    bare = [pk for folder, pk in owners if folder not in seen]
    for start in range(0, len(bare), _BATCH):
        for keys in _referenced(tenant_id, set(bare[start : start + _BATCH])).values():
            yield from _missing(keys)


def reconcile_storage() -> list[Orphan]:
    """Have files without a row deleted and missing lines spoken again; say what else is missing.

    Raises StorageIsEmpty rather than believe that everything was lost.
    """
    require_storage()
    if next(walk("t/"), None) is None and Line.objects.exclude(audio_key="").exists():
        raise StorageIsEmpty("Rows name files and the storage has none: is it the right one?")
    found = list(find_orphans())
    for orphan in found:
        if orphan.side is Side.FILE_WITHOUT_ROW:
            log.warning("orphan.file", path=orphan.path)
            ask_to_delete_files(orphan.tenant_id, orphan.path)
        else:
            log.error("orphan.row", path=orphan.path)
            job = Job.objects.select_related("tenant").filter(pk=orphan.job_id).first()
            if job is not None:
                forget_lines(job, [orphan.path])
    if aborted := abort_stale_uploads(_ABANDONED_UPLOAD):
        log.warning("orphan.uploads", aborted=aborted)
    return found
