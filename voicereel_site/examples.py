"""An example for each shape of the API, as the reference shows them. Tests hold them to the shapes."""

from typing import Any

_SPEAKER = "spk_01k9zr7m3vq2x8d4w6y1b5c0ea"
_JOB = "job_01k9zrb8hn4t6s2f0g7j3p5qxd"
_KEY = "key_01k9zqxw5r8m1n3b6v0c2d4fgh"
_OTHER_KEY = "key_01k9zs2p7k4j6h8g0f3d5s1awq"

_SPEAKER_SHOWN = {
    "id": _SPEAKER,
    "name": "Anna",
    "language": "en",
    "status": "ready",
    "voice_mode": "adapted",
    "similarity": 0.71,
    "quality": {
        "speech_ms": 41_200,
        "loudness_lufs": -21.4,
        "clipped_percent": 0.0,
        "signal_to_noise_db": 38.5,
        "warnings": [],
    },
    "failure_reasons": [],
    "reference_ms": 45_000,
    "transcript": None,
    "metadata": {"contract": "2026-114"},
    "consent_at": "2026-11-25T09:00:00Z",
    "consent_version": "2026-11",
    "created_at": "2026-11-25T09:00:00Z",
}
_LINK = "https://api.example.com/v1/files/WyJ0ZW5f...:3q2-7w"
_JOB_SHOWN = {
    "id": _JOB,
    "mode": "live",
    "title": "Episode 12",
    "status": "succeeded",
    "progress": {"lines_done": 2, "lines_total": 2},
    "created_at": "2026-11-25T09:05:00Z",
    "started_at": "2026-11-25T09:05:01Z",
    "finished_at": "2026-11-25T09:05:04Z",
    "retention_hours": 720,
    "expires_at": "2026-12-25T09:05:04Z",
    "error": None,
    "audio": {
        "url": f"{_LINK}/Episode%2012.mp3",
        "format": "mp3",
        "sample_rate": 44_100,
        "duration_ms": 5_480,
        "size_bytes": 88_128,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    },
    "captions": {
        "json": f"{_LINK}/Episode%2012.json",
        "vtt": f"{_LINK}/Episode%2012.vtt",
        "srt": f"{_LINK}/Episode%2012.srt",
    },
    "links_expire_at": "2026-11-25T09:20:10Z",
    "notices": [],
    "seed": 1_804_289_383,
    "metadata": {"project": "podcast"},
}
_KEY_SHOWN = {
    "id": _KEY,
    "label": "nightly",
    "prefix": "vr_live_AbCdEfGh",
    "mode": "live",
    "scopes": ["jobs:read", "jobs:write", "speakers:read"],
    "networks": ["203.0.113.0/24"],
    "require_signature": False,
    "created_at": "2026-11-25T08:00:00Z",
    "expires_at": "2027-11-25T00:00:00Z",
    "revoked_at": None,
    "last_used_at": "2026-11-25T09:05:00Z",
    "replaced_by": None,
}
_QUEUED = {
    "status": "queued",
    "progress": {"lines_done": 0, "lines_total": 2},
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "audio": None,
    "captions": None,
    "links_expire_at": None,
}
_ENDPOINT = "whe_01k9zt0c4n7r5t3w1y8b6d2fgh"
_ENDPOINT_SHOWN = {
    "id": _ENDPOINT,
    "url": "https://example.com/hooks/voicereel",
    "description": "production",
    "events": ["*"],
    "enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "created_at": "2026-11-25T08:30:00Z",
}
_DELIVERY_SHOWN = {
    "id": "msg_01k9zte5r8m1n3b6v0c2d4fgha",
    "endpoint_id": _ENDPOINT,
    "event": "job.canceled",
    "status": "pending",
    "created_at": "2026-11-25T09:05:02Z",
    "delivered_at": None,
    "next_attempt_at": "2026-11-25T09:05:08Z",
    "attempts": [
        {
            "at": "2026-11-25T09:05:03Z",
            "status": 503,
            "error": "Answered 503.",
            "duration_ms": 84,
        }
    ],
    "message": {
        "type": "job.canceled",
        "timestamp": "2026-11-25T09:05:02.120000Z",
        "data": {"id": _JOB, "status": "canceled"},
    },
}
_ENTRIES = [{"language": "en", "written": "SQL", "spoken": "sequel"}]

EXAMPLES: dict[str, Any] = {
    "RegisterSpeakerRequest": {
        "name": "Anna",
        "audio": ["(the bytes of anna.wav)"],
        "language": "en",
        "metadata": '{"contract": "2026-114"}',
        "consent": True,
    },
    "UpdateSpeakerRequest": {"name": "Anna (studio)"},
    "SpeakerResponse": _SPEAKER_SHOWN,
    "SpeakerPage": {"data": [_SPEAKER_SHOWN], "next_cursor": None},
    "SynthesizeRequest": {
        "title": "Episode 12",
        "script": [
            {"id": "intro", "speaker_id": _SPEAKER, "text": "Is this thing on?"},
            {"speaker_id": _SPEAKER, "text": "It is.", "speed": 0.9, "pause_after_ms": 400},
        ],
        "output": {"format": "mp3", "sample_rate": 44_100, "bitrate_kbps": 128},
        "captions": ["json", "vtt", "srt"],
        "metadata": {"project": "podcast"},
    },
    "JobResponse": _JOB_SHOWN,
    "JobPage": {
        "data": [_JOB_SHOWN],
        "next_cursor": "am9iXzAxazl6cmI4aG40dDZzMmYwZzdqM3A1cXhk",
    },
    "ReplacePronunciationsRequest": {"entries": _ENTRIES},
    "PronunciationDictionary": {"entries": _ENTRIES},
    "CreateWebhookEndpointRequest": {
        "url": "https://example.com/hooks/voicereel",
        "description": "production",
    },
    "UpdateWebhookEndpointRequest": {"events": ["job.succeeded", "job.failed"]},
    "WebhookEndpointResponse": _ENDPOINT_SHOWN,
    "NewWebhookEndpointResponse": _ENDPOINT_SHOWN | {"secret": "whsec_" + "x" * 43 + "="},
    "WebhookEndpointPage": {"data": [_ENDPOINT_SHOWN], "next_cursor": None},
    "WebhookDeliveryResponse": _DELIVERY_SHOWN,
    "WebhookDeliveryPage": {"data": [_DELIVERY_SHOWN], "next_cursor": None},
    "CreateKeyRequest": {
        "label": "nightly",
        "scopes": ["jobs:read", "jobs:write", "speakers:read"],
        "expires_at": "2027-11-25T00:00:00Z",
        "networks": ["203.0.113.0/24"],
    },
    "RotateKeyRequest": {"overlap_hours": 24},
    "KeyResponse": _KEY_SHOWN,
    "NewKeyResponse": _KEY_SHOWN
    | {
        "last_used_at": None,
        "key": "vr_live_AbCdEfGh_" + "x" * 43 + "0Zy9Xw",
        "signing_secret": None,
    },
    "KeyPage": {
        "data": [_KEY_SHOWN | {"id": _OTHER_KEY, "label": "", "scopes": ["*"]}, _KEY_SHOWN],
        "next_cursor": None,
    },
    "Problem": {
        "type": "urn:voicereel:problem:speaker_not_found",
        "title": "Unprocessable Entity",
        "status": 422,
        "code": "speaker_not_found",
        "detail": "The script names speakers that do not exist. There is no speaker spk_0. GET "
        "/v1/speakers lists yours.",
        "request_id": "req_3f9a1c5b7d2e4f6a8b0c1d2e",
        "errors": [
            {
                "pointer": "/script/0/speaker_id",
                "line_id": "intro",
                "code": "speaker_not_found",
                "detail": "There is no speaker spk_0. GET /v1/speakers lists yours.",
            }
        ],
    },
}

# Where an operation's answer is not like others of its shape.
ANSWERS: dict[str, Any] = {
    "registerSpeaker": _SPEAKER_SHOWN
    | {"status": "processing", "voice_mode": None, "similarity": None, "quality": None},
    "synthesize": _JOB_SHOWN | _QUEUED,
    "retryJob": _JOB_SHOWN | _QUEUED | {"progress": {"lines_done": 1, "lines_total": 2}},
    "cancelJob": _JOB_SHOWN
    | _QUEUED
    | {
        "status": "canceled",
        "finished_at": "2026-11-25T09:05:02Z",
        "expires_at": "2026-12-25T09:05:02Z",
    },
    "updateSpeaker": _SPEAKER_SHOWN | {"name": "Anna (studio)"},
    "updateWebhookEndpoint": _ENDPOINT_SHOWN | {"events": ["job.failed", "job.succeeded"]},
    "replayWebhookDelivery": _DELIVERY_SHOWN | {"next_attempt_at": "2026-11-25T11:00:00Z"},
    "revokeKey": _KEY_SHOWN | {"revoked_at": "2026-11-25T09:30:00Z"},
}
