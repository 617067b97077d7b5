"""The files of jobs: kept lines, the audio, the captions; and the links to them."""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import soundfile
from django.core import signing
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.urls import reverse

from accounts.outbox import ask_to_delete_files
from accounts.stored_files import bucket
from speakers.decoding import Waveform
from synthesis import captions, formats
from synthesis.engines.base import SpokenLine
from synthesis.models import LEASE, Job

_SALT = "voicereel.file-link"


@dataclass(frozen=True)
class LinkedFile:
    """A file behind a link: which one, under what name, and until when (Unix seconds)."""

    tenant_id: str
    job_id: str
    kind: str  # "audio", or a kind of captions
    expires_at: int


def put_line(job: Job, line: SpokenLine) -> str:
    """Keep a spoken line, lossless (FLAC, 24 bits). Returns its storage key.

    The attempt is in the name, so that a worker that lost its lease cannot overwrite another's.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, line.waveform, line.sample_rate, format="FLAC", subtype="PCM_24")
    name = f"{job.folder}/lines/{line.position:04}-{job.attempt}.flac"
    return str(default_storage.save(name, ContentFile(buffer.getvalue())))


def read_line(key: str, folder: Path) -> tuple[Waveform, int]:
    """A kept line and its rate in Hz. Raises FileNotFoundError.

    folder: keeps what an object store has sent, because a mixdown reads every line several times.
    """
    path = folder / Path(key).name
    if bucket() is None:
        path = Path(default_storage.path(key))
    elif not path.exists():
        with default_storage.open(key, "rb") as remote:
            path.write_bytes(remote.read())
    with path.open("rb") as file:
        waveform, sample_rate = soundfile.read(file, dtype="float32")
    return waveform, sample_rate


def put_audio(job: Job, path: Path, format_name: str) -> str:
    """Keep the finished audio file, streamed from disk. Returns its storage key."""
    with path.open("rb") as file:
        name = f"{job.folder}/audio-{job.attempt}.{format_name}"
        return str(default_storage.save(name, File(file)))


def put_captions(job: Job, files: Mapping[str, bytes]) -> dict[str, str]:
    """Keep the caption files. Returns their storage keys by kind."""
    return {
        kind: default_storage.save(
            f"{job.folder}/captions-{job.attempt}.{kind}", ContentFile(content)
        )
        for kind, content in files.items()
    }


def erase_files(job: Job) -> None:
    """Have every file of a job without a row deleted, twice: a worker that dies in the middle of
    writing one cannot take it back.
    """
    ask_to_delete_files(job.tenant_id, job.folder)
    ask_to_delete_files(job.tenant_id, job.folder, after=2 * LEASE)


def open_file(key: str) -> BinaryIO:
    """A stored file, open for reading."""
    return default_storage.open(key, "rb")


def file_size(key: str) -> int:
    """The size of a stored file in bytes."""
    return int(default_storage.size(key))


def file_name(job: Job, kind: str) -> str:
    """What a downloaded file is called: the job's title, safe on every system, and its extension."""
    kept = "".join(c if c.isprintable() and c not in '<>:"/\\|?*%' else " " for c in job.title)
    title = " ".join(kept.split()).strip(". ")[:80].rstrip(". ") or job.pk
    return f"{title}.{job.output['format'] if kind == 'audio' else kind}"


def media_type(job: Job, kind: str) -> str:
    if kind == "audio":
        return formats.FORMATS[job.output["format"]].media_type
    return captions.MEDIA_TYPES[kind]


def storage_key(job: Job, kind: str) -> str | None:
    """The storage key of a job's file, or None if it has none."""
    return (job.audio_key or None) if kind == "audio" else job.caption_keys.get(kind)


def link_path(job: Job, kind: str, expires_at: int) -> str:
    """The path of a link to a file, signed over the file, its name and its end."""
    name = file_name(job, kind)
    signer = signing.Signer(salt=_SALT)
    token = signer.sign_object([job.tenant_id, job.pk, kind, expires_at, name])
    return reverse("file", args=[token, name])


def open_link(token: str, name: str) -> LinkedFile | None:
    """What a link leads to; None if a character of it is not ours or its time is over."""
    try:
        tenant_id, job_id, kind, expires_at, signed_name = signing.Signer(salt=_SALT).unsign_object(
            token
        )
    except (signing.BadSignature, ValueError):
        return None
    if name != signed_name or time.time() >= expires_at:
        return None
    return LinkedFile(tenant_id, job_id, kind, expires_at)


def presigned_url(key: str, link: LinkedFile, name: str, content_type: str) -> str | None:
    """Where an object store serves the file itself for the time that is left; None on a disk."""
    if bucket() is None:
        return None
    return str(
        default_storage.url(
            key,
            parameters={
                "ResponseContentDisposition": content_disposition(name),
                "ResponseContentType": content_type,
            },
            expire=max(1, link.expires_at - int(time.time())),
        )
    )


def content_disposition(name: str) -> str:
    """RFC 6266 with the RFC 8187 form, so that Korean titles survive; plain ASCII beside it."""
    ascii_name = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"
