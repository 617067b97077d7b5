"""Which of the servers we stand on is down, told from an exception; and whether all of them are up.

An outage is nobody's mistake: a request is answered 503 and may be repeated, a job goes back to the
queue and loses no attempt.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import boto3
import redis
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from celery import current_app
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import InterfaceError, InternalError, OperationalError, connection
from kombu.exceptions import OperationalError as BrokerError

T = TypeVar("T")

RETRY_AFTER_S = 10
_TRIES, _BETWEEN_TRIES_S = 12, 5.0
# A full disk stops the database and uploads; below this a machine is about to have one.
_LEAST_FREE_BYTES = 64 * 1024**2
# A server that has become a standby, and one that ended a transaction of ours that stood idle.
_FAILOVER = {"25006", "25P03"}
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


def outage_of(exc: BaseException) -> str | None:
    """What an exception says is down: "database", "broker", "storage", "disk"; None if it says no such
    thing.

    Any refusal of the object store is its outage, because our requests to it are well-formed: a
    wrong credential must not fail a customer's job.
    """
    match exc:
        case OperationalError() | InterfaceError():
            return "database"
        case InternalError() if getattr(exc.__cause__, "pgcode", None) in _FAILOVER:
            return "database"
        case BotoCoreError() | ClientError() | Boto3Error():
            return "storage"
        case BrokerError() | redis.ConnectionError() | redis.TimeoutError():
            return "broker"
        case OSError() if exc.errno in _DISK_ERRORS:
            return "disk"
    return None


def until_database_is_back(write: Callable[[], T], cause: BaseException) -> T:
    """Do a write that tells of an outage, although the database may be what is away.

    cause: what happened. Tries for a minute, then raises.
    """
    for tries_left in reversed(range(_TRIES)):
        if outage_of(cause) == "database":
            connection.close()  # the next use makes a new one
        try:
            return write()
        except Exception as exc:
            if outage_of(exc) != "database" or not tries_left:
                raise
            cause = exc
            time.sleep(_BETWEEN_TRIES_S)
    raise AssertionError("unreachable")


def _check_database() -> None:
    # A connection of its own: one that is open hangs for as long as its server does.
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        own.close()


def _check_broker() -> None:
    with current_app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=3)


@cache
def _impatient_s3() -> Any:
    """A client that gives up within seconds, where the storage's own is patient with large files."""
    patience = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=default_storage.endpoint_url,
        region_name=default_storage.region_name,
        config=default_storage.client_config.merge(patience),
    )


def _check_storage() -> None:
    if hasattr(default_storage, "bucket"):
        _impatient_s3().head_bucket(Bucket=default_storage.bucket_name)
        return
    folder = default_storage.path("")
    os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise OSError(errno.EROFS, "the folder of the audio files cannot be written")


def require_disk() -> None:
    """Raise what outage_of knows if the disk is full, or is about to be."""
    if shutil.disk_usage(settings.VAR_DIR).free < _LEAST_FREE_BYTES:
        raise OSError(errno.ENOSPC, "less than 64 MB are free")


def require_storage() -> None:
    """Raise what outage_of knows if files cannot be kept now."""
    _check_storage()
    require_disk()


_CHECKS: dict[str, Callable[[], None]] = {
    "database": _check_database,
    "broker": _check_broker,
    "storage": _check_storage,
    "disk": require_disk,
}


def check_all() -> dict[str, str]:
    """Each server we stand on and "ok", or the kind of error it gives. Takes seconds at most."""
    states = {}
    for name, check in _CHECKS.items():
        try:
            check()
            states[name] = "ok"
        except Exception as exc:
            states[name] = type(exc).__name__
    return states
