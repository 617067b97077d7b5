"""A typed error for each code that the server's catalogue has."""

import httpx
import pytest
import voicereel
from voicereel.errors import error_from_response

from voicereel_site.problems import PROBLEMS

ANSWERS = [(status, code) for code, kind in PROBLEMS.items() for status in kind.statuses]
# Their class is that of their status, which says more than the code.
OF_THEIR_STATUS = {"validation_error", "not_found", "rate_limited", "service_unavailable"}


def error(status: int, code: str) -> voicereel.ApiError:
    body = {"code": code, "detail": "Do this.", "request_id": "req_1"}
    request = httpx.Request("GET", "http://127.0.0.1/v1/jobs")
    media_type = {"Content-Type": "application/problem+json"}
    return error_from_response(
        httpx.Response(status, json=body, headers=media_type, request=request)
    )


@pytest.mark.parametrize(("status", "code"), ANSWERS)
def test_every_code_has_a_class(status: int, code: str) -> None:
    raised = error(status, code)
    assert (raised.status, raised.code, str(raised)) == (status, code, "Do this.")
    assert getattr(voicereel, type(raised).__name__) is type(raised)
    alike = [other for other in ANSWERS if other[0] == status and other[1] != code]
    for other in alike:
        # rate_limited is what TooManyConcurrentJobs is too, and so on; no other two are alike.
        assert type(error(*other)) is not type(raised)
    of_status = type(error(status, "a_code_of_tomorrow"))
    assert isinstance(raised, of_status)
    assert (type(raised) is of_status) == (code in OF_THEIR_STATUS)


def test_a_code_with_a_status_that_is_new_to_the_client_goes_by_the_status() -> None:
    assert type(error(503, "speaker_not_found")) is voicereel.ServiceUnavailable
    assert type(error(403, "invalid_signature")) is voicereel.LinkExpired
