"""What all request bodies have in common."""

import json
import re
import unicodedata
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, cast

import orjson
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import MaxLengthValidator, ProhibitNullCharactersValidator
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser, get_encoding
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.formatting import lazy_format
from rest_framework.utils.json import strict_constant
from rest_framework.utils.serializer_helpers import BindingDict
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from voicereel_site.framework_sentences import NOT_JSON

_MOST_NAMED = 100  # unknown fields; somebody who sends a million needs no list of them


def _mistyped(field: serializers.Field, value: Any) -> Any:
    """What is wrong with the JSON type of a field's value, by entry where it has some; None: nothing.

    DRF takes 1 for "1", "1" for 1 and 0 for false. null is left to it, and so are lists and objects so
    long that they are refused for their length or hold what looks at itself.
    """
    match field, value:
        case _, None:
            return None
        case _, (list() | Mapping()) if len(value) > _MOST_NAMED:
            return None
        case serializers.ListField(), list():
            wrong = {i: _mistyped(field.child, entry) for i, entry in enumerate(value)}
            return {i: error for i, error in wrong.items() if error} or None
        case serializers.DictField(), Mapping():
            wrong = {k: _mistyped(field.child, entry) for k, entry in value.items()}
            return {k: error for k, error in wrong.items() if error} or None
        case serializers.BooleanField(), _:
            right, expected = isinstance(value, bool), _BOOLEAN
        case ((serializers.IntegerField() | serializers.FloatField()), _):
            right, expected = type(value) in (int, float), _NUMBER
        case serializers.ChoiceField(), _:
            right, expected = any(type(value) is type(key) for key in field.choices), _CHOICE
        case ((serializers.CharField() | serializers.DateTimeField()), _):
            right, expected = isinstance(value, str), _STRING
        case _:
            return None
    if right:
        return None
    return [str(expected) % {"choices": ", ".join(map(str, getattr(field, "choices", ())))}]


_BOOLEAN = gettext_lazy("Send true or false.")
_NUMBER = gettext_lazy("Send a number.")
_STRING = gettext_lazy("Send a string.")
_CHOICE = gettext_lazy("Send one of these: %(choices)s.")


class StrictSerializer(serializers.Serializer):
    """A serializer that refuses fields it does not know, by name, instead of ignoring them, and JSON
    values of another type than the document says.
    """

    # Query strings and forms have no types: there, "1" is a number.
    is_json = True

    @property
    def fields(self) -> BindingDict:
        """Those of the class, for all of its instances: DRF copies them for each, which takes longer than
        validating a script. They are given values and keep none.
        """
        return _fields_of(cast(Hashable, type(self)))

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if self.validators or not isinstance(data, Mapping):
            return super().run_validation(data)
        # As DRF does it for a serializer without validators of its own, for whose sake it copies all.
        value = self.to_internal_value(data)
        try:
            return self.validate(value)
        except (serializers.ValidationError, DjangoValidationError) as exc:
            raise serializers.ValidationError(serializers.as_serializer_error(exc)) from exc

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        plan = _plan_of(cast(Hashable, type(self)))
        value: dict[str, Any] = {}
        errors: dict[Any, Any] = {}
        if unknown := data.keys() - plan.keys():
            errors |= self._refused(sorted(unknown))
        for name, (field, may_be_left_out, check, right_type) in plan.items():
            given = data.get(name, serializers.empty)
            is_given = given is not serializers.empty
            if not is_given and may_be_left_out:
                continue
            try:
                if (
                    is_given
                    and type(given) is not right_type
                    and self.is_json
                    and (wrong := _mistyped(field, given))
                ):
                    raise serializers.ValidationError(wrong)
                validated = field.run_validation(given)
                if check is not None:
                    validated = check(self, validated)
            except serializers.ValidationError as exc:
                errors[name] = exc.detail
            except DjangoValidationError as exc:
                errors[name] = serializers.get_error_detail(exc)
            except serializers.SkipField:
                pass
            else:
                self.set_value(value, field.source_attrs, validated)
        if errors:
            raise serializers.ValidationError(errors)
        return value

    def _refused(self, names: list[str]) -> dict[str, list[str]]:
        detail = _("There is no field of this name; there are %(known)s.")
        detail %= {"known": ", ".join(self.fields)}
        return {str(name)[:100]: [detail] for name in names[:_MOST_NAMED]}


@cache
def _fields_of(shape: Callable[[], StrictSerializer]) -> BindingDict:
    template = shape()
    fields = BindingDict(template)
    for name, field in template.get_fields().items():
        fields[name] = field
        _let_speak(field)
    return fields


def _let_speak(field: serializers.Field) -> None:
    """Have a field's limits refuse in the language of each request: DRF formats their messages once, in
    that of the first, and means a field to last for one.
    """
    for validator in field.validators:
        message = getattr(validator, "message", None)
        if isinstance(message, lazy_format) and message.result is None:
            validator.message = format_lazy(message.format_string, *message.args, **message.kwargs)
    child = getattr(field, "child", None)
    if child is not None and not isinstance(child, serializers.BaseSerializer):
        _let_speak(child)


@cache
def _plan_of(
    shape: Callable[[], StrictSerializer],
) -> dict[str, tuple[serializers.Field, bool, Callable[[Any, Any], Any] | None, type | None]]:
    """By name of those that are taken: the field, whether nothing comes of its absence, the class's own
    ``validate_<name>``, and a type whose values need no look at theirs.
    """
    return {
        name: (
            field,
            not field.required and field.default is serializers.empty,
            getattr(shape, f"validate_{name}", None),
            str if isinstance(field, serializers.CharField) else None,
        )
        for name, field in _fields_of(cast(Hashable, shape)).items()
        if not field.read_only
    }


# The longest script may consist of brackets. A million empty objects would take 100 MB of memory.
_MOST_BRACKETS = 210_000


class BoundedJsonParser(JSONParser):
    """DRF's parser with an end: of bytes, which DRF reads past Django's limit, of depth, of objects."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        meta = (parser_context or {})["request"].META
        # What is declared is all that can be read: Django reads no further.
        if int(meta.get("CONTENT_LENGTH") or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        body = stream.read()
        if body.count(b"{") + body.count(b"[") > _MOST_BRACKETS:
            raise ParseError(_("JSON has more objects and lists than any request needs."))
        encoding = get_encoding(parser_context or {})
        try:
            return _DECODER.decode(body.decode(encoding))
        except ValueError as exc:
            raise ParseError(NOT_JSON % {"error": exc}) from exc
        except RecursionError as exc:
            raise ParseError(_("JSON is nested too deeply.")) from exc


# Begun once; with numbers that JSON knows.
_DECODER = json.JSONDecoder(parse_constant=strict_constant)


def as_json(data: Any) -> bytes:
    """What the API answers, in UTF-8; moments are as RFC 3339 has them, in UTC."""
    return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)


class JsonRenderer(JSONRenderer):
    """JSON that is written by orjson: DRF's own way takes twenty times as long."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else as_json(data)


class BoundedList(serializers.ListField):
    """A list whose length is looked at first: DRF validates a million entries and then counts them."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and len(data) > self.max_length:
            raise serializers.ValidationError(
                _("At most %(count)s entries.") % {"count": self.max_length}
            )
        value: list[Any] = super().to_internal_value(data)
        return value


class EncodableText(serializers.CharField):
    """Text without NUL or lone surrogates, which neither PostgreSQL nor UTF-8 can hold."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # It looks at each character in Python for what encoding finds at once.
        self.validators: list[Any] = [
            one
            for one in self.validators
            if not isinstance(one, ProhibitSurrogateCharactersValidator)
        ]
        # Whether a text is right that is not too long, has something in it, and no NUL.
        self._has_few_rules = self.max_length is not None and all(
            isinstance(one, (MaxLengthValidator, ProhibitNullCharactersValidator))
            for one in self.validators
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """As DRF has it, which takes five times as long and is asked where something may be wrong."""
        is_text = type(data) is str and data and not data.isspace() and "\0" not in data
        if is_text and self._has_few_rules:
            value = self.to_internal_value(data)
            if value and len(value) <= self.max_length:
                return value
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        value: str = super().to_internal_value(data)
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise serializers.ValidationError(
                _("Contains half of a surrogate pair: not valid text.")
            ) from exc
        return value


# What is neither seen nor heard, and can make two texts look alike or a text look like another:
# control characters but for tab and line ends; soft hyphen; Arabic letter mark; zero-width space and
# the direction marks; line and paragraph separators; bidirectional embeddings, overrides and
# isolates; word joiner and invisible operators; byte-order mark; interlinear marks; tags. The
# joiners U+200C and U+200D stay: Persian, Hindi and emoji are written with them. After "Trojan
# Source" (Boucher and Anderson 2021) and UTS #39, section 5.4.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


class SpokenText(EncodableText):
    """Text to be spoken and shown: without invisible characters, composed (NFC).

    They come with what is pasted from web pages and word processors, so they are taken out rather
    than refused. Decomposed Korean, as macOS writes file names, becomes syllables again.
    """

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and "\0" not in data:
            data = unicodedata.normalize("NFC", _INVISIBLE.sub("", data))
        return super().run_validation(data)


class PhraseText(SpokenText):
    """Some words to be spoken: on one line, white space evened, with a letter or digit to say."""

    def to_internal_value(self, data: Any) -> str:
        value = " ".join(super().to_internal_value(data).split())
        if not any(character.isalnum() for character in value):
            raise serializers.ValidationError(_("Has neither a letter nor a digit to be spoken."))
        return value


class NameText(EncodableText):
    """A name or title: one line without invisible characters, refused so that names stay distinct."""

    def to_internal_value(self, data: Any) -> str:
        value = unicodedata.normalize("NFC", super().to_internal_value(data))
        if found := _INVISIBLE.search(value) or re.search(r"[\t\r\n]", value):
            raise serializers.ValidationError(
                _("Contains the invisible character %(character)s. Leave it out.")
                % {"character": f"U+{ord(found.group()):04X}"}
            )
        if value and not any(unicodedata.category(c)[0] in "LNPSM" for c in value):
            raise serializers.ValidationError(_("Has nothing that can be seen."))
        return value


def speed_field(**options: Any) -> serializers.FloatField:
    """How fast something is spoken, beside how the voice does: from half to twice as fast."""
    return serializers.FloatField(min_value=0.5, max_value=2.0, required=False, **options)


def metadata_field() -> serializers.DictField:
    """Up to 20 strings of the customer's own, kept and given back as they are."""
    return _Metadata(child=EncodableText(max_length=500, allow_blank=True), required=False)


class _Metadata(serializers.DictField):
    def to_internal_value(self, data: Any) -> dict[str, str]:
        if isinstance(data, Mapping) and len(data) > 20:
            raise serializers.ValidationError(_("At most 20 metadata entries."))
        value: dict[str, str] = super().to_internal_value(data)
        name = EncodableText(max_length=64)
        return {name.run_validation(key): text for key, text in value.items()}
