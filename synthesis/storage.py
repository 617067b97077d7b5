"""The files of jobs: kept lines, the audio, the captions; and the links to them."""

import binascii
import hashlib
import hmac
import io
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile
from django.conf import settings
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
# Of FLAC's levels: half the time of the default for a tenth more bytes.
_FASTEST = 0.0
_OUTLINE = "outline-"
_FILES_IN_MEMORY = 2  # of kept lines: rendering.MOST_HELD_S of sound each


@dataclass(frozen=True)
class LinkedFile:
    """A file behind a link: which one, under what name, and until when (Unix seconds)."""

    tenant_id: str
    job_id: str
    kind: str  # "audio", or a kind of captions
    expires_at: int


def put_lines(job: Job, lines: Sequence[SpokenLine]) -> str:
    """Keep spoken lines of one rate, one behind the other in a file, lossless (FLAC, 24 bits).

    Returns its storage key. The attempt is in the name, so that a worker that lost its lease cannot
    overwrite another's.
    """
    buffer = io.BytesIO()
    waveform = np.concatenate([line.waveform for line in lines])
    soundfile.write(
        buffer,
        waveform,
        lines[0].sample_rate,
        format="FLAC",
        subtype="PCM_24",
        compression_level=_FASTEST,
    )
    name = f"{job.folder}/lines/{lines[0].position:04}-{job.attempt}.flac"
    return str(default_storage.save(name, ContentFile(buffer.getvalue())))


class KeptLines:
    """Reads kept lines, each several times, because a mixdown measures before it mixes.

    folder: keeps what an object store has sent. The files read last stay decoded in memory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._decoded: OrderedDict[str, tuple[Waveform, int]] = OrderedDict()

    def read(self, key: str, start: int, count: int) -> tuple[Waveform, int]:
        """``count`` samples of a file from ``start`` on, and its rate in Hz. Raises FileNotFoundError."""
        if key not in self._decoded:
            self._decoded[key] = self._decode(key)
            if len(self._decoded) > _FILES_IN_MEMORY:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(key)
        waveform, sample_rate = self._decoded[key]
        return waveform[start : start + count], sample_rate

    def _decode(self, key: str) -> tuple[Waveform, int]:
        path = self._folder / Path(key).name
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


def put_outline(job: Job, outline: bytes) -> None:
    """Keep the outline of the audio file (synthesis.waveform)."""
    default_storage.save(_outline_key(job), ContentFile(outline))


def read_outline(job: Job) -> bytes:
    """The outline of a finished job's audio file; empty for jobs of before there were any."""
    try:
        with default_storage.open(_outline_key(job), "rb") as file:
            return bytes(file.read())
    except FileNotFoundError:
        return b""


def _outline_key(job: Job) -> str:
    return f"{job.folder}/{_OUTLINE}{job.attempt}.bin"


def is_outline(key: str) -> bool:
    """Whether a stored file is a job's outline, which no row names."""
    return key.rpartition("/")[2].startswith(_OUTLINE)


def erase_files(job: Job) -> None:
    """Have every file of a job without a row deleted, twice: a worker that dies in the middle of
    writing one cannot take it back.
    """
    ask_to_delete_files(job.tenant_id, job.folder)
    ask_to_delete_files(job.tenant_id, job.folder, after=2 * LEASE)


def file_size(key: str) -> int:
    """The size of a stored file in bytes."""
    return int(default_storage.size(key))


def file_name(job: Job, kind: str) -> str:
    """What a downloaded file is called: the job's title, safe on every system, and its extension."""
    return f"{_stem(job)}.{_extension(job, kind)}"


def _stem(job: Job) -> str:
    return _safe_title(job.title) or job.pk


def _extension(job: Job, kind: str) -> str:
    return str(job.output["format"]) if kind == "audio" else kind


@lru_cache(1_000)
def _safe_title(title: str) -> str:
    kept = "".join(c if c.isprintable() and c not in '<>:"/\\|?*%' else " " for c in title)
    return " ".join(kept.split()).strip(". ")[:80].rstrip(". ")


def media_type(job: Job, kind: str) -> str:
    if kind == "audio":
        return formats.FORMATS[job.output["format"]].media_type
    return captions.MEDIA_TYPES[kind]


def storage_key(job: Job, kind: str) -> str | None:
    """The storage key of a job's file, or None if it has none."""
    return (job.audio_key or None) if kind == "audio" else job.caption_keys.get(kind)


def link_paths(job: Job, kinds: Iterable[str], expires_at: int) -> dict[str, str]:
    """The paths of links to a job's files, by kind; each signed over the file, its name and its end."""
    stem, owner = _stem(job), f"{job.tenant_id}.{job.pk}"
    begin, quoted = _links_begin(), stem if stem == job.pk else quote(stem)
    paths = {}
    for kind in kinds:
        extension = _extension(job, kind)
        signed = f"{owner}.{kind}.{expires_at}"
        signature = _signature(signed, f"{stem}.{extension}")
        paths[kind] = f"{begin}{signed}.{signature}/{quoted}.{extension}"
    return paths


@cache
def _links_begin() -> str:
    """What comes before the token: Django takes longer to find out than to sign."""
    return reverse("file", args=["token", "name"]).removesuffix("token/name")


def _signature(signed: str, name: str) -> str:
    """HMAC-SHA256 in URL-safe base64, under a key of the links' own."""
    mac = _mac().copy()
    mac.update(f"{signed}/{name}".encode("utf-8", "surrogatepass"))
    encoded = binascii.b2a_base64(mac.digest(), newline=False)
    return encoded.translate(_URL_SAFE).rstrip(b"=").decode()


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@cache
def _mac() -> Any:
    """OpenSSL's own, without hmac.HMAC around it. Begun once: that takes three times as long as the rest."""
    key = hashlib.sha256(f"{_SALT}{settings.SECRET_KEY}".encode()).digest()
    return hmac.new(key, digestmod="sha256")._hmac  # type: ignore[attr-defined]


def open_link(token: str, name: str) -> LinkedFile | None:
    """What a link leads to; None if a character of it is not ours or its time is over."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(signed, name).encode(), signature.encode()):
        return None
    tenant_id, job_id, kind, expires_at = signed.split(".")
    if time.time() >= int(expires_at):
        return None
    return LinkedFile(tenant_id, job_id, kind, int(expires_at))


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
