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
    "default_speed": 1.0,
    "speaks_as": None,
    "metadata": {"contract": "2026-114"},
    "consent_at": "2026-11-25T09:00:00Z",
    "consent_version": "2026-11",
    "created_at": "2026-11-25T09:00:00Z",
}
_COMPARISON_SHOWN: dict[str, Any] = {
    "id": "cmp_01k9zrf4d2m7v8q3x6c1b5n0ga",
    "title": "Which voice for the morning show?",
    "status": "open",
    "texts": ["Good morning, and welcome.", "It is seven o'clock."],
    "listen_url": "https://api.example.com/listen/WyJ0ZW5f...:3q2-7w",
    "votes": 40,
    "listeners": 20,
    "variants": [
        {
            "position": 0,
            "label": "as it is",
            "speaker_id": _SPEAKER,
            "speed": 1.0,
            "job_id": _JOB,
            "share": 0.2,
        },
        {
            "position": 1,
            "label": "a little faster",
            "speaker_id": _SPEAKER,
            "speed": 1.15,
            "job_id": "job_01k9zrb9p2w6y4t8s1g3h5k7mn",
            "share": 0.8,
        },
    ],
    "pairs": [
        {
            "first": 0,
            "second": 1,
            "votes": 40,
            "rate": 0.2,
            "low": 0.0842,
            "high": 0.3841,
            "verdict": "second",
        }
    ],
    "leader": 1,
    "is_decided": True,
    "winner": None,
    "created_at": "2026-11-25T09:05:00Z",
    "closed_at": None,
}
_LINK = "https://api.example.com/v1/files/WyJ0ZW5f...:3q2-7w"
_JOB_SHOWN: dict[str, Any] = {
    "id": _JOB,
    "mode": "live",
    "title": "Episode 12",
    "status": "succeeded",
    "progress": {"lines_done": 2, "lines_total": 2},
    "queue_position": None,
    "estimated_start_at": None,
    "created_at": "2026-11-25T09:05:00Z",
    "started_at": "2026-11-25T09:05:01Z",
    "finished_at": "2026-11-25T09:05:04Z",
    "retention_hours": 720,
    "expires_at": "2026-12-25T09:05:04Z",
    "error": None,
    "highest_price": {"amount_minor": 5, "currency": "USD"},
    "cost": {"amount_minor": 1, "currency": "USD", "exact_minor": "1.37"},
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
    "queue_position": 3,
    "estimated_start_at": "2026-11-25T09:05:12Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "cost": None,
    "audio": None,
    "captions": None,
    "links_expire_at": None,
}
_NOVEMBER = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}
_STEPS = [
    {"audio_ms": 72_000_000, "per_minute": "15"},
    {"audio_ms": 3_456_789, "per_minute": "12"},
]
_PARTY = {
    "name": "Alder Studio",
    "address": "1 Elm Street, Springfield",
    "country": "US",
    "tax_id": "",
}
_INVOICE_SHOWN = {
    "id": "inv_01kbd0c4n7r5t3w1y8b6d2fgha",
    "number": "VR2026-000042",
    "status": "finalized",
    "month": "2026-11",
    "period_start": _NOVEMBER["starts_at"],
    "period_end": _NOVEMBER["ends_at"],
    "time_zone": "UTC",
    "currency": "USD",
    "net_minor": 18_691,
    "tax_minor": 0,
    "tax_percent": "0",
    "total_minor": 18_691,
    "open_minor": 18_691,
    "pays_by": "transfer",
    "finalized_at": "2026-12-03T00:00:12Z",
    "due_at": "2026-12-17T00:00:12Z",
    "paid_at": None,
    "seller": _PARTY | {"name": "VoiceReel", "address": "Seoul", "country": "KR"},
    "buyer": _PARTY,
    "tax_approval_number": None,
    "lines": [
        {
            "id": "inl_01kbd0c4n7r5t3w1y8b6d2fgha",
            "kind": "audio",
            "plan": "standard",
            **_NOVEMBER,
            "audio_ms": 75_456_789,
            "days": None,
            "steps": _STEPS,
            "reason": None,
            "amount_minor": 18_691,
        }
    ],
    "credit_notes": [],
}
_DAY_SHOWN = {
    "starts_at": "2026-11-25T00:00:00Z",
    "ends_at": "2026-11-26T00:00:00Z",
    "audio_ms": 5_480,
    "characters": 24,
    "stored_bytes": 0,
}
_BILLING_SHOWN = {
    "plan": "standard",
    "standing": "good",
    "currency": "USD",
    "time_zone": "UTC",
    "country": "US",
    "legal_name": "Alder Studio",
    "address": "1 Elm Street, Springfield",
    "email": "books@example.com",
    "language": "en",
    "tax_id": "",
    "representative": "",
    "business_type": "",
    "business_item": "",
    "pays_by": "transfer",
    "has_card": False,
    "cap_minor": 50_000,
    "running": {
        "month": "2026-11",
        **_NOVEMBER,
        "spent_minor": 18_691,
        "audio_ms": 75_456_789,
        "included_ms": 0,
    },
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
_MEMBER_SHOWN = {
    "id": "mem_01k9zv1d5r8m2n4b6v0c3d5fgh",
    "name": "Mina Kim",
    "email": "mina@example.com",
    "role": "developer",
    "second_factor": True,
    "joined_at": "2026-11-20T02:00:00Z",
    "last_login_at": "2026-11-25T00:40:00Z",
}
_INVITATION_SHOWN = {
    "id": "ivt_01k9zv6h7t9p3q5c8w1d4e6gjk",
    "email": "jun@example.com",
    "role": "viewer",
    "invited_by": "mina@example.com",
    "created_at": "2026-11-25T09:00:00Z",
    "expires_at": "2026-12-02T09:00:00Z",
}
_AUDIT_EVENT_SHOWN = {
    "id": "aud_01k9zvb2m4w6y8a0c2e4g6j8mn",
    "at": "2026-11-25T09:10:00Z",
    "action": "key.revoked",
    "actor": {
        "kind": "member",
        "id": "usr_01k9zv0a3n5q7s9v1x3z5b7d9f",
        "name": "mina@example.com",
        "in_place_of": None,
        "address": "203.0.113.7",
    },
    "target": _KEY,
    "details": {"label": "nightly"},
    "request_id": "req_5f2b8c1d9e3a7f6048b1c2d3",
}
_EXPORT_SHOWN = {
    "id": "exp_01k9zvf4p6s8v0x2z4b6d8f0hj",
    "status": "succeeded",
    "files_done": 412,
    "files_total": 412,
    "rows_done": 2_840,
    "error": None,
    "archive": {
        "url": "https://api.example.com/v1/archives/WyJ0ZW5f...:3q2-7w/voicereel-exp_01k9z.zip",
        "size_bytes": 318_767_104,
        "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    },
    "created_at": "2026-11-25T09:12:00Z",
    "finished_at": "2026-11-25T09:12:40Z",
    "expires_at": "2026-12-02T09:12:40Z",
}
_ACCOUNT = "ten_01k9zqt2w4y6a8c0e2g4j6m8pq"
_ERASURE_SHOWN = {
    "id": "era_01k9zvk8r0t2v4x6z8b0d2f4hj",
    "account_id": _ACCOUNT,
    "speaker_id": _SPEAKER,
    "status": "erased",
    "requested_by": _KEY,
    "requested_at": "2026-11-25T09:20:00Z",
    "finished_at": "2026-11-25T09:21:05Z",
    "rows": {"job": 3, "line": 41, "reference_clip": 1, "speaker": 1},
    "files": 52,
    "bytes": 14_680_064,
    "log_lines": 0,
    "proof_url": "https://api.example.com/v1/erasure-proofs/WyJ0ZW5f...:Qm9-1c",
}
_ERASING: dict[str, Any] = {
    "status": "requested",
    "finished_at": None,
    "rows": {},
    "files": 0,
    "bytes": 0,
}
_ENTRIES = [{"language": "en", "written": "SQL", "spoken": "sequel"}]

EXAMPLES: dict[str, Any] = {
    "MemberResponse": _MEMBER_SHOWN,
    "MemberPage": {"data": [_MEMBER_SHOWN], "next_cursor": None},
    "ChangeMemberRequest": {"role": "admin"},
    "InviteRequest": {"email": "jun@example.com", "role": "viewer"},
    "InvitationResponse": _INVITATION_SHOWN,
    "InvitationPage": {"data": [_INVITATION_SHOWN], "next_cursor": None},
    "AuditEventPage": {"data": [_AUDIT_EVENT_SHOWN], "next_cursor": None},
    "ExportResponse": _EXPORT_SHOWN,
    "ExportPage": {"data": [_EXPORT_SHOWN], "next_cursor": None},
    "EraseAccountRequest": {"confirm": _ACCOUNT},
    "EraseSpeakerRequest": {"confirm": "Anna"},
    "ErasureResponse": _ERASURE_SHOWN,
    "ErasurePage": {"data": [_ERASURE_SHOWN], "next_cursor": None},
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
    "CreateComparisonRequest": {
        "title": "Which voice for the morning show?",
        "texts": ["Good morning, and welcome.", "It is seven o'clock."],
        "variants": [
            {"speaker_id": _SPEAKER, "label": "as it is"},
            {"speaker_id": _SPEAKER, "speed": 1.15, "label": "a little faster"},
        ],
    },
    "ComparisonResponse": _COMPARISON_SHOWN,
    "ComparisonPage": {"data": [_COMPARISON_SHOWN], "next_cursor": None},
    "ChooseWinnerRequest": {"position": 1},
    "JobPage": {
        "data": [_JOB_SHOWN],
        "next_cursor": "am9iXzAxazl6cmI4aG40dDZzMmYwZzdqM3A1cXhk",
    },
    "PreviewResponse": {
        "valid": True,
        "errors": [],
        "code": None,
        "detail": None,
        "predicted_duration_ms": 5_400,
        "longest_duration_ms": 18_900,
        "highest_price": {"amount_minor": 5, "currency": "USD"},
    },
    "UsageResponse": {
        "time_zone": "UTC",
        "granularity": "day",
        "start": "2026-11-01T00:00:00Z",
        "end": "2026-11-26T00:00:00Z",
        "totals": {"audio_ms": 5_480, "characters": 24},
        "data": [_DAY_SHOWN],
    },
    "MonthReportResponse": {
        "month": "2026-11",
        "time_zone": "UTC",
        **_NOVEMBER,
        "is_over": True,
        "totals": {"audio_ms": 75_456_789, "characters": 1_131_851},
        "stored_bytes": 88_128,
        "currency": "USD",
        "net_minor": 18_691,
        "parts": [
            {
                **_NOVEMBER,
                "plan": "standard",
                "days": 30,
                "base_fee_minor": 0,
                "audio_ms": 75_456_789,
                "audio_minor": 18_691,
                "steps": _STEPS,
            }
        ],
        "days": [_DAY_SHOWN],
        "by_key": [_DAY_SHOWN | {"api_key_id": _KEY}],
        "by_speaker": [_DAY_SHOWN | {"speaker_id": _SPEAKER}],
        "by_project": [_DAY_SHOWN | {"project": "podcast"}],
    },
    "ServiceLevelResponse": {
        "month": "2026-11",
        "time_zone": "UTC",
        "until": "2026-11-02T08:00:00Z",
        "availability": {
            "percent": "99.75",
            "promised_percent": "99.9",
            "intervals": 384,
            "affected_intervals": 2,
            "requests": 18_402,
            "failures": 31,
        },
        "processing": {
            "percent": "100",
            "promised_percent": "99.9",
            "jobs": 211,
            "late": 0,
            "at_least_ms": 60_000,
            "audio_factor": 2,
        },
        "days": [
            {"date": "2026-11-01", "percent": "99.666666"},
            {"date": "2026-11-02", "percent": "100"},
        ],
        "credit": {
            "percent": 10,
            "amount_minor": 1_869,
            "currency": "USD",
            "status": "proposed",
        },
    },
    "InvoiceResponse": _INVOICE_SHOWN,
    "InvoicePage": {"data": [_INVOICE_SHOWN], "next_cursor": None},
    "BillingResponse": _BILLING_SHOWN,
    "UpdateBillingRequest": {"legal_name": "Alder Studio", "country": "US", "cap_minor": 50_000},
    "ReturnRequest": {"return_url": "https://example.com/billing"},
    "PageResponse": {"url": "https://checkout.stripe.com/c/pay/cs_live_a1b2c3"},
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
    "changeMember": _MEMBER_SHOWN | {"role": "admin"},
    "createExport": _EXPORT_SHOWN
    | {
        "status": "processing",
        "files_done": 0,
        "files_total": None,
        "rows_done": 0,
        "archive": None,
        "finished_at": None,
        "expires_at": None,
    },
    "eraseSpeaker": _ERASURE_SHOWN | _ERASING,
    "eraseAccount": _ERASURE_SHOWN | _ERASING | {"speaker_id": None},
    "revokeKey": _KEY_SHOWN | {"revoked_at": "2026-11-25T09:30:00Z"},
}
