"""The hot routes on FastAPI, asyncpg and redis.asyncio, written with speed alone in mind.

No ORM and nothing of Django: fixed SQL in as few round trips as the work allows, a key remembered for
30 s, JSON of the database passed on as it is.

    uvicorn benchmarks.peers.bare_fastapi:app --workers 2 --loop uvloop --http httptools --no-access-log
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import asyncpg
import orjson
import redis.asyncio as redis
from fastapi import FastAPI, HTTPException, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accounts import identifiers
from synthesis.words import language_of

PEPPER = os.environ["VOICEREEL_API_KEY_PEPPER"].encode()
LINK_SECRET = os.environ["VOICEREEL_SECRET_KEY"].encode()
LINK_TTL_S = 15 * 60
KEY_REMEMBERED_S = 30.0
INTERACTIVE_CHARACTERS = 1_000  # as synthesis.submission has it
INTERACTIVE, BULK = 0, 1
KINDS = ("json", "vtt", "srt")
KEY_PATTERN = re.compile(r"vr_(?:live|test)_([0-9A-Za-z]{8})_[0-9A-Za-z]{49}")


@dataclass(frozen=True)
class Allowance:
    requests: int
    window_s: int
    jobs: int
    lines: int


# As accounts.plans has them.
ALLOWANCES = {
    "standard": Allowance(600, 60, jobs=100, lines=4_000),
    "business": Allowance(6_000, 60, jobs=1_000, lines=20_000),
    "enterprise": Allowance(60_000, 60, jobs=10_000, lines=50_000),
}

# As accounts.limits has it.
TAKE = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local quota, window_s = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or quota, tonumber(bucket[2]) or now
tokens = math.min(quota, tokens + math.max(0, now - at) * quota / window_s)
local taken = 0
if tokens >= 1 then
    taken, tokens = 1, tokens - 1
end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(window_s))
return {taken, tostring(tokens)}
"""

SELECT_KEY = """
SELECT k.id, k.digest, k.live, k.expires_at, k.tenant_id, t.plan, t.retention_hours
FROM accounts_apikey k JOIN accounts_tenant t ON t.id = k.tenant_id
WHERE k.public_id = $1 AND k.revoked_at IS NULL
"""
SELECT_JOB = """
SELECT id, live, title, status, lines_done, lines_total, created_at, started_at, finished_at,
       retention_hours, expires_at, error_code, error_detail, error_line_id, output, captions,
       audio_ms, audio_bytes, audio_sha256, notices, seed, metadata
FROM synthesis_job WHERE id = $1 AND tenant_id = $2
"""
SELECT_SPEAKERS = """
SELECT id, name, language, status, voice_mode, voice_similarity, quality, failure_reasons,
       reference_ms, metadata, consent_at, consent_version, created_at,
       (SELECT transcript FROM speakers_referenceclip
        WHERE speaker_id = speakers_speaker.id ORDER BY position LIMIT 1) AS transcript
FROM speakers_speaker
WHERE tenant_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""
SELECT_LANGUAGES = """
SELECT id, language FROM speakers_speaker
WHERE id = ANY($1::text[]) AND tenant_id = $2 AND deleted_at IS NULL AND status = 'ready'
"""
# So that simultaneous requests are counted one by one.
LOCK_TENANT = "SELECT FROM accounts_tenant WHERE id = $1 FOR NO KEY UPDATE"
# Inserts nothing where the tenant has too much in hand.
INSERT_JOB = """
WITH active AS (
    SELECT count(*) AS jobs, coalesce(sum(lines_total - lines_done), 0) AS lines
    FROM synthesis_job WHERE tenant_id = $1 AND status IN ('queued', 'processing')
), job AS (
    INSERT INTO synthesis_job (
        id, tenant_id, api_key_id, live, output, captions, seed, priority, origin, lines_total,
        retention_hours, created_at, due_at, title, status, metadata, notices, lines_done, attempt,
        lines_done_at_claim, fruitless_attempts, error_code, error_detail, error_line_id, audio_key,
        audio_sha256, caption_keys
    )
    SELECT $2::text, $1, $3::text, $4::boolean, $5::jsonb, $6::jsonb, $7::bigint, $8::smallint,
           $9::jsonb, $10::int, $11::int, $12::timestamptz, $12, '', 'queued', '{}', '[]', 0, 0,
           0, 0, '', '', '', '', '', '{}'
    FROM active WHERE jobs < $13 AND (lines = 0 OR lines + $10 <= $14)
    RETURNING id
)
INSERT INTO synthesis_line (
    job_id, tenant_id, position, line_id, speaker_id, text, language, speed, audio_key, audio_start,
    word_timing
)
SELECT job.id, $1, number - 1, number, speaker_id, text, language, 1.0, '', 0, 'aligned'
FROM job, unnest($15::text[], $16::text[], $17::text[])
     WITH ORDINALITY AS line (speaker_id, text, language, number)
"""

REQUESTS = Counter("http_requests_total", "Requests.", ["method", "route", "status"])
SECONDS = Histogram("http_request_seconds", "Their time.", ["method", "route", "status"])


@dataclass(frozen=True)
class Caller:
    """A key that works, as it was when it was looked up."""

    key_id: str
    live: bool
    expires_at: datetime | None
    tenant_id: str
    allowance: Allowance
    retention_hours: int | None


remembered: dict[bytes, tuple[float, Caller]] = {}  # by the SHA-256 of the key: until when, whose


async def _leave_as_is(connection: asyncpg.Connection) -> None:
    """No session is changed here, so a connection goes back to the pool without a round trip."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    client = redis.from_url(os.environ["REDIS_URL"], max_connections=1_000)
    app.state.take = client.register_script(TAKE)
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=4, max_size=16, reset=_leave_as_is
    ) as app.state.pool:
        yield
    await client.aclose()


app = FastAPI(lifespan=lifespan, openapi_url=None)


class RequestLogMiddleware:
    """An id for every request, one line in the log, and what Prometheus counts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        scope["request_id"] = request_id = f"req_{secrets.token_hex(12)}"
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None)
            REQUESTS.labels(scope["method"], route, status).inc()
            SECONDS.labels(scope["method"], route, status).observe(seconds)
            line = {
                "at": datetime.now(UTC),
                "level": "info",
                "event": "request",
                "request_id": request_id,
                "tenant_id": scope.get("tenant_id"),
                "method": scope["method"],
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 1),
            }
            os.write(2, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))


app.add_middleware(RequestLogMiddleware)


async def caller_of(request: Request) -> Caller:
    """Whose key it is. Raises 401; 429 if their bucket is empty."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    name = hashlib.sha256(key.encode()).digest()
    until, caller = remembered.get(name, (0.0, None))
    if until < time.monotonic():
        caller = await _look_up(request, key)
        if caller is not None:
            remembered[name] = time.monotonic() + KEY_REMEMBERED_S, caller
    if (
        scheme != "Bearer"
        or caller is None
        or (caller.expires_at is not None and caller.expires_at <= datetime.now(UTC))
    ):
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    request.scope["tenant_id"] = caller.tenant_id
    taken, _ = await request.app.state.take(
        keys=[f"voicereel:requests:{caller.tenant_id}"],
        args=[caller.allowance.requests, caller.allowance.window_s],
    )
    if not taken:
        raise HTTPException(429)
    return caller


async def _look_up(request: Request, key: str) -> Caller | None:
    match = KEY_PATTERN.fullmatch(key)
    row = match and await request.app.state.pool.fetchrow(SELECT_KEY, match.group(1))
    if row is None or not hmac.compare_digest(
        row["digest"], hmac.digest(PEPPER, key.encode(), "sha256").hex()
    ):
        return None
    return Caller(
        row["id"],
        row["live"],
        row["expires_at"],
        row["tenant_id"],
        ALLOWANCES[row["plan"]],
        row["retention_hours"],
    )


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    return Response(body, status, headers, media_type="application/json")


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _shown(request: Request, job: Mapping[str, Any]) -> dict[str, Any]:
    """A job as the API shows it. job: by column; JSON is text."""
    status = job["status"]
    queued, done = status == "queued", status == "succeeded"
    expires_at = int(time.time()) + LINK_TTL_S
    base = f"{request.scope['scheme']}://{request.headers['host']}/v1/files/"

    def link(kind: str, extension: str) -> str:
        claim = _base64(orjson.dumps([job["id"], kind, expires_at]))
        signature = _base64(hmac.digest(LINK_SECRET, claim, "sha256"))
        return f"{base}{claim.decode()}:{signature.decode()}/{job['id']}.{extension}"

    audio = captions = None
    if done:
        output = orjson.loads(job["output"])
        audio = {
            "url": link("audio", output["format"]),
            "format": output["format"],
            "sample_rate": output["sample_rate"],
            "duration_ms": job["audio_ms"],
            "size_bytes": job["audio_bytes"],
            "sha256": job["audio_sha256"],
        }
        captions = {kind: link(kind, kind) for kind in orjson.loads(job["captions"])}
    return {
        "id": job["id"],
        "mode": "live" if job["live"] else "test",
        "title": job["title"],
        "status": status,
        "progress": {"lines_done": job["lines_done"], "lines_total": job["lines_total"]},
        "queue_position": 0 if queued else None,
        "estimated_start_at": datetime.now(UTC) if queued else None,
        "created_at": job["created_at"],
        "started_at": job["started_at"],
        "finished_at": job["finished_at"],
        "retention_hours": job["retention_hours"],
        "expires_at": job["expires_at"],
        "error": {
            "code": job["error_code"],
            "detail": job["error_detail"],
            "line_id": job["error_line_id"] or None,
        }
        if status == "failed"
        else None,
        "audio": audio,
        "captions": captions,
        "links_expire_at": datetime.fromtimestamp(expires_at, UTC) if done else None,
        "notices": orjson.Fragment(job["notices"]),
        "seed": job["seed"],
        "metadata": orjson.Fragment(job["metadata"]),
    }


@app.get("/healthz")
async def healthz() -> Response:
    return _json({"status": "ok"})


@app.get("/metrics")
async def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/v1/jobs/{job_id}")
async def get_job(request: Request, job_id: str) -> Response:
    caller = await caller_of(request)
    row = identifiers.is_id(job_id) and await request.app.state.pool.fetchrow(
        SELECT_JOB, job_id, caller.tenant_id
    )
    if not row:
        raise HTTPException(404)
    return _json(_shown(request, row))


@app.get("/v1/speakers")
async def list_speakers(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> Response:
    caller = await caller_of(request)
    rows = await request.app.state.pool.fetch(
        SELECT_SPEAKERS, caller.tenant_id, _decoded(cursor), limit + 1
    )
    speakers = [
        {
            "id": row["id"],
            "name": row["name"],
            "language": row["language"],
            "status": row["status"],
            "voice_mode": row["voice_mode"] or None,
            "similarity": row["voice_similarity"],
            "quality": row["quality"] and orjson.Fragment(row["quality"]),
            "failure_reasons": orjson.Fragment(row["failure_reasons"]),
            "reference_ms": row["reference_ms"],
            "transcript": row["transcript"] or None,
            "metadata": orjson.Fragment(row["metadata"]),
            "consent_at": row["consent_at"],
            "consent_version": row["consent_version"],
            "created_at": row["created_at"],
        }
        for row in rows[:limit]
    ]
    more = len(rows) > limit
    next_cursor = _base64(speakers[-1]["id"].encode()).decode() if more else None
    return _json({"data": speakers, "next_cursor": next_cursor})


def _decoded(cursor: str | None) -> str | None:
    """The id that a cursor stands for. Raises 422."""
    if cursor is None:
        return None
    try:
        last_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        last_id = ""
    if not identifiers.is_id(last_id):
        raise HTTPException(422, "This cursor is not one of ours.")
    return last_id


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Line(Strict):
    speaker_id: Annotated[str, StringConstraints(pattern="^spk_[0-9a-z]{26}$")]
    text: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True,
            min_length=1,
            max_length=2_000,
            pattern=r"^[^\x00]*$",  # PostgreSQL cannot hold NUL
        ),
    ]


class Output(Strict):
    format: Literal["wav", "flac"]
    sample_rate: Literal[8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


class SynthesizeBody(Strict):
    script: Annotated[list[Line], Field(min_length=1, max_length=2_000)]
    output: Output
    captions: list[Literal["json", "vtt", "srt"]] = ["json", "vtt", "srt"]


@app.post("/v1/synthesize")
async def synthesize(request: Request) -> Response:
    caller = await caller_of(request)
    try:
        body = SynthesizeBody.model_validate_json(await request.body())
    except ValidationError as exc:
        errors = exc.json(include_url=False, include_input=False)
        return _json({"detail": orjson.Fragment(errors)}, 422)
    script = body.script
    pool = request.app.state.pool
    wanted = {line.speaker_id for line in script}
    language = dict(await pool.fetch(SELECT_LANGUAGES, list(wanted), caller.tenant_id))
    if unknown := wanted - language.keys():
        raise HTTPException(422, f"No speakers that are ready: {', '.join(sorted(unknown))}.")
    job: dict[str, Any] = {
        "id": identifiers.job_id(),
        "live": caller.live,
        "title": "",
        "status": "queued",
        "lines_done": 0,
        "lines_total": len(script),
        "created_at": datetime.now(UTC),
        "started_at": None,
        "finished_at": None,
        "retention_hours": caller.retention_hours,
        "expires_at": None,
        "notices": "[]",
        "seed": secrets.randbelow(2**31),
        "metadata": "{}",
    }
    output = {
        "format": body.output.format,
        "sample_rate": body.output.sample_rate,
        "bitrate_kbps": None,
        "bit_depth": 16,
    }
    short = sum(len(line.text) for line in script) <= INTERACTIVE_CHARACTERS
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(LOCK_TENANT, caller.tenant_id)
        inserted = await connection.execute(
            INSERT_JOB,
            caller.tenant_id,
            job["id"],
            caller.key_id,
            caller.live,
            orjson.dumps(output).decode(),
            orjson.dumps(sorted(set(body.captions), key=KINDS.index)).decode(),
            job["seed"],
            INTERACTIVE if short else BULK,
            orjson.dumps({"request_id": request.scope["request_id"]}).decode(),
            len(script),
            caller.retention_hours,
            job["created_at"],
            caller.allowance.jobs,
            caller.allowance.lines,
            [line.speaker_id for line in script],
            [line.text for line in script],
            [language_of(line.text, language[line.speaker_id]) for line in script],
        )
    if inserted == "INSERT 0 0":
        raise HTTPException(429, "Your plan allows no more unfinished jobs or waiting lines.")
    return _json(_shown(request, job), 202, {"Location": f"/v1/jobs/{job['id']}"})
