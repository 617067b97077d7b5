"""The documentation: guides, the API's reference, and its description for programs."""

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from drf_spectacular.utils import extend_schema
from markdown_it import MarkdownIt
from rest_framework.request import Request

from accounts.callers import member_of
from voicereel_site.errors import method_not_allowed
from voicereel_site.guides import GUIDES, guide, search
from voicereel_site.views import ApiView

_DOCUMENT = settings.BASE_DIR / "templates/docs/openapi.json"
_DEEPEST = 4  # of what is inside of what, in the tables of fields
_METHODS = ("get", "post", "put", "patch", "delete")


@cache
def _file(path: Path) -> tuple[bytes, str]:
    """A file's content and its ETag."""
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _served(request: HttpRequest, path: Path, content_type: str) -> HttpResponseBase:
    content, etag = _file(path)
    response = HttpResponse(content, content_type=content_type)
    response["ETag"] = etag
    response["Cache-Control"] = "public, max-age=300"
    answer: HttpResponseBase = get_conditional_response(request, etag=etag, response=response)
    return answer or response


class OpenApiView(ApiView):
    """GET /v1/openapi.json, without a key"""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponseBase:
        """The OpenAPI 3.1 document of this API."""
        return _served(request._request, _DOCUMENT, "application/json")


@dataclass(frozen=True)
class Field:
    """A field of a body: its name with what it is in, such as script[].text."""

    name: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """A route with a method, as its page shows it. Texts are HTML."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Mapping[str, Any], ...]
    fields: tuple[Field, ...]
    media_type: str
    example: str
    curl: str
    answers: tuple[tuple[str, str, str], ...] = field(default_factory=tuple)

    @property
    def can_be_tried(self) -> bool:
        """Whether a browser can send it as it stands."""
        return self.media_type in ("", "application/json")


@cache
def reference() -> dict[str, tuple[str, tuple[Operation, ...]]]:
    """What each tag is about, and its operations."""
    document = json.loads(_DOCUMENT.read_bytes())
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                found[operation["tags"][0]].append(_operation(document, path, method, operation))
    about = {tag["name"]: tag["description"] for tag in document["tags"]}
    return {tag: (about[tag], tuple(operations)) for tag, operations in found.items()}


def _operation(
    document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> Operation:
    markdown = MarkdownIt("commonmark")
    contents = operation.get("requestBody", {}).get("content", {})
    media_type = next(
        (kind for kind in ("application/json", "multipart/form-data") if kind in contents), ""
    )
    content = contents.get(media_type, {})
    example = _example(content)
    return Operation(
        operation["operationId"],
        method.upper(),
        path,
        operation["summary"],
        markdown.render(operation.get("description", "")),
        tuple(_resolved(document, one) for one in operation.get("parameters", [])),
        tuple(_fields(document, content.get("schema", {}))),
        media_type,
        example,
        _curl(path, method, media_type, example),
        tuple(_answers(document, operation)),
    )


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _fields(
    document: Mapping[str, Any], schema: Mapping[str, Any], within: str = "", depth: int = 0
) -> Iterator[Field]:
    schema = _resolved(document, schema)
    required = set(schema.get("required", []))
    for name, inner in schema.get("properties", {}).items():
        shape = _resolved(document, inner)
        listed = _resolved(document, shape.get("items", {})) if shape.get("type") == "array" else {}
        place = f"{within}{name}{'[]' if listed else ''}"
        description = inner.get("description") or shape.get("description") or ""
        yield Field(place, _kind(document, shape), name in required, _markdown_line(description))
        if depth < _DEEPEST:
            yield from _fields(document, listed or shape, f"{place}.", depth + 1)


def _kind(document: Mapping[str, Any], shape: Mapping[str, Any]) -> str:
    """A shape in a few words, such as: string, one of mp3, wav."""
    if shape.get("enum"):
        return "one of " + ", ".join(str(value) for value in shape["enum"] if value is not None)
    kinds = shape.get("type", "")
    if isinstance(kinds, list):
        kinds = " or ".join(kinds)
    if kinds == "array":
        return (
            f"list of {_kind(document, _resolved(document, shape.get('items', {}))) or 'objects'}"
        )
    for either in ("oneOf", "anyOf", "allOf"):
        if shape.get(either):
            return " or ".join(
                dict.fromkeys(_kind(document, _resolved(document, one)) for one in shape[either])
            )
    limits = [
        f"{word} {shape[name]:,}"
        for name, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("maxLength", "up to"),
        )
        if isinstance(shape.get(name), (int, float))
    ]
    return " ".join([str(kinds), *limits]).strip()


def _markdown_line(text: str) -> str:
    rendered: str = MarkdownIt("commonmark").renderInline(text)
    return rendered


def _example(content: Mapping[str, Any]) -> str:
    for example in content.get("examples", {}).values():
        return json.dumps(example["value"], indent=2, ensure_ascii=False)
    return ""


def _curl(path: str, method: str, media_type: str, example: str) -> str:
    verb = "" if method == "get" else f" -X {method.upper()}"
    lines = [f'curl{verb} "$VOICEREEL_URL{path}"', '-H "Authorization: Bearer $VOICEREEL_API_KEY"']
    if media_type == "application/json":
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(example)}"]
    elif media_type:
        fields: Mapping[str, Any] = json.loads(example or "{}")
        lines += [
            f"-F {name}={'@anna.wav' if name == 'audio' else json.dumps(value)}"
            for name, value in fields.items()
        ]
    return " \\\n  ".join(lines)


def _answers(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Status, what it means, and an example of each answer; refusals without one."""
    for status, answer in operation["responses"].items():
        shape = _resolved(document, answer)
        example = ""
        if status.startswith("2"):
            for content in shape.get("content", {}).values():
                example = example or _example(content)
        if status != "default":
            yield status, _markdown_line(shape["description"]), example


def _read_only(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            return method_not_allowed(request, ["GET", "HEAD"])
        return view(request, *args, **kwargs)

    return shown


@_read_only
def docs(request: HttpRequest) -> HttpResponseBase:
    """The first page, and what was searched for."""
    words = request.GET.get("q", "").strip()[:100]
    found = search(words, request.LANGUAGE_CODE)
    wanted = words.casefold().split()
    operations = [
        (tag, operation)
        for tag, (_about, its) in reference().items()
        for operation in its
        if wanted
        and all(
            word in f"{operation.id} {operation.path} {operation.summary}".casefold()
            for word in wanted
        )
    ]
    context = {"words": words, "found": found, "operations": operations[:20]}
    return _page(request, "docs/index.html", "", context)


@_read_only
def guide_page(request: HttpRequest, name: str) -> HttpResponseBase:
    if name not in GUIDES:
        raise Http404
    return _page(request, "docs/guide.html", name, {"guide": guide(name, request.LANGUAGE_CODE)})


@_read_only
def reference_page(request: HttpRequest, tag: str) -> HttpResponseBase:
    """The operations of a tag; whoever is logged in can try them."""
    if tag not in reference():
        raise Http404
    about, operations = reference()[tag]
    context = {"tag": tag, "about": about, "operations": operations}
    return _page(request, "docs/operations.html", tag, context)


def _page(
    request: HttpRequest, template: str, current: str, context: dict[str, Any]
) -> HttpResponseBase:
    request.member = member_of(request)
    shelf = {
        "guides": [guide(name, request.LANGUAGE_CODE) for name in GUIDES],
        "tags": list(reference()),
        "current": current,
        "here": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, template, {**shelf, **context})
