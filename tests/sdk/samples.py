"""JSON as the server gives it."""

import hashlib


def speaker(**changes: object) -> dict:
    return {
        "id": "spk_1",
        "name": "Anna",
        "language": "en",
        "status": "ready",
        "voice_mode": "adapted",
        "similarity": 0.73,
        "quality": None,
        "failure_reasons": [],
        "reference_ms": 35000,
        "transcript": None,
        "metadata": {},
        "created_at": "2026-01-02T03:04:05Z",
    } | changes


def job(**changes: object) -> dict:
    return {
        "id": "job_1",
        "title": None,
        "status": "processing",
        "progress": {"lines_done": 3, "lines_total": 10},
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "error": None,
        "audio": None,
        "captions": None,
        "links_expire_at": None,
        "notices": [],
        "metadata": {},
        "seed": 1,
    } | changes


def finished_job(audio: bytes, link: str, **changes: object) -> dict:
    return (
        job(
            status="succeeded",
            started_at="2026-01-02T03:04:05Z",
            finished_at="2026-01-02T03:04:15.500000Z",
            audio={
                "url": link,
                "format": "mp3",
                "sample_rate": 24000,
                "duration_ms": 21000,
                "size_bytes": len(audio),
                "sha256": hashlib.sha256(audio).hexdigest(),
            },
            captions={},
        )
        | changes
    )
