"""What drf-spectacular cannot know by itself: problems, limits, examples, and the guides."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.openapi import AutoSchema

from voicereel_site.examples import ANSWERS, EXAMPLES
from voicereel_site.guides import GUIDES, guide_text
from voicereel_site.problems import PROBLEMS

_PROBLEM_TYPE = "application/problem+json"

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem document: `code` is stable, `detail` says what to do.",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {
            "type": "string",
            "enum": [code for code, kind in PROBLEMS.items() if kind.statuses],
        },
        "detail": {"type": "string"},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the request"},
                    "line_id": {"type": "string", "description": "the script line it is about"},
                    "code": {"type": "string", "enum": list(PROBLEMS)},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_HEADERS = {
    "RateLimit-Policy": {
        "description": "your plan's requests `q` in `w` seconds",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "the requests `r` that are left, and the seconds `t` until all are again",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "true where an Idempotency-Key was sent before, and this is its first answer; "
        "otherwise it is not there",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {
        "description": "seconds to wait before the next attempt",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-Request-ID": {
        "description": "names this request in our logs; yours, if you sent one",
        "schema": {"type": "string"},
    },
}


class ProblemAwareSchema(AutoSchema):
    """Adds to every operation the refusals it may answer with, the headers of all, and examples."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            responses = operation["responses"]
            for status, response in responses.items():
                response.setdefault("headers", {}).update(_headers_of(operation))
                response["description"] = HTTPStatus(int(status)).phrase
                # A 200 beside a 202 is another answer than the operation's own.
                own = status == max(responses)
                _add_examples(response, operation["operationId"] if own else "")
            _add_examples(operation.get("requestBody", {}))
            _add_links(operation)
            for refusal in _refusals(operation):
                responses[str(refusal)] = {"$ref": f"#/components/responses/Problem{refusal}"}
            responses["default"] = {"$ref": "#/components/responses/Problem"}
            summary, _, more = operation.pop("description").partition(". ")
            operation["summary"] = summary.rstrip(".")
            scope = f"Needs the scope `{self.view.scopes[self.method]}`."
            operation["description"] = f"{more} {scope}".strip()
        return operation


def _headers_of(operation: dict[str, Any]) -> dict[str, Any]:
    names = ["X-Request-ID", "RateLimit-Policy", "RateLimit"]
    if any(parameter["in"] == "header" for parameter in operation.get("parameters", [])):
        names.append("Idempotent-Replayed")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusals(operation: dict[str, Any]) -> list[int]:
    """The statuses of an operation's refusals, by what it takes."""
    parameters = operation.get("parameters", [])
    places = {parameter["in"] for parameter in parameters}
    statuses = [401, 403, 421, 429, 503]
    if "path" in places:
        statuses.append(404)
    if operation["operationId"] in _MAY_COST_TOO_MUCH:
        statuses.append(402)
    if operation["operationId"] in _MAY_BE_TOO_LATE:
        statuses.append(409)
    if "query" in places or "header" in places or "requestBody" in operation:
        statuses.append(422)
    if "header" in places or "requestBody" in operation:
        statuses.append(400)
    if "requestBody" in operation:
        statuses += [413, 415]
    return sorted(statuses)


def _add_links(operation: dict[str, Any]) -> None:
    """From what makes a thing to what can be done with it, by the id in its answer."""
    parameter, targets = _LINKS.get(operation["operationId"], ("", ()))
    for status in ("201", "202") if targets else ():
        if status in operation["responses"]:
            operation["responses"][status]["links"] = {
                target: {"operationId": target, "parameters": {parameter: "$response.body#/id"}}
                for target in targets
            }


_LINKS = {
    "registerSpeaker": ("speaker_id", ("getSpeaker", "updateSpeaker", "deleteSpeaker")),
    "synthesize": ("job_id", ("getJob", "cancelJob", "retryJob", "deleteJob")),
    "createWebhookEndpoint": (
        "endpoint_id",
        (
            "getWebhookEndpoint",
            "updateWebhookEndpoint",
            "rotateWebhookSecret",
            "listWebhookDeliveries",
            "deleteWebhookEndpoint",
        ),
    ),
    "createKey": ("key_id", ("getKey", "rotateKey", "revokeKey")),
    "createComparison": (
        "comparison_id",
        ("getComparison", "closeComparison", "chooseWinner", "deleteComparison"),
    ),
    "createExport": ("export_id", ("getExport",)),
    "invite": ("invitation_id", ("withdrawInvitation",)),
}
_MAY_COST_TOO_MUCH = {"createComparison", "retryJob", "synthesize"}
_MAY_BE_TOO_LATE = {
    "addCard",
    "cancelJob",
    "changeMember",
    "createComparison",
    "createExport",
    "createWebhookEndpoint",
    "invite",
    "openBillingPortal",
    "removeMember",
    "replayWebhookDelivery",
    "retryJob",
    "rotateKey",
    "updateBilling",
}


def _add_examples(carrier: dict[str, Any], operation_id: str = "") -> None:
    """To a request's or an answer's contents, by the operation or the name of their shape."""
    for content in carrier.get("content", {}).values():
        name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
        if name in EXAMPLES:
            value = ANSWERS.get(operation_id, EXAMPLES[name])
            content["examples"] = {name: {"value": value}}


# Of links to files, which are no operations.
_OF_FILES = {("invalid_signature", 403)}


def _problem_response(status: int | None) -> dict[str, Any]:
    """A component: the refusals with a status; None: with any other."""
    codes = [
        code
        for code, kind in PROBLEMS.items()
        if status in kind.statuses and (code, status) not in _OF_FILES
    ]
    response: dict[str, Any] = {
        "description": "What went wrong and what to do"
        if status is None
        else f"{HTTPStatus(status).phrase}: " + ", ".join(f"`{code}`" for code in codes),
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}},
        "content": {_PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status not in (None, 401):
        for name in ("RateLimit-Policy", "RateLimit"):
            response["headers"][name] = {"$ref": f"#/components/headers/{name}"}
    if status in (429, 503):
        response["headers"]["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status is not None:
        response["content"][_PROBLEM_TYPE]["examples"] = {
            code: {"value": _problem_example(status, code)} for code in codes
        }
    return response


def _problem_example(status: int, code: str) -> dict[str, Any]:
    problem = EXAMPLES["Problem"] | {
        "type": f"urn:voicereel:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": PROBLEMS[code].examples.get(status, PROBLEMS[code].meaning),
    }
    if code != EXAMPLES["Problem"]["code"]:
        del problem["errors"]
    return problem


def complete_document(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Says in the document what the serializers do, and what is common to all operations.

    drf-spectacular emits a nested ``many=True, allow_empty=False`` without ``minItems``.
    """
    components = result["components"]
    schemas = components["schemas"]
    schemas["Problem"] = PROBLEM
    for name, schema in schemas.items():
        if name.endswith("Request") and schema.get("type") == "object":
            schema["additionalProperties"] = False
    script = schemas["SynthesizeRequest"]["properties"]["script"]
    script |= {"minItems": 1, "maxItems": 2000}
    components["headers"] = _HEADERS
    for name, schema in schemas.items():
        # Answers have all of their fields, whatever their models have defaults for.
        if name.endswith("Response"):
            schema["required"] = sorted(schema["properties"])
    refused = {
        int(status)
        for path in result["paths"].values()
        for operation in path.values()
        for status in operation["responses"]
        if status.isdigit() and int(status) >= 400
    }
    components["responses"] = {
        "Problem": _problem_response(None),
        **{f"Problem{status}": _problem_response(status) for status in sorted(refused)},
    }
    result["info"]["description"] = "\n".join(guide_text(name) for name in GUIDES)
    return result
