"""Every error the client raises; all derive from `VoiceReelError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from .retry import retry_after_s

if TYPE_CHECKING:
    from .models import Job, Speaker


class VoiceReelError(Exception):
    """Base of all errors of this package; `code` is stable and meant for programs."""

    code = "error"


class InvalidArgument(VoiceReelError, ValueError):
    """A call that cannot be right, refused before anything is sent."""

    code = "invalid_argument"


class ScriptError(InvalidArgument):
    """A script that cannot be read, or names a speaker that cannot be resolved."""

    code = "invalid_script"


class ConfigurationError(VoiceReelError):
    """The server's address is missing or malformed."""

    code = "invalid_configuration"


class ApiKeyError(ConfigurationError):
    """The API key is missing or malformed; the message never contains the key."""

    code = "invalid_api_key"


class ConnectionFailed(VoiceReelError):
    """The server could not be reached, or the connection was cut, on every attempt."""

    code = "connection_failed"


class BadResponse(VoiceReelError):
    """The answer is not one that a VoiceReel server gives."""

    code = "bad_response"


class JobFailed(VoiceReelError):
    """The job ended as failed or canceled; `job` says why."""

    code = "job_failed"

    def __init__(self, job: Job) -> None:
        if job.error is None:
            message = f"job {job.id} ended as {job.status}"
        else:
            line = f" (line {job.error.line_id})" if job.error.line_id else ""
            message = f"job {job.id} {job.status}{line}: {job.error.detail}"
        super().__init__(message)
        self.job = job


class SpeakerFailed(VoiceReelError):
    """The recordings did not make a usable voice; `speaker.failure_reasons` says why."""

    code = "speaker_failed"

    def __init__(self, speaker: Speaker) -> None:
        super().__init__(f"speaker {speaker.id} ({speaker.name}) could not be made")
        self.speaker = speaker


class FileUnavailable(VoiceReelError):
    """The job has no such file: not finished, never asked for, or no longer kept."""

    code = "file_unavailable"


class WaitTimeout(VoiceReelError):
    """The job or speaker was still being processed when the waiting time was over."""

    code = "wait_timeout"

    def __init__(self, resource_id: str, timeout_s: float) -> None:
        super().__init__(f"{resource_id} was not done after {timeout_s:g} s; it goes on processing")
        self.resource_id = resource_id
        self.timeout_s = timeout_s


class DownloadCorrupt(VoiceReelError):
    """The bytes received differ from the size or SHA-256 that the job states."""

    code = "download_corrupt"


@dataclass(frozen=True)
class FieldError:
    """One faulty place of a request: a JSON pointer, the script line's id, what to do."""

    pointer: str | None
    line_id: str | None
    detail: str


class ApiError(VoiceReelError):
    """The server refused the request; fields are those of its problem+json answer."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        request_id: str | None = None,
        errors: tuple[FieldError, ...] = (),
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.errors = errors
        self.retry_after_s = retry_after_s


class AuthenticationError(ApiError):
    """401: no key, or a key the server does not know."""


class InvalidApiKey(AuthenticationError):
    """The key is unknown, mistyped, expired or revoked."""


class InvalidSignature(AuthenticationError):
    """The request's signature is missing, does not match, or is too old: check secret and clock."""


class WrongRegion(AuthenticationError):
    """421: the key is of another region; the message names the address to use as ``base_url``."""


class PermissionDenied(ApiError):
    """403: the key may not do this."""


class InsufficientScope(PermissionDenied):
    """The key lacks a scope; the message names it."""


class AccountSuspended(PermissionDenied):
    """Your account is suspended; the message says why."""


class LinkExpired(PermissionDenied):
    """A link to a file lives 15 minutes: get the job again."""


class NotFound(ApiError):
    """404 or 410: no such thing, or no longer kept."""


class Conflict(ApiError):
    """409: the thing's present state does not allow this."""


class InvalidRequest(ApiError):
    """400, 413, 415 or 422: the request must be changed; see `errors`."""


class MethodNotAllowed(ApiError):
    """405: the server is older or newer than this client."""


class PayloadTooLarge(InvalidRequest):
    """The request has too many bytes or parts."""


class IdempotencyKeyReused(InvalidRequest):
    """The idempotency key was used for another request."""


class AudioUnreadable(InvalidRequest):
    """A recording could not be decoded."""


class AudioFormatNotSupported(InvalidRequest):
    """A recording is neither WAV, FLAC, MP3, OGG nor M4A."""


class AudioTooLong(InvalidRequest):
    """The recordings are longer than ten minutes in all."""


class ReferenceTooShort(InvalidRequest):
    """The recordings are shorter than 30 s in all."""


class ConsentRequired(InvalidRequest):
    """Registering a voice needs the word that it may be used: consent=True."""


class SpeakerNotFound(InvalidRequest):
    """The script names a speaker that does not exist; `errors` says in which lines."""


class SpeakerNotReady(InvalidRequest):
    """The script names a speaker that is being analysed, or whose analysis failed."""


class LanguageNotSupported(InvalidRequest):
    """The engine cannot speak some lines; `errors` says which."""


class PaymentRequired(ApiError):
    """402: what may be spent or used is spent, or would be; nothing was spoken."""


class QuotaExceeded(PaymentRequired):
    """The month's limit, or the trial's minutes; or an invoice is overdue."""


class CostLimitExceeded(PaymentRequired):
    """The script may cost more than its own `max_cost_minor`."""


class RateLimited(ApiError):
    """429, still after all retries: your plan's requests, or unfinished jobs, are used up."""


class TooManyConcurrentJobs(RateLimited):
    """As many jobs are unfinished as your plan allows."""


class ServerError(ApiError):
    """5xx: the server failed."""


class InternalError(ServerError):
    """500: a mistake of the server's; tell its operator the `request_id`."""


class ServiceUnavailable(ServerError):
    """503, still after all retries."""


class SystemBusy(ServiceUnavailable):
    """More is waiting to be spoken, of all customers', than can be done in good time."""


_CLASS_OF_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    503: ServiceUnavailable,
}


# What a code says beyond its status.
_CLASS_OF_CODE: Mapping[str, type[ApiError]] = {
    "invalid_api_key": InvalidApiKey,
    "invalid_signature": InvalidSignature,
    "wrong_region": WrongRegion,
    "insufficient_scope": InsufficientScope,
    "account_suspended": AccountSuspended,
    "quota_exceeded": QuotaExceeded,
    "cost_limit_exceeded": CostLimitExceeded,
    "method_not_allowed": MethodNotAllowed,
    "payload_too_large": PayloadTooLarge,
    "idempotency_key_reuse": IdempotencyKeyReused,
    "audio_unreadable": AudioUnreadable,
    "audio_format_not_supported": AudioFormatNotSupported,
    "audio_too_long": AudioTooLong,
    "reference_too_short": ReferenceTooShort,
    "consent_required": ConsentRequired,
    "speaker_not_found": SpeakerNotFound,
    "speaker_not_ready": SpeakerNotReady,
    "language_not_supported": LanguageNotSupported,
    "too_many_concurrent_jobs": TooManyConcurrentJobs,
    "internal_error": InternalError,
    "system_busy": SystemBusy,
}


def _class_of(status: int, code: str) -> type[ApiError]:
    of_status = _CLASS_OF_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if (status, code) == (403, "invalid_signature"):
        return LinkExpired
    of_code = _CLASS_OF_CODE.get(code, of_status)
    # A code of a newer server's, with another status than we know: the status is what holds.
    return of_code if issubclass(of_code, of_status) else of_status


def error_from_response(response: httpx.Response) -> ApiError:
    """The typed error for a non-2xx `response`, whose body must have been read."""
    status = response.status_code
    retry_after = retry_after_s(response.headers.get("Retry-After"))
    problem = _problem(response)
    if problem is None:
        where = f"{response.url.scheme}://{response.url.netloc.decode('ascii')}"
        detail = f"HTTP {status} {response.reason_phrase} from {where}, not in VoiceReel's form"
        code = f"http_{status}"
        return _class_of(status, code)(status, code, detail, retry_after_s=retry_after)
    code = str(problem.get("code") or f"http_{status}")
    return _class_of(status, code)(
        status,
        code,
        str(problem.get("detail") or problem.get("title") or f"HTTP {status}"),
        _optional_text(problem.get("request_id")),
        _field_errors(problem.get("errors")),
        retry_after_s=retry_after,
    )


def _problem(response: httpx.Response) -> Mapping[str, Any] | None:
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in ("application/problem+json", "application/json"):
        return None
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _field_errors(entries: object) -> tuple[FieldError, ...]:
    if not isinstance(entries, list):
        return ()
    return tuple(
        FieldError(
            pointer=_optional_text(entry.get("pointer")),
            line_id=_optional_text(entry.get("line_id")),
            detail=str(entry.get("detail", "")),
        )
        for entry in entries
        if isinstance(entry, dict)
    )


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)
