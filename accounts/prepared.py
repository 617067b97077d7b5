"""Querysets that are asked again and again with other values: written as SQL once.

Django writes a statement anew each time, which for one row takes ten times as long as PostgreSQL does
(measured: 1.2 ms of processor for a job, 0.1 with this). What is asked stays a queryset, with
``.for_tenant`` in it.
"""

import functools
import hashlib
import re
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from weakref import WeakKeyDictionary

import orjson
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connection, connections
from django.db.models import JSONField, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.query import get_related_populators
from django.utils import timezone

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

    def rows(self, arguments: Sequence[str], before: "_Statement | None" = None) -> list[Any]:
        """As Django's own ModelIterable makes them of what the database answers.

        before: asked in the same round trip, with the same arguments.
        """
        asked = [self] if before is None else [before, self]
        database = _database()
        try:
            found = _fetch(database, asked, arguments)
        except NotSupportedError as exc:
            if getattr(exc.__cause__, "pgcode", None) != _PLAN_OUTDATED:
                raise
            # A migration has changed a column meanwhile: the next connection plans anew.
            if database.in_atomic_block:
                database.close_at = 0.0  # at the request's end
                raise
            database.close()
            found = _fetch(database, asked, arguments)
        if not found or self.is_plain:
            return list(found)
        first, last, names, converters, annotations = self._shape
        made = []
        alias = database.alias
        for raw in found:
            row = list(raw)
            for column, conversions, expression in converters:
                for convert in conversions:
                    row[column] = convert(row[column], expression, database)
            made.append((_instance(self.model, alias, names, row[first:last]), row))
        for name, column in annotations:
            for instance, row in made:
                setattr(instance, name, row[column])
        for related in get_related_populators(
            self.compiler.klass_info, self.compiler.select, database.alias
        ):
            for instance, row in made:
                related.populate(row, instance)
        return [instance for instance, _ in made]

    def values(self, arguments: Sequence[str]) -> list[Any]:
        """Its parameters, with the arguments in their places."""
        return [
            value if place is None else arguments[place]
            for value, place in zip(self.parameters, self.places, strict=True)
        ]

    def ready(self, database: Any) -> str:
        """What runs the statement. On PostgreSQL it is sent to each connection once, which keeps its plan:
        making that takes longer than following it.
        """
        if database.vendor != "postgresql":
            return self.sql
        database.ensure_connection()
        known = _known_to.setdefault(database.connection, set())
        if self.name not in known:
            numbers = iter(range(1, len(self.parameters) + 1))
            numbered = _PLACEHOLDER.sub(lambda _: f"${next(numbers)}", self.sql)
            with database.cursor() as cursor:
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


def _database() -> Any:
    """This thread's connection: ``connection`` looks for it anew with each word."""
    return connections[DEFAULT_DB_ALIAS]


def _fetch(database: Any, asked: Sequence[_Statement], arguments: Sequence[str]) -> list[Any]:
    """The rows of the last of some statements. Each sees what was committed before it began."""
    sql = [statement.ready(database) for statement in asked]
    values = [statement.values(arguments) for statement in asked]
    with database.cursor() as cursor:
        _execute(database, cursor, sql, values)
        return list(cursor.fetchall())


def _execute(database: Any, cursor: Any, sql: Sequence[str], values: Sequence[list[Any]]) -> None:
    """Statements one after another, on PostgreSQL in one round trip; their rows are the last one's."""
    if database.vendor == "postgresql":
        cursor.execute("; ".join(sql), [value for one in values for value in one])
    else:
        for statement, parameters in zip(sql, values, strict=True):
            cursor.execute(statement, parameters)


def _instance(model: type[Model], alias: str, names: Sequence[str], values: Sequence[Any]) -> Model:
    """As Model.from_db has it, less its signals, which nobody here receives, and its care for what is
    missing: it takes five times as long, and a page has twenty.
    """
    instance: Model = object.__new__(model)
    instance.__dict__.update(zip(names, values, strict=True))
    state = ModelState()
    state.adding, state.db = False, alias
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


@dataclass(frozen=True)
class NewRows:
    """Rows to be added. values: of each, by attribute, of those columns that do not have their defaults."""

    model: type[Model]
    values: Sequence[Mapping[str, Any]]


def insert_rows(*added: NewRows) -> None:
    """Add rows, of each model in one statement, all in one round trip; what the database would number
    keeps no number.

    Django's bulk_create does more, such as asking for keys, and takes five times as long.
    """
    database = _database()
    sql, values = [], []
    for rows in added:
        columns, names = _columns_of(cast(Hashable, rows.model))
        one = f"({', '.join(['%s'] * len(columns))})"
        table = database.ops.quote_name(rows.model._meta.db_table)
        places = ", ".join([one] * len(rows.values))
        sql.append(f"INSERT INTO {table} ({names}) VALUES {places}")  # nosec B608
        values.append([column.stored(row) for row in rows.values for column in columns])
    with database.cursor() as cursor:
        _execute(database, cursor, sql, values)


# What a value of is stored as it is. Others, such as those of enumerations, Django looks at.
_PLAIN = frozenset({str, int, float, bool, type(None)})
_OF_PLAIN = frozenset({"CharField", "TextField", "BooleanField", "FloatField"})


class _Column:
    """How a column's value is stored."""

    def __init__(self, field: Any) -> None:
        self._field, self._name = field, field.attname
        self._default = timezone.now if getattr(field, "auto_now_add", False) else field.get_default
        kind = getattr(field, "target_field", field).get_internal_type()
        self._is_plain = kind in _OF_PLAIN or kind.endswith("IntegerField")
        self._is_json = isinstance(field, JSONField) and field.encoder is None

    def stored(self, row: Mapping[str, Any]) -> Any:
        """What a statement is given."""
        name = self._name
        value = row[name] if name in row else self._default()
        if self._is_plain and type(value) in _PLAIN:
            return value
        if self._is_json and value is not None:
            return orjson.dumps(value).decode()
        return self._field.get_db_prep_save(value, connection)


@functools.cache
def _columns_of(model: Any) -> tuple[list[_Column], str]:
    fields = [
        field
        for field in model._meta.concrete_fields
        if not (field.primary_key and field.get_internal_type().endswith("AutoField"))
    ]
    names = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    return [_Column(field) for field in fields], names


class Prepared:
    """A function that builds a queryset, as one that returns its rows."""

    def __init__(self, build: Callable[..., QuerySet]) -> None:
        functools.update_wrapper(self, build)
        self._build = build

    def __call__(self, *arguments: str | int) -> list[Any]:
        return self._statement(arguments).rows(_texts_of(arguments))

    def after(self, before: "Prepared", *arguments: str) -> list[Any]:
        """The rows of this, having asked for those of another in the same round trip, such as to hold
        them. Both take the same arguments.
        """
        earlier = before._statement(arguments)
        return self._statement(arguments).rows(arguments, earlier)

    def _statement(self, arguments: Sequence[str | int]) -> _Statement:
        kind = (
            self._build,
            _database().vendor,
            *(str if isinstance(value, str) else value for value in arguments),
        )
        statement = statements.get(kind)
        if statement is None:
            with _lock:
                count = len(_texts_of(arguments))
                marks = [f"<{n} of {self._build.__qualname__}>" for n in range(count)]
                left = iter(marks)
                asked = [next(left) if isinstance(v, str) else v for v in arguments]
                statement = statements[kind] = _Statement.of(self._build(*asked), marks)
        return statement


def _texts_of(arguments: Sequence[str | int]) -> list[str]:
    return [value for value in arguments if isinstance(value, str)]


def prepared(build: Callable[..., QuerySet]) -> Prepared:
    """Make a function that builds a queryset one that returns its rows.

    Its arguments: texts, which may differ each time and stand in the statement as they are; numbers and
    truths, for each of which, and for each count of texts, there is a statement of its own.

    >>> @prepared
    ... def _job(tenant_id: str, job_id: str) -> QuerySet[Job]:
    ...     return Job.objects.for_tenant(tenant_id).filter(pk=job_id)
    """
    return Prepared(build)
