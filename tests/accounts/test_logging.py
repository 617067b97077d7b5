"""What the logs hold, and what they never hold."""

import json
import logging
import logging.config

from django.conf import settings


def test_an_exceptions_variables_are_not_logged() -> None:
    formatter = logging.config.DictConfigurator(settings.LOGGING).configure_formatter(
        dict(settings.LOGGING["formatters"]["json"])
    )
    password = "a secret " + "in a variable"
    try:
        raise ValueError(f"of {len(password)} letters")
    except ValueError as exc:
        record = logging.LogRecord(
            "voicereel", logging.ERROR, __file__, 1, "failed", None, (type(exc), exc, None)
        )
        record.exc_info = (type(exc), exc, exc.__traceback__)
    said = formatter.format(record)
    body = json.loads(said)
    assert body["exception"][0]["exc_value"] == "of 22 letters"
    assert body["exception"][0]["frames"]
    assert "in a variable" not in said
