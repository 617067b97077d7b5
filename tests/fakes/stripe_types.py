"""Holds requests to the types that Stripe's own library ships: what that library would not type, the real
service would refuse.

Forms have texts alone, so a number is a text of digits here. Where the library writes an enumeration as
``Literal[...] | str``, the literal values are the ones that count.
"""

import builtins
import sys
import types
import typing
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, ForwardRef, Literal, get_args, get_origin

from stripe._request_options import RequestOptions
from typing_extensions import is_typeddict

_SENT_ASIDE = set(RequestOptions.__annotations__)  # headers, and not of the body


class _Untyped:
    def __class_getitem__(cls, item: Any) -> type:
        return dict


class NotAsTyped(Exception):
    """A request that Stripe would refuse: where, and why."""


def check(params: type, given: dict[str, Any]) -> None:
    """Raises NotAsTyped for unknown and missing fields, other types, and values that are none of an
    enumeration's.
    """
    _check_fields(params, given, "")


@cache
def _fields(params: type) -> dict[str, tuple[Any, bool]]:
    """Of a TypedDict: each field's type, and whether it has to be there."""
    module = vars(sys.modules[params.__module__])
    names = {**vars(builtins), **vars(typing), **module}
    names |= {"UntypedStripeObject": _Untyped, "StripeContext": str, "Decimal": Decimal}
    found = {}
    for name, annotation in params.__annotations__.items():
        if name in _SENT_ASIDE:
            continue
        kind = _evaluated(annotation, names)
        is_needed = get_origin(kind) is not typing.NotRequired
        if not is_needed:
            kind = get_args(kind)[0]
        found[name.rstrip("_") if name != "_" else name] = (_deep(kind, names), is_needed)
    return found


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return eval(annotation, names)  # nosec B307 - Stripe's own source
    return annotation


def _deep(kind: Any, names: dict[str, Any]) -> Any:
    """A type whose parts are no names any more."""
    kind = _evaluated(kind, names)
    arguments = get_args(kind)
    if not arguments or get_origin(kind) is Literal:
        return kind
    parts = tuple(_deep(part, names) for part in arguments)
    if get_origin(kind) in (typing.Union, types.UnionType):
        return typing.Union[parts]  # noqa: UP007 - made of a list
    return get_origin(kind)[parts]


def _check_fields(params: type, given: Any, at: str) -> None:
    if not isinstance(given, dict):
        raise NotAsTyped(f"{at}: is no object")
    fields = _fields(params)
    for name in given:
        if name not in fields:
            raise NotAsTyped(f"Received unknown parameter: {at}{name}")
    for name, (kind, is_needed) in fields.items():
        if name in given:
            _check(kind, given[name], f"{at}{name}")
        elif is_needed:
            raise NotAsTyped(f"Missing required param: {at}{name}.")


def _check(kind: Any, value: Any, at: str) -> None:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        _check_any(arguments, value, at)
    elif origin is Literal:
        if value not in arguments:
            raise NotAsTyped(f"Invalid {at}: must be one of {', '.join(map(str, arguments))}")
    elif origin is list:
        if not isinstance(value, list):
            raise NotAsTyped(f"Invalid array: {at}")
        for index, entry in enumerate(value):
            _check(arguments[0], entry, f"{at}[{index}]")
    elif origin is dict or kind is dict:
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise NotAsTyped(f"Invalid hash: {at}")
    elif is_typeddict(kind):
        _check_fields(kind, value, f"{at}.")
    elif kind is int:
        if not (isinstance(value, str) and value.lstrip("-").isdecimal()):
            raise NotAsTyped(f"Invalid integer: {at}")
    elif kind is bool:
        if value not in ("true", "false"):
            raise NotAsTyped(f"Invalid boolean: {at}")
    elif kind in (float, Decimal):
        try:
            Decimal(value)
        except (InvalidOperation, TypeError) as exc:
            raise NotAsTyped(f"Invalid decimal: {at}") from exc
    elif kind is str and not isinstance(value, str):
        raise NotAsTyped(f"Invalid string: {at}")


def _check_any(kinds: tuple[Any, ...], value: Any, at: str) -> None:
    enumerated = any(get_origin(kind) is Literal and get_args(kind) != ("",) for kind in kinds)
    wrong = []
    for kind in kinds:
        if kind is str and enumerated:
            continue
        try:
            _check(kind, value, at)
        except NotAsTyped as exc:
            wrong.append(exc)
        else:
            return
    raise wrong[-1]
