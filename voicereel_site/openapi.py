"""What drf-spectacular cannot know by itself: problem answers and closed request objects."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem document: `code` is stable, `detail` says what to do.",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
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
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


class ProblemAwareSchema(AutoSchema):
    """Adds to every operation the problem document as its answer to whatever goes wrong."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            operation["responses"]["default"] = {
                "description": "What went wrong and what to do",
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                },
            }
        return operation


def close_request_objects(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Says in the document what the serializers do: unknown fields and empty scripts are refused.

    drf-spectacular emits a nested ``many=True, allow_empty=False`` without ``minItems``.
    """
    schemas = result["components"]["schemas"]
    schemas["Problem"] = PROBLEM
    for name, schema in schemas.items():
        if name.endswith("Request") and schema.get("type") == "object":
            schema["additionalProperties"] = False
    script = schemas["SynthesizeRequest"]["properties"]["script"]
    script |= {"minItems": 1, "maxItems": 2000}
    return result
