"""Querysets that are asked again and again with other values: written as SQL once.

Django writes a statement anew each time, which for one row takes ten times as long as PostgreSQL does
(measured: 1.2 ms of processor for a job, 0.1 with this). What is asked stays a queryset, with
``.for_tenant`` in it.
"""

import functools
import hashlib
import re
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from weakref import WeakKeyDictionary

import orjson
from django.db import NotSupportedError, connection
from django.db.models import JSONField, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.query import get_related_populators

# By the function that builds it, and the kind of its arguments.
statements: dict[Any, "_Statement"] = {}
_lock = threading.RLock()
_PLAN_OUTDATED = "0A000"  # "cached plan must not change result type"
_PLACEHOLDER = re.compile("%s")
# Which statements each connection to PostgreSQL has got.
_known_to: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


@dataclass
class _Statement:
    """SQL, where in its parameters the arguments go, and what makes a row of its answer."""

    sql: str
    parameters: Sequence[Any]
    places: Sequence[int | None]  # by parameter: the number of the argument, or None
    compiler: Any
    model: type[Model]
    is_plain: bool  # values, not instances

    @classmethod
    def of(cls, rows: QuerySet, marks: Sequence[str]) -> "_Statement":
        compiler = rows.query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        number_of = {mark: number for number, mark in enumerate(marks)}
        places = [number_of.get(value) if isinstance(value, str) else None for value in parameters]
        if set(places) - {None} != set(number_of.values()):
            raise ValueError(f"not all arguments are in the statement as they are: {sql}")
        return cls(sql, parameters, places, compiler, rows.model, rows._fields is not None)

    def rows(self, arguments: Sequence[str]) -> list[Any]:
        """As Django's own ModelIterable makes them of what the database answers."""
        values = [
            value if place is None else arguments[place]
            for value, place in zip(self.parameters, self.places, strict=True)
        ]
        try:
            found = self._fetch(values)
        except NotSupportedError as exc:
            if getattr(exc.__cause__, "pgcode", None) != _PLAN_OUTDATED:
                raise
            # A migration has changed a column meanwhile: the next connection plans anew.
            if connection.in_atomic_block:
                connection.close_at = 0.0  # at the request's end
                raise
            connection.close()
            found = self._fetch(values)
        if not found or self.is_plain:
            return list(found)
        first, last, names, converters, annotations = self._shape
        made = []
        for raw in found:
            row = list(raw)
            for column, conversions, expression in converters:
                for convert in conversions:
                    row[column] = convert(row[column], expression, connection)
            made.append((_instance(self.model, names, row[first:last]), row))
        for name, column in annotations:
            for instance, row in made:
                setattr(instance, name, row[column])
        for related in get_related_populators(
            self.compiler.klass_info, self.compiler.select, connection.alias
        ):
            for instance, row in made:
                related.populate(row, instance)
        return [instance for instance, _ in made]

    def _fetch(self, values: Sequence[Any]) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(self._ready(), values)
            return list(cursor.fetchall())

    def _ready(self) -> str:
        """What runs the statement. On PostgreSQL it is sent to each connection once, which keeps its plan:
        making that takes longer than following it.
        """
        if connection.vendor != "postgresql":
            return self.sql
        connection.ensure_connection()
        known = _known_to.setdefault(connection.connection, set())
        if self.name not in known:
            numbers = iter(range(1, len(self.parameters) + 1))
            numbered = _PLACEHOLDER.sub(lambda _: f"${next(numbers)}", self.sql)
            with connection.cursor() as cursor:
                cursor.execute(f"PREPARE {self.name} AS {numbered}")
            known.add(self.name)
        return f"EXECUTE {self.name}({', '.join(['%s'] * len(self.parameters))})"

    @functools.cached_property
    def name(self) -> str:
        """What PostgreSQL calls it."""
        return f"voicereel_{hashlib.sha256(self.sql.encode()).hexdigest()[:16]}"

    @functools.cached_property
    def _shape(self) -> tuple[int, int, list[str], list[Any], list[tuple[str, int]]]:
        compiler = self.compiler
        fields = compiler.klass_info["select_fields"]
        first, last = fields[0], fields[-1] + 1
        names = [column[0].target.attname for column in compiler.select[first:last]]
        converters = compiler.get_converters([column[0] for column in compiler.select])
        return (
            first,
            last,
            names,
            [
                (column, [_quicker(convert) for convert in found[0]], found[1])
                for column, found in converters.items()
            ],
            list(compiler.annotation_col_map.items()),
        )


def _instance(model: type[Model], names: Sequence[str], values: Sequence[Any]) -> Model:
    """As Model.from_db has it, less its signals, which nobody here receives, and its care for what is
    missing: it takes five times as long, and a page has twenty.
    """
    instance: Model = object.__new__(model)
    instance.__dict__.update(zip(names, values, strict=True))
    state = ModelState()
    state.adding, state.db = False, connection.alias
    instance._state = state
    return instance


def _quicker(convert: Callable[..., Any]) -> Callable[..., Any]:
    """A column's converter; of JSON, one that is not written in Python."""
    field = getattr(convert, "__self__", None)
    if isinstance(field, JSONField) and field.decoder is None:
        return _from_json
    return convert


def _from_json(value: str | None, *_: Any) -> Any:
    return None if value is None else orjson.loads(value)


def as_stored(at: datetime) -> Any:
    """An instant as a statement that is written by hand has to give it: SQLite compares texts."""
    return connection.ops.adapt_datetimefield_value(at)


def insert_rows(rows: Sequence[Model]) -> None:
    """Add rows of one model in one statement; what the database would number keeps no number.

    Django's bulk_create does more, such as asking for keys, and takes five times as long.
    """
    model = type(rows[0])
    columns, names = _columns_of(cast(Hashable, model))
    values: list[Any] = []
    for row in rows:
        for column in columns:
            values.append(column.get_db_prep_save(column.pre_save(row, True), connection))
    one = f"({', '.join(['%s'] * len(columns))})"
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) VALUES {', '.join([one] * len(rows))}",  # nosec B608
            values,
        )
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


@functools.cache
def _columns_of(model: Any) -> tuple[list[Any], str]:
    columns = [
        column
        for column in model._meta.concrete_fields
        if not (column.primary_key and column.get_internal_type().endswith("AutoField"))
    ]
    return columns, ", ".join(connection.ops.quote_name(column.column) for column in columns)


def prepared(build: Callable[..., QuerySet]) -> Callable[..., list[Any]]:
    """Make a function that builds a queryset one that returns its rows.

    Its arguments: texts, which may differ each time and stand in the statement as they are; numbers and
    truths, for each of which, and for each count of texts, there is a statement of its own.

    >>> @prepared
    ... def _job(tenant_id: str, job_id: str) -> QuerySet[Job]:
    ...     return Job.objects.for_tenant(tenant_id).filter(pk=job_id)
    """

    @functools.wraps(build)
    def rows(*arguments: str | int) -> list[Any]:
        texts = [value for value in arguments if isinstance(value, str)]
        kind = (
            build,
            connection.vendor,
            *(str if isinstance(value, str) else value for value in arguments),
        )
        statement = statements.get(kind)
        if statement is None:
            with _lock:
                marks = [f"<{number} of {build.__qualname__}>" for number in range(len(texts))]
                left = iter(marks)
                asked = [next(left) if isinstance(v, str) else v for v in arguments]
                statement = statements[kind] = _Statement.of(build(*asked), marks)
        return statement.rows(texts)

    return rows
