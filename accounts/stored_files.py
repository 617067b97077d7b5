"""The audio storage as a whole, whichever storage it is: walking it and deleting from it."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage, default_storage, storages
from django.utils import timezone

_KEYS_PER_CALL = 1000  # S3's own limit of DeleteObjects


class DeletionFailed(Exception):
    """The object store kept some of the files."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the storage and when it was last written."""

    key: str
    written_at: datetime


def bucket() -> Any | None:
    """boto3's bucket, or None where the storage is a disk."""
    return getattr(default_storage, "bucket", None)


def walk(prefix: str = "") -> Iterator[StoredFile]:
    """Every file whose key begins with ``prefix``, in the order of the keys' folders."""
    if (objects := bucket()) is not None:
        for found in objects.objects.filter(Prefix=prefix):
            yield StoredFile(found.key, found.last_modified)
        return
    root = Path(default_storage.path(""))
    for folder, folders, names in os.walk(root / prefix, onerror=_raise_unless_missing):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                yield StoredFile(path.relative_to(root).as_posix(), written_at)


def file_bytes(key: str) -> int:
    """A file's size; 0 if it was deleted meanwhile."""
    try:
        return int(default_storage.size(key))
    except FileNotFoundError:
        return 0


def _raise_unless_missing(error: OSError) -> None:
    """A folder that cannot be read is not an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


def delete_below(path: str, *, for_good: bool = False) -> None:
    """Delete the file at ``path``, or every file below it; what is already gone is fine.

    for_good: from a bucket that keeps versions, all of them too, so that nobody can bring them back.
    Raises DeletionFailed when the object store answers that it kept some.
    """
    if (objects := bucket()) is not None:
        _delete_objects(objects, ({"Key": key} for key in _keys_at(path)))
        if for_good:
            _delete_objects(
                objects,
                (
                    {"Key": one.key, "VersionId": one.version_id}
                    for one in _versions(objects, path)
                    if one.key == path or one.key.startswith(f"{path}/")
                ),
            )
        return
    assert isinstance(storages["default"], FileSystemStorage)
    if Path(default_storage.path(path)).is_file():
        default_storage.delete(path)
        return
    _delete_folder(path)


def _keys_at(path: str) -> Iterator[str]:
    yield path
    for file in walk(f"{path}/"):
        yield file.key


def _delete_objects(objects: Any, named: Iterable[Mapping[str, str]]) -> None:
    listed = list(named)
    for start in range(0, len(listed), _KEYS_PER_CALL):
        batch = listed[start : start + _KEYS_PER_CALL]
        answer = objects.delete_objects(Delete={"Objects": batch, "Quiet": True})
        if errors := answer.get("Errors"):
            raise DeletionFailed(f"{len(errors)} files, such as {errors[0]}")


@dataclass(frozen=True)
class _Version:
    """One of a key's versions. etag: of its bytes; "": it says that the file was deleted."""

    key: str
    version_id: str
    written_at: datetime
    is_latest: bool
    etag: str


def _versions(objects: Any, prefix: str) -> Iterator[_Version]:
    """The versions of all keys with a prefix; where none are kept, the files themselves, of version null."""
    pages = objects.meta.client.get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=objects.name, Prefix=prefix):
        for kind in ("Versions", "DeleteMarkers"):
            for one in page.get(kind, ()):
                yield _Version(
                    one["Key"],
                    one["VersionId"],
                    one["LastModified"],
                    one["IsLatest"],
                    one.get("ETag", ""),
                )


def restore_versions(at: datetime, prefix: str = "") -> int:
    """Bring back the files that were there at an instant and are gone or changed since, from a bucket that
    keeps versions. Returns how many. What was added since stays.

    An object store tells seconds, so what was written in the instant's own second counts as there.
    Raises ValueError where the storage keeps no versions.
    """
    objects = bucket()
    if objects is None or objects.Versioning().status != "Enabled":
        raise ValueError("The audio storage keeps no versions.")
    then: dict[str, _Version] = {}
    latest: dict[str, _Version] = {}
    for one in _versions(objects, prefix):
        if one.is_latest:
            latest[one.key] = one
        known = then.get(one.key)
        if one.written_at <= at and (known is None or known.written_at < one.written_at):
            then[one.key] = one
    restored = 0
    for key, one in then.items():
        now = latest.get(key)
        if one.etag and (now is None or now.etag != one.etag):
            source = {"Bucket": objects.name, "Key": key, "VersionId": one.version_id}
            objects.copy(source, key)
            restored += 1
    return restored


def _delete_folder(folder: str) -> None:
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in files:
        default_storage.delete(f"{folder}/{name}")
    for name in folders:
        _delete_folder(f"{folder}/{name}")
    # A worker may just have added a file.
    with contextlib.suppress(OSError):
        default_storage.delete(folder)


def abort_stale_uploads(older_than: timedelta) -> int:
    """Free the parts of uploads whose worker died; only an object store has such."""
    objects = bucket()
    if objects is None:
        return 0
    before = timezone.now() - older_than
    stale = [upload for upload in objects.multipart_uploads.all() if upload.initiated < before]
    for upload in stale:
        upload.abort()
    return len(stale)
