"""Every kind of row that is a tenant's, so that what is built later is exported and erased too."""

from collections.abc import Iterator

from django.apps import apps
from django.db.models import BinaryField, ForeignKey, Model, QuerySet

from accounts.models import Erasure, Tenant

# Of no use to whoever they are about: what keys and texts are checked by.
_NOT_EXPORTED = {"digest", "fingerprint"}


def models_of_tenants() -> list[type[Model]]:
    """Models whose rows say whose they are, such that a row comes before what it points to.

    An erasure says so too and is none of them: it outlives the tenant.
    """
    found = [
        model
        for model in apps.get_models()
        if model is not Erasure and any(f.attname == "tenant_id" for f in model._meta.fields)
    ]
    ordered: list[type[Model]] = []
    while found:
        pointed_to = {
            target for model in found for target in _targets(model) if target is not model
        }
        free = [model for model in found if model not in pointed_to]
        assert free, "models of tenants point to each other in a circle"
        ordered += free
        found = [model for model in found if model in pointed_to]
    return ordered


def _targets(model: type[Model]) -> Iterator[type[Model]]:
    for field in model._meta.fields:
        if isinstance(field, ForeignKey):
            yield field.related_model


def rows_of(model: type[Model], tenant_id: str) -> QuerySet:
    """A model's rows of a tenant."""
    return model._default_manager.filter(tenant_id=tenant_id)


def exported_fields(model: type[Model]) -> list[str]:
    """The columns that go into an export: all but secrets, whose owner has them or never had."""
    return [
        field.attname
        for field in model._meta.fields
        if not isinstance(field, BinaryField) and field.name not in _NOT_EXPORTED
    ]


def kind_of(model: type[Model]) -> str:
    """A model's name in exports and proofs, such as ``reference_clip``."""
    name = model.__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def tenant_fields() -> list[str]:
    return [field.attname for field in Tenant._meta.fields]
