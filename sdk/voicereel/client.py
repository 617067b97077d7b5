"""The client: one method for each thing the VoiceReel API does."""

from __future__ import annotations

import json
import mimetypes
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx

from .billing_models import (
    Billing,
    Granularity,
    Invoice,
    InvoiceStatus,
    MonthReport,
    Preview,
    Usage,
    UsageGroup,
)
from .errors import (
    ApiError,
    ApiKeyError,
    BadResponse,
    ConfigurationError,
    ConnectionFailed,
    FileUnavailable,
    InvalidArgument,
    JobFailed,
    SpeakerFailed,
    VoiceReelError,
    WaitTimeout,
    error_from_response,
)
from .models import (
    ApiKey,
    ArchiveFile,
    AudioFile,
    AuditEvent,
    CaptionKind,
    Erasure,
    Event,
    Export,
    Invitation,
    Job,
    JobStatus,
    KeyMode,
    Line,
    Member,
    Output,
    Page,
    Pronunciation,
    Role,
    Scope,
    Speaker,
    WebhookDelivery,
    WebhookEndpoint,
)
from .retry import RETRIED_STATUSES, RetryPolicy
from .signing import Signer
from .transfer import CountedStream, OnBytes, download

DEFAULT_BASE_URL = "http://127.0.0.1:8000"
VERSION = "1.0.0"

_SLOWEST_POLL_S = 5.0
_NEVER_RETRIED = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
_NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout)

AudioPath = str | os.PathLike[str]
T = TypeVar("T")


class Client:
    """A connection to a VoiceReel server; safe to share between threads.

    `api_key`, `base_url` and `signing_secret` default to VOICEREEL_API_KEY, VOICEREEL_URL and
    VOICEREEL_SIGNING_SECRET; with a signing secret every request is signed. `timeout_s` is
    for each connect, send or receive, not for a whole call. Connections that fail and
    answers 429, 502, 503 and 504 are tried again up to `max_retries` times, after a pause
    of up to `backoff_s` seconds that doubles each time, or as the server's Retry-After
    asks (one minute at most). That is safe for POSTs too: each carries an idempotency key,
    which a caller may give to make a repeated call (say, after a crash) the same call.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        signing_secret: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 4,
        backoff_s: float = 0.5,
    ) -> None:
        key = _valid_key(api_key or os.environ.get("VOICEREEL_API_KEY"))
        self._authorization = f"Bearer {key}"
        secret = signing_secret or os.environ.get("VOICEREEL_SIGNING_SECRET")
        self._signer = Signer(key, secret) if secret else None
        self.base_url = _valid_url(base_url or os.environ.get("VOICEREEL_URL") or DEFAULT_BASE_URL)
        self._retry = RetryPolicy(max_retries, backoff_s)
        self._http = httpx.Client(
            timeout=timeout_s, headers={"User-Agent": f"voicereel-python/{VERSION}"}
        )

    def __repr__(self) -> str:
        return f"Client(base_url={self.base_url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used after it."""
        self._http.close()

    # Speakers

    def register_speaker(
        self,
        name: str,
        audio: AudioPath | Sequence[AudioPath],
        *,
        language: str = "en",
        consent: bool,
        transcript: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_progress: OnBytes | None = None,
        idempotency_key: str | None = None,
    ) -> Speaker:
        """Upload recordings of one voice; `wait_for_speaker` then tells when it is ready.

        `consent` must be True: the person recorded has agreed to their voice being used.
        The files are streamed from disk; `on_progress(bytes_sent, bytes_total)` counts the
        whole request and starts again from 0 when an upload is retried.
        """
        if consent is not True:
            raise InvalidArgument(
                "a voice is registered only with the consent of the person recorded: "
                "pass consent=True once you have it"
            )
        paths = [audio] if isinstance(audio, (str, os.PathLike)) else list(audio)
        if not paths:
            raise InvalidArgument("give at least one recording of the voice")
        fields = {"name": name, "language": language, "consent": "true"}
        if transcript is not None:
            fields["transcript"] = transcript
        if metadata is not None:
            fields["metadata"] = json.dumps(metadata, ensure_ascii=False)
        # The boundary stays the same over retries, and so does the body under the key.
        headers = self._post_headers(idempotency_key)
        headers["Content-Type"] = f"multipart/form-data; boundary={secrets.token_hex(16)}"
        with ExitStack() as stack:
            files = [
                (
                    "audio",
                    (
                        path.name,
                        stack.enter_context(path.open("rb")),
                        mimetypes.guess_type(path.name)[0] or "application/octet-stream",
                    ),
                )
                for path in map(Path, paths)
            ]

            def build() -> httpx.Request:
                request = self._http.build_request(
                    "POST",
                    f"{self.base_url}/v1/speakers",
                    headers=headers,
                    data=fields,
                    files=files,
                )
                if on_progress is not None and isinstance(request.stream, httpx.SyncByteStream):
                    total = int(request.headers["Content-Length"])
                    request.stream = CountedStream(request.stream, total, on_progress)
                return request

            return _parsed(Speaker.from_json, self._send(build))

    def list_speakers(self, limit: int | None = None, cursor: str | None = None) -> Page[Speaker]:
        """One page of at most `limit` speakers; `cursor` is a page's `next_cursor`."""
        return self._page("/v1/speakers", Speaker.from_json, limit=limit, cursor=cursor)

    def iter_speakers(self) -> Iterator[Speaker]:
        """All speakers, fetched page by page."""
        return _all_pages(lambda cursor: self.list_speakers(cursor=cursor))

    def get_speaker(self, speaker_id: str) -> Speaker:
        return self._call("GET", _path("speakers", speaker_id), Speaker.from_json)

    def update_speaker(
        self,
        speaker_id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Speaker:
        """Change the name, the metadata (as a whole), or both; None leaves one as it is."""
        changes = _given(name=name, metadata=metadata)
        return self._call("PATCH", _path("speakers", speaker_id), Speaker.from_json, body=changes)

    def delete_speaker(self, speaker_id: str) -> None:
        """Delete the speaker and its recordings."""
        self._delete(_path("speakers", speaker_id))

    def wait_for_speaker(
        self, speaker_id: str, timeout_s: float = 900.0, *, poll_s: float = 1.0
    ) -> Speaker:
        """Wait until the speaker is ready. Raises SpeakerFailed or WaitTimeout.

        Asks the server every `poll_s` seconds at first, then less often.
        """
        speaker = _wait(
            speaker_id,
            lambda: self.get_speaker(speaker_id),
            lambda speaker: speaker.status != "processing",
            timeout_s,
            poll_s,
        )
        if speaker.status == "failed":
            raise SpeakerFailed(speaker)
        return speaker

    # Jobs

    def synthesize(
        self,
        script: Sequence[Line | Mapping[str, Any]],
        *,
        title: str | None = None,
        output: Output | Mapping[str, Any] | None = None,
        captions: Sequence[CaptionKind] | None = None,
        seed: int | None = None,
        retention_hours: int | Literal["forever"] | None = None,
        max_cost_minor: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Start a job that speaks `script`; `wait_for_job` then tells when it is done.

        `retention_hours` says how long the job and its files are kept after its end; None
        leaves that to the account's setting. `max_cost_minor`, in the currency's smallest unit,
        refuses a script that may cost more (CostLimitExceeded).
        """
        body = _request(
            script,
            title=title,
            output=output,
            captions=captions,
            seed=seed,
            retention_hours=retention_hours,
            max_cost_minor=max_cost_minor,
            metadata=metadata,
        )
        return self._post("/v1/synthesize", Job.from_json, body, idempotency_key)

    def preview(
        self,
        script: Sequence[Line | Mapping[str, Any]],
        *,
        title: str | None = None,
        output: Output | Mapping[str, Any] | None = None,
        captions: Sequence[CaptionKind] | None = None,
        seed: int | None = None,
        retention_hours: int | Literal["forever"] | None = None,
        max_cost_minor: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Preview:
        """What would become of `script`: errors, length, highest price. Nothing is made."""
        body = _request(
            script,
            title=title,
            output=output,
            captions=captions,
            seed=seed,
            retention_hours=retention_hours,
            max_cost_minor=max_cost_minor,
            metadata=metadata,
        )
        return self._call("POST", "/v1/synthesize?dry_run=true", Preview.from_json, body=body)

    def list_jobs(
        self,
        limit: int | None = None,
        cursor: str | None = None,
        status: JobStatus | None = None,
    ) -> Page[Job]:
        """One page of at most `limit` jobs; `cursor` is a page's `next_cursor`."""
        return self._page("/v1/jobs", Job.from_json, limit=limit, cursor=cursor, status=status)

    def iter_jobs(self, status: JobStatus | None = None) -> Iterator[Job]:
        """All jobs, or those with `status`, fetched page by page."""
        return _all_pages(lambda cursor: self.list_jobs(cursor=cursor, status=status))

    def get_job(self, job_id: str) -> Job:
        """The job as it is now, with links that live for another 15 minutes."""
        return self._call("GET", _path("jobs", job_id), Job.from_json)

    def wait_for_job(
        self,
        job_id: str,
        timeout_s: float = 3600.0,
        on_progress: Callable[[Job], None] | None = None,
        *,
        poll_s: float = 1.0,
    ) -> Job:
        """Wait until the job has succeeded. Raises JobFailed (canceled too) or WaitTimeout.

        `on_progress` gets the job each time the server is asked: every `poll_s` seconds at
        first, then less often.
        """

        def fetch() -> Job:
            job = self.get_job(job_id)
            if on_progress is not None:
                on_progress(job)
            return job

        job = _wait(job_id, fetch, lambda job: job.is_over, timeout_s, poll_s)
        if job.status != "succeeded":
            raise JobFailed(job)
        return job

    def cancel_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Stop the job; Conflict if it is over."""
        path = _path("jobs", job_id, "cancel")
        return self._post(path, Job.from_json, None, idempotency_key)

    def retry_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Start a failed or canceled job again; wait for the job returned."""
        path = _path("jobs", job_id, "retry")
        return self._post(path, Job.from_json, None, idempotency_key)

    def delete_job(self, job_id: str) -> None:
        """Delete the job with its audio and captions."""
        self._delete(_path("jobs", job_id))

    # Files of a job

    def download_audio(
        self,
        job: Job | str,
        path: AudioPath,
        on_progress: OnBytes | None = None,
    ) -> Path:
        """Download the finished audio to `path`; returns it as a Path.

        The bytes go to `PATH.part` first. After a cut, and when called again after a
        failure, the download goes on from there. `path` itself appears only once size and
        SHA-256 are right (else DownloadCorrupt). `on_progress(bytes_done, bytes_total)`.
        """
        target = Path(path)
        job_id = job.id if isinstance(job, Job) else job

        def fresh_link() -> AudioFile:
            current = self.get_job(job_id)
            if current.audio is None:
                raise _unavailable(current, "audio")
            return current.audio

        download(self._http, fresh_link, target, self._retry, on_progress or _ignore)
        return target

    def download_captions(
        self, job: Job | str, kind: CaptionKind, path: AudioPath, bom: bool = False
    ) -> Path:
        """Download the captions of one kind to `path`; returns it as a Path.

        `bom` puts a byte-order mark first, which some Windows players need to read SRT
        files as UTF-8; it is for `kind="srt"` alone.
        """
        if bom and kind != "srt":
            raise InvalidArgument("a byte-order mark is only for srt captions")
        current = self.get_job(job.id if isinstance(job, Job) else job)
        if kind not in current.captions:
            raise _unavailable(current, f"{kind} captions")
        url = httpx.URL(current.captions[kind])
        if bom:
            url = url.copy_add_param("bom", "1")
        # The request carries no key, and the files may lie in an object store.
        response = self._send(lambda: self._http.build_request("GET", url), follow_redirects=True)
        target = Path(path)
        part = target.with_name(target.name + ".part")
        part.write_bytes(response.content)
        part.replace(target)
        return target

    # Pronunciations

    def pronunciations(self) -> list[Pronunciation]:
        """The account's pronunciation dictionary, by language and then by what is written."""
        return self._call("GET", "/v1/pronunciations", _entries)

    def replace_pronunciations(
        self, entries: Iterable[Pronunciation | Mapping[str, Any]]
    ) -> list[Pronunciation]:
        """Make `entries` the whole dictionary; returns it. If one is refused, nothing changes."""
        body = {
            "entries": [
                entry.to_json() if isinstance(entry, Pronunciation) else dict(entry)
                for entry in entries
            ]
        }
        return self._call("PUT", "/v1/pronunciations", _entries, body=body)

    # API keys

    def create_key(
        self,
        label: str = "",
        *,
        scopes: Sequence[Scope] | None = None,
        mode: KeyMode = "live",
        expires_at: datetime | None = None,
        networks: Sequence[str] | None = None,
        require_signature: bool = False,
        idempotency_key: str | None = None,
    ) -> ApiKey:
        """Make a key; its `key` is shown this once. It can do no more than the key used here.

        `scopes` None is all that the key used here may do; `expires_at` needs a time zone;
        `networks`, such as `["203.0.113.0/24"]`, are the places it may be used from. A key
        that requires signatures comes with a `signing_secret`, for `Client(signing_secret=...)`.
        `key` is None if an earlier attempt made it and its answer was lost: revoke it then.
        """
        if expires_at is not None and expires_at.tzinfo is None:
            raise InvalidArgument("expires_at needs a time zone, such as datetime.timezone.utc")
        body = _given(
            label=label,
            mode=mode,
            scopes=None if scopes is None else list(scopes),
            expires_at=None if expires_at is None else expires_at.isoformat(),
            networks=None if networks is None else list(networks),
            require_signature=require_signature or None,
        )
        return self._post("/v1/keys", ApiKey.from_json, body, idempotency_key)

    def list_keys(self, limit: int | None = None, cursor: str | None = None) -> Page[ApiKey]:
        """One page of at most `limit` keys, dead ones too; `cursor` is a page's `next_cursor`."""
        return self._page("/v1/keys", ApiKey.from_json, limit=limit, cursor=cursor)

    def iter_keys(self) -> Iterator[ApiKey]:
        """All keys, fetched page by page."""
        return _all_pages(lambda cursor: self.list_keys(cursor=cursor))

    def get_key(self, key_id: str) -> ApiKey:
        return self._call("GET", _path("keys", key_id), ApiKey.from_json)

    def rotate_key(
        self, key_id: str, *, overlap_hours: int = 24, idempotency_key: str | None = None
    ) -> ApiKey:
        """Make a key like this one, which works on for `overlap_hours`; as with create_key."""
        path = _path("keys", key_id, "rotate")
        body = {"overlap_hours": overlap_hours}
        return self._post(path, ApiKey.from_json, body, idempotency_key)

    def revoke_key(self, key_id: str, *, idempotency_key: str | None = None) -> ApiKey:
        """End the key: the next request with it is refused."""
        path = _path("keys", key_id, "revoke")
        return self._post(path, ApiKey.from_json, None, idempotency_key)

    def create_webhook_endpoint(
        self,
        url: str,
        *,
        description: str = "",
        events: Sequence[Event] | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookEndpoint:
        """Have events told to `url`; None is all of them. The `secret` is shown this once.

        `secret` is None if an earlier attempt made it and its answer was lost: rotate it then.
        """
        body = _given(
            url=url, description=description, events=None if events is None else list(events)
        )
        path = "/v1/webhook-endpoints"
        return self._post(path, WebhookEndpoint.from_json, body, idempotency_key)

    def list_webhook_endpoints(
        self, limit: int | None = None, cursor: str | None = None
    ) -> Page[WebhookEndpoint]:
        path = "/v1/webhook-endpoints"
        return self._page(path, WebhookEndpoint.from_json, limit=limit, cursor=cursor)

    def iter_webhook_endpoints(self) -> Iterator[WebhookEndpoint]:
        return _all_pages(lambda cursor: self.list_webhook_endpoints(cursor=cursor))

    def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        path = _path("webhook-endpoints", endpoint_id)
        return self._call("GET", path, WebhookEndpoint.from_json)

    def update_webhook_endpoint(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        description: str | None = None,
        events: Sequence[Event] | None = None,
        enabled: bool | None = None,
    ) -> WebhookEndpoint:
        """Change what is not None; `enabled` switches the endpoint off and on."""
        changes = _given(
            url=url,
            description=description,
            events=None if events is None else list(events),
            enabled=enabled,
        )
        path = _path("webhook-endpoints", endpoint_id)
        return self._call("PATCH", path, WebhookEndpoint.from_json, body=changes)

    def rotate_webhook_secret(
        self, endpoint_id: str, *, idempotency_key: str | None = None
    ) -> WebhookEndpoint:
        """Make a new `secret`; for a day the old one signs beside it."""
        path = _path("webhook-endpoints", endpoint_id, "rotate")
        return self._post(path, WebhookEndpoint.from_json, None, idempotency_key)

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Forget the endpoint and all that was delivered to it."""
        self._delete(_path("webhook-endpoints", endpoint_id))

    def list_webhook_deliveries(
        self, endpoint_id: str, limit: int | None = None, cursor: str | None = None
    ) -> Page[WebhookDelivery]:
        path = _path("webhook-endpoints", endpoint_id, "deliveries")
        return self._page(path, WebhookDelivery.from_json, limit=limit, cursor=cursor)

    def iter_webhook_deliveries(self, endpoint_id: str) -> Iterator[WebhookDelivery]:
        """What was sent to an endpoint in the last 30 days, newest first."""
        return _all_pages(lambda cursor: self.list_webhook_deliveries(endpoint_id, cursor=cursor))

    def replay_webhook_delivery(
        self, delivery_id: str, *, idempotency_key: str | None = None
    ) -> WebhookDelivery:
        """Send the message again, under the same id."""
        path = _path("webhook-deliveries", delivery_id, "replay")
        return self._post(path, WebhookDelivery.from_json, None, idempotency_key)

    # Requests

    # The account

    def list_members(self, limit: int | None = None, cursor: str | None = None) -> Page[Member]:
        return self._page("/v1/members", Member.from_json, limit=limit, cursor=cursor)

    def iter_members(self) -> Iterator[Member]:
        """All people of the account, fetched page by page."""
        return _all_pages(lambda cursor: self.list_members(cursor=cursor))

    def change_member(self, member_id: str, role: Role) -> Member:
        """Give a member another role; nobody gives more than they hold themselves."""
        path = _path("members", member_id)
        return self._call("PATCH", path, Member.from_json, body={"role": role})

    def remove_member(self, member_id: str) -> None:
        """End a membership; from their next request on the person sees nothing."""
        self._delete(_path("members", member_id))

    def invite(self, email: str, role: Role, *, idempotency_key: str | None = None) -> Invitation:
        """Ask a person to join, by a mail whose link works for a week."""
        body = {"email": email, "role": role}
        return self._post("/v1/invitations", Invitation.from_json, body, idempotency_key)

    def list_invitations(
        self, limit: int | None = None, cursor: str | None = None
    ) -> Page[Invitation]:
        """One page of the invitations that nobody has accepted yet."""
        return self._page("/v1/invitations", Invitation.from_json, limit=limit, cursor=cursor)

    def iter_invitations(self) -> Iterator[Invitation]:
        return _all_pages(lambda cursor: self.list_invitations(cursor=cursor))

    def withdraw_invitation(self, invitation_id: str) -> None:
        """End an invitation: its link opens nothing any more."""
        self._delete(_path("invitations", invitation_id))

    def list_audit_events(
        self, limit: int | None = None, cursor: str | None = None, *, action: str | None = None
    ) -> Page[AuditEvent]:
        """One page of who did what, newest first; `action` such as `key.created` is one kind."""
        return self._page(
            "/v1/audit-events", AuditEvent.from_json, limit=limit, cursor=cursor, action=action
        )

    def iter_audit_events(self, *, action: str | None = None) -> Iterator[AuditEvent]:
        return _all_pages(lambda cursor: self.list_audit_events(cursor=cursor, action=action))

    # Usage and billing

    def usage(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        granularity: Granularity = "day",
        group_by: Sequence[UsageGroup] = (),
    ) -> Usage:
        """What was used in [start, end), up to now; not given: the running month."""
        return self._call(
            "GET",
            "/v1/usage",
            Usage.from_json,
            params=_given(
                start=start and start.isoformat(),
                end=end and end.isoformat(),
                granularity=granularity,
                group_by=",".join(group_by) or None,
            ),
        )

    def usage_report(self, month: str) -> MonthReport:
        """A month such as `2026-11`, in the account's billing zone."""
        return self._call("GET", _path("usage/reports", month), MonthReport.from_json)

    def download_usage_report(
        self, month: str, kind: Literal["csv", "pdf"], path: AudioPath
    ) -> Path:
        """Write a month's report to `path`; returns it as a Path."""
        return self._fetch(_path("usage/reports", month, kind), path)

    def list_invoices(
        self,
        limit: int | None = None,
        cursor: str | None = None,
        *,
        status: InvoiceStatus | None = None,
    ) -> Page[Invoice]:
        return self._page(
            "/v1/invoices", Invoice.from_json, limit=limit, cursor=cursor, status=status
        )

    def iter_invoices(self, *, status: InvoiceStatus | None = None) -> Iterator[Invoice]:
        """All invoices, newest first, fetched page by page."""
        return _all_pages(lambda cursor: self.list_invoices(cursor=cursor, status=status))

    def get_invoice(self, invoice_id: str) -> Invoice:
        return self._call("GET", _path("invoices", invoice_id), Invoice.from_json)

    def download_invoice(
        self, invoice_id: str, path: AudioPath, kind: Literal["pdf", "events"] = "pdf"
    ) -> Path:
        """Write an invoice's PDF, or the usage that it bills as CSV, to `path`."""
        return self._fetch(_path("invoices", invoice_id, kind), path)

    def billing(self) -> Billing:
        """Who pays, how much at most, and how much it is so far this month."""
        return self._call("GET", "/v1/billing", Billing.from_json)

    def update_billing(self, **changes: Any) -> Billing:
        """Change fields of `PATCH /v1/billing`, such as `cap_minor=50_000` (None: no end)."""
        return self._call("PATCH", "/v1/billing", Billing.from_json, body=changes)

    def card_page(self, return_url: str) -> str:
        """A page of Stripe's on which a person gives a card; it leads back to `return_url`."""
        return self._stripe_page("card", return_url)

    def billing_portal(self, return_url: str) -> str:
        """A page of Stripe's on which a person changes the card."""
        return self._stripe_page("portal", return_url)

    def _stripe_page(self, name: str, return_url: str) -> str:
        body = {"return_url": return_url}
        return self._call("POST", f"/v1/billing/{name}", lambda data: str(data["url"]), body=body)

    def _fetch(self, path: str, target: AudioPath) -> Path:
        headers = {"Authorization": self._authorization}
        response = self._send(
            lambda: self._http.build_request("GET", self.base_url + path, headers=headers)
        )
        Path(target).write_bytes(response.content)
        return Path(target)

    def create_export(self, *, idempotency_key: str | None = None) -> Export:
        """Have everything of the account's put into one archive; Conflict if one is being made."""
        return self._post("/v1/exports", Export.from_json, None, idempotency_key)

    def list_exports(self, limit: int | None = None, cursor: str | None = None) -> Page[Export]:
        return self._page("/v1/exports", Export.from_json, limit=limit, cursor=cursor)

    def get_export(self, export_id: str) -> Export:
        """The export as it is now, with a link that lives for another 15 minutes."""
        return self._call("GET", _path("exports", export_id), Export.from_json)

    def wait_for_export(
        self,
        export_id: str,
        timeout_s: float = 3600.0,
        on_progress: Callable[[Export], None] | None = None,
        *,
        poll_s: float = 1.0,
    ) -> Export:
        """Wait until the archive is made. Raises FileUnavailable if it failed, or WaitTimeout."""

        def fetch() -> Export:
            row = self.get_export(export_id)
            if on_progress is not None:
                on_progress(row)
            return row

        row = _wait(export_id, fetch, lambda row: row.status != "processing", timeout_s, poll_s)
        if row.status == "failed":
            raise FileUnavailable(f"export {row.id} failed: {row.error}")
        return row

    def download_export(
        self, export: Export | str, path: AudioPath, on_progress: OnBytes | None = None
    ) -> Path:
        """Download an export's archive to `path`; returns it as a Path. As download_audio."""
        target = Path(path)
        export_id = export.id if isinstance(export, Export) else export

        def fresh_link() -> ArchiveFile:
            current = self.get_export(export_id)
            if current.archive is None:
                raise FileUnavailable(f"export {export_id} has no archive: it is {current.status}")
            return current.archive

        download(self._http, fresh_link, target, self._retry, on_progress or _ignore)
        return target

    def erase_speaker(
        self, speaker_id: str, *, confirm: str, idempotency_key: str | None = None
    ) -> Erasure:
        """Erase a speaker for good, with every job that has its voice; `confirm` is its name."""
        path = _path("speakers", speaker_id, "erase")
        return self._post(path, Erasure.from_json, {"confirm": confirm}, idempotency_key)

    def erase_account(self, *, confirm: str, idempotency_key: str | None = None) -> Erasure:
        """Erase the whole account for good; `confirm` is its id. This key works no more then."""
        body = {"confirm": confirm}
        return self._post("/v1/erasures", Erasure.from_json, body, idempotency_key)

    def list_erasures(self, limit: int | None = None, cursor: str | None = None) -> Page[Erasure]:
        return self._page("/v1/erasures", Erasure.from_json, limit=limit, cursor=cursor)

    def get_erasure(self, erasure_id: str) -> Erasure:
        return self._call("GET", _path("erasures", erasure_id), Erasure.from_json)

    def _call(
        self,
        method: Literal["GET", "PATCH", "POST", "PUT"],
        path: str,
        parse: Callable[[Mapping[str, Any]], T],
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        headers = {"Authorization": self._authorization}
        return _parsed(
            parse,
            self._send(
                lambda: self._http.build_request(
                    method, self.base_url + path, headers=headers, params=params, json=body
                )
            ),
        )

    def _page(
        self, path: str, parse: Callable[[Mapping[str, Any]], T], **params: str | int | None
    ) -> Page[T]:
        def parse_page(data: Mapping[str, Any]) -> Page[T]:
            return Page(tuple(parse(item) for item in data["data"]), data["next_cursor"])

        return self._call("GET", path, parse_page, params=_given(**params))

    def _post(
        self,
        path: str,
        parse: Callable[[Mapping[str, Any]], T],
        body: Mapping[str, Any] | None,
        idempotency_key: str | None,
    ) -> T:
        headers = self._post_headers(idempotency_key)
        return _parsed(
            parse,
            self._send(
                lambda: self._http.build_request(
                    "POST", self.base_url + path, headers=headers, json=body
                )
            ),
        )

    def _post_headers(self, idempotency_key: str | None) -> dict[str, str]:
        return {
            "Authorization": self._authorization,
            "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
        }

    def _delete(self, path: str) -> None:
        headers = {"Authorization": self._authorization}
        self._send(
            lambda: self._http.build_request("DELETE", self.base_url + path, headers=headers)
        )

    def _send(
        self, build: Callable[[], httpx.Request], follow_redirects: bool = False
    ) -> httpx.Response:
        """Send what `build` makes anew for each attempt, until a 2xx answer or the limit."""
        failures = 0
        may_be_done = False
        while True:
            failure: VoiceReelError
            server_asks_s = None
            request = build()
            # Links need no key.
            if self._signer is not None and "Authorization" in request.headers:
                self._signer.sign(request)
            try:
                response = self._http.send(request, follow_redirects=follow_redirects)
            except httpx.RequestError as exc:
                reason = str(exc) or type(exc).__name__
                failure = ConnectionFailed(f"no answer from {self.base_url}: {reason}")
                if isinstance(exc, _NEVER_RETRIED):
                    raise failure from exc
                if not isinstance(exc, _NEVER_ARRIVED):
                    may_be_done = True
            else:
                if response.is_success:
                    return response
                # An earlier attempt deleted it, and its answer was lost.
                if request.method == "DELETE" and response.status_code == 404 and may_be_done:
                    return response
                if response.has_redirect_location:
                    raise BadResponse(
                        f"{self.base_url} redirects to {response.headers['Location']}: "
                        "use the address it redirects to"
                    )
                failure = error_from_response(response)
                if not _is_passing(failure):
                    raise failure
                server_asks_s = failure.retry_after_s
                may_be_done = may_be_done or failure.status in (502, 504)
            failures += 1
            if failures > self._retry.max_retries:
                raise failure
            self._retry.pause(failures, server_asks_s)


def _is_passing(error: ApiError) -> bool:
    """Whether trying again can help.

    A 409 with Retry-After says that an earlier attempt with the same key is still at work.
    """
    if error.status == 409:
        return error.retry_after_s is not None
    return error.status in RETRIED_STATUSES


def _wait(
    resource_id: str,
    fetch: Callable[[], T],
    is_done: Callable[[T], bool],
    timeout_s: float,
    poll_s: float,
) -> T:
    deadline = time.monotonic() + timeout_s
    while True:
        resource = fetch()
        if is_done(resource):
            return resource
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise WaitTimeout(resource_id, timeout_s)
        time.sleep(min(poll_s, remaining_s))
        poll_s = min(poll_s * 1.2, max(poll_s, _SLOWEST_POLL_S))


def _all_pages(fetch: Callable[[str | None], Page[T]]) -> Iterator[T]:
    seen: set[str | None] = {None}
    page = fetch(None)
    yield from page.data
    while page.next_cursor not in seen:
        seen.add(page.next_cursor)
        page = fetch(page.next_cursor)
        yield from page.data


def _entries(data: Mapping[str, Any]) -> list[Pronunciation]:
    return [Pronunciation.from_json(item) for item in data["entries"]]


def _parsed(parse: Callable[[Mapping[str, Any]], T], response: httpx.Response) -> T:
    try:
        return parse(response.json())
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BadResponse(
            f"{response.request.url} does not answer like a VoiceReel server: is the address right?"
        ) from exc


def _unavailable(job: Job, what: str) -> FileUnavailable:
    if not job.is_over:
        return FileUnavailable(f"job {job.id} has no {what} yet: it is {job.status}")
    if job.status != "succeeded":
        return FileUnavailable(f"job {job.id} has no {what}: it {_ENDED_AS[job.status]}")
    reason = "none were asked for" if job.audio else "its files are no longer kept"
    return FileUnavailable(f"job {job.id} has no {what}: {reason}")


_ENDED_AS = {"failed": "failed", "canceled": "was canceled"}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _request(
    script: Sequence[Line | Mapping[str, Any]],
    *,
    output: Output | Mapping[str, Any] | None,
    captions: Sequence[CaptionKind] | None,
    retention_hours: int | Literal["forever"] | None,
    **others: Any,
) -> dict[str, Any]:
    """The body of a synthesis."""
    body = _given(
        script=[line.to_json() if isinstance(line, Line) else dict(line) for line in script],
        output=output.to_json() if isinstance(output, Output) else output,
        captions=None if captions is None else list(captions),
        **others,
    )
    if retention_hours is not None:
        body["retention_hours"] = None if retention_hours == "forever" else retention_hours
    return body


def _path(collection: str, resource_id: str, action: str | None = None) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", resource_id):
        raise InvalidArgument(f"{resource_id!r} is not the id of one of the {collection}")
    path = f"/v1/{collection}/{resource_id}"
    return path if action is None else f"{path}/{action}"


def _valid_key(api_key: str | None) -> str:
    key = (api_key or "").strip()
    if not key:
        raise ApiKeyError("no API key: set VOICEREEL_API_KEY")
    if not re.fullmatch(r"[!-~]+", key):
        raise ApiKeyError("the API key has characters in it that no API key has")
    return key


def _valid_url(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"the server's address {base_url!r} is malformed: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            f"the server's address {base_url!r} must start with http:// or https://"
        )
    if url.userinfo:
        raise ConfigurationError("the server's address must not have a user or password in it")
    return base_url.rstrip("/")


def _ignore(bytes_done: int, bytes_total: int) -> None:
    pass
