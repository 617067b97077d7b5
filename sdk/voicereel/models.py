"""What the API takes and gives, as frozen dataclasses.

Each answer keeps the server's JSON in `raw`, with fields newer than this client in it.
Signed links are left out of `repr`: whoever has one may fetch the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Generic, Literal, TypeVar

AudioFormat = Literal["wav", "mp3", "flac", "opus", "m4a"]
CaptionKind = Literal["json", "vtt", "srt"]
SpeakerStatus = Literal["processing", "ready", "failed"]
VoiceMode = Literal["nearest_preset", "adapted", "cloned"]
JobStatus = Literal["queued", "processing", "succeeded", "failed", "canceled"]

KeyMode = Literal["live", "test"]
Scope = Literal[
    "*",
    "speakers:read",
    "speakers:write",
    "speakers:erase",
    "jobs:read",
    "jobs:write",
    "pronunciations:read",
    "pronunciations:write",
    "webhooks:read",
    "webhooks:write",
    "keys:read",
    "keys:write",
    "members:read",
    "members:write",
    "audit:read",
    "usage:read",
    "billing:read",
    "billing:write",
    "account:export",
    "account:erase",
]
Role = Literal["owner", "admin", "developer", "billing", "viewer"]
ActorKind = Literal["key", "member", "operator", "system"]
ExportStatus = Literal["processing", "succeeded", "failed"]
ErasureStatus = Literal["requested", "erasing", "erased"]
Event = Literal[
    "*",
    "job.succeeded",
    "job.failed",
    "job.canceled",
    "speaker.ready",
    "speaker.failed",
    "usage.threshold_reached",
    "invoice.finalized",
]
DeliveryStatus = Literal["pending", "delivered", "failed"]

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """One line of a script; `speed` is a factor (1.0 is normal), the pause is in ms."""

    speaker_id: str
    text: str
    id: str | None = None
    speed: float | None = None
    language: str | None = None
    pause_after_ms: int | None = None

    def to_json(self) -> dict[str, Any]:
        return _without_none(self)


@dataclass(frozen=True)
class Output:
    """The audio file wanted; `sample_rate` in Hz, `bit_depth` in bits per sample."""

    format: AudioFormat | None = None
    sample_rate: int | None = None
    bitrate_kbps: int | None = None
    bit_depth: int | None = None

    def to_json(self) -> dict[str, Any]:
        return _without_none(self)


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list; `next_cursor` is None on the last one."""

    data: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class FailureReason:
    """Why a voice could not be made, in words for the person who recorded it."""

    code: str
    detail: str


@dataclass(frozen=True)
class Speaker:
    """A registered voice; `similarity` to the recordings is from 0 to 1."""

    id: str
    name: str
    language: str
    status: SpeakerStatus
    voice_mode: VoiceMode | None
    similarity: float | None
    quality: Mapping[str, Any] | None
    failure_reasons: tuple[FailureReason, ...]
    reference_ms: int | None
    transcript: str | None
    metadata: Mapping[str, Any]
    created_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Speaker:
        return cls(
            id=data["id"],
            name=data["name"],
            language=data["language"],
            status=data["status"],
            voice_mode=data.get("voice_mode"),
            similarity=data.get("similarity"),
            quality=data.get("quality"),
            failure_reasons=tuple(
                FailureReason(reason["code"], reason["detail"])
                for reason in data.get("failure_reasons") or ()
            ),
            reference_ms=data.get("reference_ms"),
            transcript=data.get("transcript"),
            metadata=data.get("metadata") or {},
            created_at=moment(data.get("created_at")),
            raw=data,
        )


@dataclass(frozen=True)
class Progress:
    """Lines of the script spoken so far."""

    lines_done: int
    lines_total: int


@dataclass(frozen=True)
class JobError:
    """Why a job failed, and at which line if at one."""

    code: str
    detail: str
    line_id: str | None


@dataclass(frozen=True)
class AudioFile:
    """A finished audio file; `sample_rate` in Hz, `url` is signed and lives 15 minutes."""

    url: str = field(repr=False)
    format: AudioFormat
    sample_rate: int | None
    duration_ms: int
    size_bytes: int
    sha256: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AudioFile:
        return cls(
            url=data["url"],
            format=data["format"],
            sample_rate=data.get("sample_rate"),
            duration_ms=data["duration_ms"],
            size_bytes=data["size_bytes"],
            sha256=data["sha256"],
        )


@dataclass(frozen=True)
class Money:
    """An amount before tax, in the currency's smallest unit (won, cents)."""

    amount_minor: int
    currency: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Money:
        return cls(data["amount_minor"], data["currency"])


@dataclass(frozen=True)
class Job:
    """One synthesis job; `captions` maps the kinds there are to signed links."""

    id: str
    title: str | None
    status: JobStatus
    progress: Progress | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    retention_hours: int | None
    """After the end; None means that it is kept until it is deleted."""
    expires_at: datetime | None
    error: JobError | None
    audio: AudioFile | None
    captions: Mapping[str, str] = field(repr=False)
    links_expire_at: datetime | None
    notices: tuple[str, ...]
    metadata: Mapping[str, Any]
    seed: int | None
    mode: KeyMode
    """Test jobs are spoken in tones and cost nothing."""
    queue_position: int | None
    """While it is queued: how many jobs begin before it."""
    estimated_start_at: datetime | None
    highest_price: Money | None
    """What was quoted; the bill never passes it. None for test jobs."""
    cost: Money | None
    """What it came to, rounded; None until it has succeeded."""
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        progress, error, audio = data.get("progress"), data.get("error"), data.get("audio")
        return cls(
            id=data["id"],
            title=data.get("title"),
            status=data["status"],
            progress=progress and Progress(progress["lines_done"], progress["lines_total"]),
            created_at=moment(data.get("created_at")),
            started_at=moment(data.get("started_at")),
            finished_at=moment(data.get("finished_at")),
            retention_hours=data.get("retention_hours"),
            expires_at=moment(data.get("expires_at")),
            error=error and JobError(error["code"], error["detail"], error.get("line_id")),
            audio=audio and AudioFile.from_json(audio),
            captions={kind: url for kind, url in (data.get("captions") or {}).items() if url},
            links_expire_at=moment(data.get("links_expire_at")),
            notices=tuple(data.get("notices") or ()),
            metadata=data.get("metadata") or {},
            seed=data.get("seed"),
            mode=data.get("mode", "live"),
            queue_position=data.get("queue_position"),
            estimated_start_at=moment(data.get("estimated_start_at")),
            highest_price=data.get("highest_price") and Money.from_json(data["highest_price"]),
            cost=data.get("cost") and Money.from_json(data["cost"]),
            raw=data,
        )

    @property
    def is_over(self) -> bool:
        """True once the status can no longer change by itself."""
        return self.status in ("succeeded", "failed", "canceled")

    @property
    def speed_x_real_time(self) -> float | None:
        """Seconds of audio made per second of processing; None while not known."""
        if self.audio is None or self.started_at is None or self.finished_at is None:
            return None
        processing_s = (self.finished_at - self.started_at).total_seconds()
        return self.audio.duration_ms / 1000 / processing_s if processing_s > 0 else None


@dataclass(frozen=True)
class Pronunciation:
    """One entry of the pronunciation dictionary: `written` in a script is spoken as `spoken`.

    `language` has no region: "en" is for "en-US" and "en-GB" too.
    """

    language: str
    written: str
    spoken: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pronunciation:
        return cls(data["language"], data["written"], data["spoken"])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ApiKey:
    """An API key; `key` is the key itself, which only the call that made it gets."""

    id: str
    label: str
    prefix: str
    """How the key begins, to recognise it by."""
    mode: KeyMode
    scopes: tuple[Scope, ...]
    networks: tuple[str, ...]
    """From where it may be used, in CIDR notation; none: from anywhere."""
    require_signature: bool
    created_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    replaced_by: str | None
    """The id of the key that took its place."""
    key: str | None = field(repr=False)
    signing_secret: str | None = field(repr=False)
    """In base64; only the call that made the key gets it."""
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ApiKey:
        return cls(
            id=data["id"],
            label=data["label"],
            prefix=data["prefix"],
            mode=data["mode"],
            scopes=tuple(data["scopes"]),
            networks=tuple(data.get("networks", ())),
            require_signature=data["require_signature"],
            created_at=moment(data.get("created_at")),
            expires_at=moment(data.get("expires_at")),
            revoked_at=moment(data.get("revoked_at")),
            last_used_at=moment(data.get("last_used_at")),
            replaced_by=data.get("replaced_by"),
            key=data.get("key"),
            signing_secret=data.get("signing_secret"),
            raw=data,
        )

    @property
    def works(self) -> bool:
        """Neither revoked nor expired, by this machine's clock."""
        if self.revoked_at is not None:
            return False
        return self.expires_at is None or self.expires_at > datetime.now(timezone.utc)


@dataclass(frozen=True)
class WebhookEndpoint:
    """An address that is told of events; `secret` is there for the call that made it alone."""

    id: str
    url: str
    description: str
    events: tuple[Event, ...]
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    """Every attempt since has failed."""
    created_at: datetime | None
    secret: str | None = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WebhookEndpoint:
        return cls(
            id=data["id"],
            url=data["url"],
            description=data["description"],
            events=tuple(data["events"]),
            enabled=data["enabled"],
            disabled_reason=data.get("disabled_reason"),
            failing_since=moment(data.get("failing_since")),
            created_at=moment(data.get("created_at")),
            secret=data.get("secret"),
            raw=data,
        )


@dataclass(frozen=True)
class DeliveryAttempt:
    """One attempt to deliver: the receiver's status if it answered, and what went wrong."""

    at: datetime | None
    status: int | None
    error: str | None
    duration_ms: int


@dataclass(frozen=True)
class WebhookDelivery:
    """A message to an endpoint; `id` is its webhook-id."""

    id: str
    endpoint_id: str
    event: Event
    status: DeliveryStatus
    created_at: datetime | None
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    attempts: tuple[DeliveryAttempt, ...]
    message: Mapping[str, Any]
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WebhookDelivery:
        return cls(
            id=data["id"],
            endpoint_id=data["endpoint_id"],
            event=data["event"],
            status=data["status"],
            created_at=moment(data.get("created_at")),
            delivered_at=moment(data.get("delivered_at")),
            next_attempt_at=moment(data.get("next_attempt_at")),
            attempts=tuple(
                DeliveryAttempt(
                    moment(attempt["at"]),
                    attempt["status"],
                    attempt["error"],
                    attempt["duration_ms"],
                )
                for attempt in data["attempts"]
            ),
            message=data["message"],
            raw=data,
        )


@dataclass(frozen=True)
class Member:
    """A person of the account."""

    id: str
    name: str
    email: str
    role: Role
    second_factor: bool
    joined_at: datetime | None
    last_login_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Member:
        return cls(
            id=data["id"],
            name=data["name"],
            email=data["email"],
            role=data["role"],
            second_factor=data["second_factor"],
            joined_at=moment(data.get("joined_at")),
            last_login_at=moment(data.get("last_login_at")),
            raw=data,
        )


@dataclass(frozen=True)
class Invitation:
    """A person who may join; the link to do so is in their mail alone."""

    id: str
    email: str
    role: Role
    invited_by: str
    created_at: datetime | None
    expires_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Invitation:
        return cls(
            id=data["id"],
            email=data["email"],
            role=data["role"],
            invited_by=data["invited_by"],
            created_at=moment(data.get("created_at")),
            expires_at=moment(data.get("expires_at")),
            raw=data,
        )


@dataclass(frozen=True)
class AuditActor:
    """Who did it; `in_place_of` is the member whom an operator impersonated."""

    kind: ActorKind
    id: str | None
    name: str | None
    in_place_of: str | None
    address: str | None


@dataclass(frozen=True)
class AuditEvent:
    """One thing that somebody did; `action` says to what, and what: `key.created`."""

    id: str
    at: datetime | None
    action: str
    actor: AuditActor
    target: str
    details: Mapping[str, Any]
    request_id: str | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AuditEvent:
        actor = data["actor"]
        return cls(
            id=data["id"],
            at=moment(data.get("at")),
            action=data["action"],
            actor=AuditActor(
                actor["kind"],
                actor.get("id"),
                actor.get("name"),
                actor.get("in_place_of"),
                actor.get("address"),
            ),
            target=data["target"],
            details=data["details"],
            request_id=data.get("request_id"),
            raw=data,
        )


@dataclass(frozen=True)
class ArchiveFile:
    """A ZIP file behind a link that lives 15 minutes."""

    url: str = field(repr=False)
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Export:
    """Everything of the account's in one archive, which is there once it has succeeded."""

    id: str
    status: ExportStatus
    files_done: int
    files_total: int | None
    rows_done: int
    error: str | None
    archive: ArchiveFile | None
    created_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Export:
        archive = data.get("archive")
        return cls(
            id=data["id"],
            status=data["status"],
            files_done=data["files_done"],
            files_total=data.get("files_total"),
            rows_done=data["rows_done"],
            error=data.get("error"),
            archive=None
            if archive is None
            else ArchiveFile(archive["url"], archive["size_bytes"], archive["sha256"]),
            created_at=moment(data.get("created_at")),
            finished_at=moment(data.get("finished_at")),
            expires_at=moment(data.get("expires_at")),
            raw=data,
        )


@dataclass(frozen=True)
class Erasure:
    """What is being erased for good; once its status is erased it is the proof.

    `speaker_id` None is the whole account. `proof_url` shows it without a key, for ever.
    """

    id: str
    account_id: str
    speaker_id: str | None
    status: ErasureStatus
    requested_at: datetime | None
    finished_at: datetime | None
    rows: Mapping[str, int]
    files: int
    bytes: int
    proof_url: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Erasure:
        return cls(
            id=data["id"],
            account_id=data["account_id"],
            speaker_id=data.get("speaker_id"),
            status=data["status"],
            requested_at=moment(data.get("requested_at")),
            finished_at=moment(data.get("finished_at")),
            rows=data["rows"],
            files=data["files"],
            bytes=data["bytes"],
            proof_url=data["proof_url"],
            raw=data,
        )


def _without_none(value: Line | Output) -> dict[str, Any]:
    pairs = ((entry.name, getattr(value, entry.name)) for entry in fields(value))
    return {name: item for name, item in pairs if item is not None}


def moment(text: str | None) -> datetime | None:
    # Python 3.10 reads "+00:00" but not "Z".
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
