"""The command line's exit codes, and its errors as text and as JSON."""

from __future__ import annotations

from typing import Any

import click

from .errors import (
    ApiError,
    ApiKeyError,
    AuthenticationError,
    ConfigurationError,
    Conflict,
    ConnectionFailed,
    FileUnavailable,
    InvalidArgument,
    InvalidRequest,
    NotFound,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    ServerError,
    SpeakerFailed,
    VoiceReelError,
    WaitTimeout,
)
from .terminal import one_line

FAILURE = 1
UNAVAILABLE = 6
INTERRUPT = 130

HELP = """\b
Exit codes:
  0    done
  1    the job or speaker failed, or a file could not be written
  2    wrong usage, or a request that must be changed
  3    the API key is missing, wrong, or may not do this
  4    not found, or no longer kept
  5    not possible in the present state (conflict, or a limit of money)
  6    no connection, rate limit, server unavailable, or waited too long
  130  interrupted
"""

# The first match counts, so a subclass stands before its base.
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ApiKeyError, 3),
    (AuthenticationError, 3),
    (PermissionDenied, 3),
    (click.UsageError, 2),
    (InvalidArgument, 2),
    (InvalidRequest, 2),
    (ConfigurationError, 2),
    (NotFound, 4),
    (FileUnavailable, 4),
    (Conflict, 5),
    (PaymentRequired, 5),
    (RateLimited, UNAVAILABLE),
    (ServerError, UNAVAILABLE),
    (ConnectionFailed, UNAVAILABLE),
    (WaitTimeout, UNAVAILABLE),
)


class Stopped(Exception):
    """An error, or an interrupt (`cause` None), with the commands that help from here."""

    def __init__(
        self, cause: Exception | None, resource_id: str | None, hints: tuple[str, ...]
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.resource_id = resource_id
        self.hints = hints


def exit_code(error: Exception) -> int:
    if isinstance(error, Stopped):
        return INTERRUPT if error.cause is None else exit_code(error.cause)
    if isinstance(error, click.Abort):
        return INTERRUPT
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILURE)


def error_text(error: Exception) -> str:
    """`error: ...` in one line, then an indented line for each detail."""
    lines = [f"error: {_message(error)}"]
    cause = error.cause if isinstance(error, Stopped) else error
    if isinstance(cause, ApiError):
        for entry in cause.errors:
            place = f"line {entry.line_id}" if entry.line_id else entry.pointer
            lines.append(f"  {place}: {entry.detail}" if place else f"  {entry.detail}")
    if isinstance(cause, SpeakerFailed):
        lines += (f"  {reason.detail}" for reason in cause.speaker.failure_reasons)
    if isinstance(error, Stopped):
        lines += (f"  {hint}" for hint in error.hints)
    return "\n".join(("  " if line.startswith("  ") else "") + one_line(line) for line in lines)


def error_json(error: Exception) -> dict[str, Any]:
    """The `{"error": ...}` document for programs."""
    cause = error.cause if isinstance(error, Stopped) else error
    body: dict[str, Any] = {"code": _code(cause), "detail": one_line(_message(error))}
    if isinstance(cause, ApiError):
        body["status"] = cause.status
        body["request_id"] = cause.request_id
        body["errors"] = [vars(entry) for entry in cause.errors]
    if isinstance(cause, SpeakerFailed):
        body["failure_reasons"] = [vars(reason) for reason in cause.speaker.failure_reasons]
    if isinstance(error, Stopped):
        body["id"] = error.resource_id
        body["hints"] = list(error.hints)
    return {"error": body}


def _code(cause: Exception | None) -> str:
    if isinstance(cause, VoiceReelError):
        return cause.code
    if isinstance(cause, click.UsageError):
        return "usage"
    if isinstance(cause, OSError):
        return "file_error"
    return "interrupted"


def _message(error: Exception | None) -> str:
    if isinstance(error, Stopped):
        if error.cause is not None:
            return _message(error.cause)
        return "interrupted" + (
            f"; {error.resource_id} stays on the server" if error.resource_id else ""
        )
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "voicereel"
        return f"{error.format_message().rstrip('.')} (see {command} --help)"
    if isinstance(error, ApiError):
        return error.detail + (f" (request {error.request_id})" if error.request_id else "")
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}"
    if isinstance(error, click.Abort):
        return "interrupted"
    return str(error)
