"""What all request bodies have in common."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class StrictSerializer(serializers.Serializer):
    """A serializer that refuses fields it does not know, by name, instead of ignoring them."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else []
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as exc:
            if unknown and isinstance(exc.detail, dict):
                raise serializers.ValidationError(exc.detail | self._refused(unknown)) from exc
            raise
        if unknown:
            raise serializers.ValidationError(self._refused(unknown))
        return value

    def _refused(self, names: list[str]) -> dict[str, list[str]]:
        known = ", ".join(self.fields)
        return {
            str(name)[:100]: [f"There is no field of this name; there are {known}."]
            for name in names
        }


class ShallowJsonParser(JSONParser):
    """DRF's parser, for which brackets nested without end are unreadable and not our failure."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError as exc:
            raise ParseError("JSON is nested too deeply.") from exc


class PlainText(serializers.CharField):
    """Text without NUL or lone surrogates, which neither PostgreSQL nor UTF-8 can hold."""

    def to_internal_value(self, data: Any) -> str:
        value: str = super().to_internal_value(data)
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise serializers.ValidationError("Contains half of a surrogate pair: not valid text.")
        return value


def metadata_field() -> serializers.DictField:
    """Up to 20 strings of the customer's own, kept and given back as they are."""
    return _Metadata(child=PlainText(max_length=500, allow_blank=True), required=False)


class _Metadata(serializers.DictField):
    def to_internal_value(self, data: Any) -> dict[str, str]:
        value: dict[str, str] = super().to_internal_value(data)
        if len(value) > 20:
            raise serializers.ValidationError("At most 20 metadata entries.")
        name = PlainText(max_length=64)
        return {name.run_validation(key): text for key, text in value.items()}
