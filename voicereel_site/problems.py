"""Every code that an answer, a job or a speaker may carry: what it says, and with which status.

The OpenAPI document and its table of errors are made of this, and the client package has a class for
each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext_noop as _


@dataclass(frozen=True)
class ProblemKind:
    """statuses: HTTP's, of answers with this code; none: only jobs, speakers or ``errors`` have it.
    Where there is no example the meaning will do.
    """

    statuses: tuple[int, ...]
    meaning: str
    examples: Mapping[int, str] = field(default_factory=dict)  # a detail, by status


PROBLEMS = {
    "validation_error": ProblemKind(
        (400, 409, 415, 422),
        _(
            "The request is not as it should be: 400 it cannot be read, 415 its content type is another, "
            "422 `errors` names each place, 409 what it asks for is too late, such as canceling a "
            "finished job."
        ),
        {
            400: "The body could not be parsed: JSON parse error - Expecting value: line 1 column 1.",
            409: "The job has succeeded and cannot be canceled any more.",
            415: 'Unsupported media type "text/plain" in request. Send the content type that the API '
            "reference names.",
            422: "This field is required (/script).",
        },
    ),
    "invalid_api_key": ProblemKind(
        (401,),
        _("There is no key, or it is mistyped, expired or revoked."),
        {
            401: "This API key is unknown, mistyped, expired or revoked. Check that it was copied whole."
        },
    ),
    "invalid_signature": ProblemKind(
        (401, 403),
        _(
            "401: the request's signature is missing, does not match, is over five minutes old or was "
            "used before. 403: a link to a file is not whole or has expired; GET the job again."
        ),
        {
            401: "The signature does not match the request. Sign it as it is sent, with this key's "
            "secret."
        },
    ),
    "wrong_region": ProblemKind(
        (421,),
        _("The key is of another region, whose address the detail names; nothing was done here."),
        {
            421: "This key is one of the region kr. Send the request to https://kr.voicereel.example.com, where "
            "the account's data is."
        },
    ),
    "insufficient_scope": ProblemKind(
        (403,),
        _("The key, or your role, may not do this; the detail names the scope that it lacks."),
        {403: "This key lacks the scope jobs:write. It holds: jobs:read. Use a key that has it."},
    ),
    "account_suspended": ProblemKind(
        (403,),
        _("We have suspended your account; the detail says why. Write to us."),
        {
            403: "Your account is suspended: its bank transfer was called back. Write to us to have it opened "
            "again."
        },
    ),
    "not_found": ProblemKind(
        (404,), _("There is no such thing, or it is not yours."), {404: "There is no such job."}
    ),
    "quota_exceeded": ProblemKind(
        (402,),
        _(
            "What you may spend or use this month is spent, with what is under way, or an invoice is overdue. "
            "Nothing was spoken."
        ),
        {
            402: "Your limit for a month is $50.00; $49.20 are spent, and with what is under way this "
            "script may pass it. Raise cap_minor (PATCH /v1/billing), or wait for the next month."
        },
    ),
    "cost_limit_exceeded": ProblemKind(
        (402,),
        _("The script may cost more than its own `max_cost_minor`. Nothing was spoken."),
        {
            402: "This script may cost up to $2.10, more than its max_cost_minor, $2.00. Shorten it, or "
            "raise the limit."
        },
    ),
    "method_not_allowed": ProblemKind(
        (405,), _("`Allow` names the methods of this address."), {405: 'Method "PUT" not allowed.'}
    ),
    "idempotency_key_reuse": ProblemKind(
        (422,), _("This Idempotency-Key was used for another request. Use a new one for new work.")
    ),
    "payload_too_large": ProblemKind(
        (413,),
        _("The body has too many bytes or parts."),
        {413: "The request is larger, or has more parts, than this route takes."},
    ),
    "audio_unreadable": ProblemKind((422,), _("A recording could not be decoded.")),
    "audio_format_not_supported": ProblemKind(
        (422,), _("A recording is neither WAV, FLAC, MP3, OGG nor M4A.")
    ),
    "audio_too_long": ProblemKind((422,), _("The recordings are longer than ten minutes in all.")),
    "reference_too_short": ProblemKind(
        (422,), _("The recordings are shorter than 30 s in all; the detail says how long they are.")
    ),
    "consent_required": ProblemKind(
        (422,), _("`consent` must be true: the voice is yours, or its owner agreed.")
    ),
    "speaker_not_found": ProblemKind(
        (422,),
        _("The script names a speaker that does not exist; in a job: that was deleted since."),
        {
            422: "The script names speakers that do not exist. There is no speaker spk_0. GET /v1/speakers "
            "lists yours."
        },
    ),
    "speaker_not_ready": ProblemKind(
        (422,), _("The script names a speaker that is being analysed, or whose analysis failed.")
    ),
    "language_not_supported": ProblemKind(
        (422,), _("A line is in a language, or has characters, that the engine cannot speak.")
    ),
    "rate_limited": ProblemKind(
        (429,),
        _("Too many requests for your plan; `Retry-After` says when the next is allowed."),
        {
            429: "Your plan allows 600 requests in 60 s. Try again in 1 s; RateLimit in each answer says "
            "how many are left."
        },
    ),
    "too_many_concurrent_jobs": ProblemKind(
        (429,),
        _("As many of your jobs are unfinished, or of their lines, as your plan allows at a time."),
    ),
    "system_busy": ProblemKind(
        (503,), _("More is waiting to be spoken, of everybody's, than can be done in good time.")
    ),
    "service_unavailable": ProblemKind(
        (503,),
        _("A part of the service does not answer at the moment."),
        {
            503: "A part of the service (database) does not answer at the moment. Try again in 10 s; "
            "with an Idempotency-Key nothing is done twice."
        },
    ),
    "internal_error": ProblemKind((500,), _("A mistake of ours. Tell us the `request_id`.")),
    "line_failed": ProblemKind((), _("A line could not be spoken; `line_id` names it.")),
    "worker_lost": ProblemKind(
        (), _("Attempts in a row ended without anything new. We have been told; retry it later.")
    ),
    "too_little_speech": ProblemKind((), _("The recordings hold less than 20 s of speech.")),
    "voice_not_made": ProblemKind((), _("No voice could be made of the recordings.")),
}
