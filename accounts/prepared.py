"""Querysets that are asked again and again with other values: written as SQL once.

Django writes a statement anew each time, which for one row takes ten times as long as PostgreSQL does
(measured: 1.2 ms of processor for a job, 0.1 with this). What is asked stays a queryset, with
``.for_tenant`` in it.
"""

import functools
import hashlib
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import orjson
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connection, connections
from django.db.models import JSONField, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.query import get_related_populators
from django.utils import timezone
from psycopg2.extensions import AsIs

from accounts.tenancy import leading_statement

# By the function that builds it, and the kind of its arguments.
statements: dict[Any, "_Statement"] = {}
_lock = threading.RLock()
_PLAN_OUTDATED = "0A000"  # "cached plan must not change result type"
# Where a thread's connection keeps which statements its session with PostgreSQL has got.
_SENT, _NEVER = "_voicereel_prepared", (None, set[str]())


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
        for related in self._related:
            for instance, row in made:
                related.populate(row, instance)
        return [instance for instance, _ in made]

    def values(self, arguments: Sequence[str]) -> list[Any]:
        """Its parameters, with the arguments in their places."""
        return [
            value if place is None else arguments[place]
            for value, place in zip(self.parameters, self.places, strict=True)
        ]

    def in_postgresql(self, database: Any) -> str:
        """What runs the statement, given its arguments.

        Only they are parameters of its plan: one that is made once for all can't know that a condition is
        that of an index, unless it stands there.
        """
        if self._call is None:
            numbered = [
                value if place is None else AsIs(f"${place + 1}")
                for value, place in zip(self.parameters, self.places, strict=True)
            ]
            with database.connection.cursor() as cursor:
                sql = cursor.mogrify(self.sql, numbered).decode()
            count = 1 + max((place for place in self.places if place is not None), default=-1)
            self._call = _Call(sql, count)
        return self._call.known_to(database)

    _call: "_Call | None" = None

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

    @functools.cached_property
    def _related(self) -> list[Any]:
        """What makes those rows' related ones that are read with them."""
        found = self.compiler
        return list(get_related_populators(found.klass_info, found.select, DEFAULT_DB_ALIAS))


def _database() -> Any:
    """This thread's connection: ``connection`` looks for it anew with each word."""
    return connections[DEFAULT_DB_ALIAS]


@functools.cache
def _vendor() -> str:
    """Which database this process has."""
    return str(connection.vendor)


class _Call:
    """A statement that each connection to PostgreSQL is sent once. It keeps the plan: making that takes
    longer than following it.
    """

    def __init__(self, sql: str, parameters: int) -> None:
        self._sql = sql
        self._name = f"voicereel_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
        places = ", ".join(["%s"] * parameters)
        self._execute = f"EXECUTE {self._name}({places})" if places else f"EXECUTE {self._name}"

    def known_to(self, database: Any) -> str:
        """What runs it on a connection, which has got it by then."""
        known: set[str]
        session, known = getattr(database, _SENT, _NEVER)
        if session is not database.connection:
            known = set()
            setattr(database, _SENT, (database.connection, known))
        if self._name not in known:
            with database.cursor() as cursor:
                cursor.execute(f"PREPARE {self._name} AS {self._sql}")
            known.add(self._name)
        return self._execute


def _fetch(database: Any, asked: Sequence[_Statement], arguments: Sequence[str]) -> list[Any]:
    """The rows of the last of some statements. Each sees what was committed before it began."""
    if database.vendor == "postgresql":
        _connect(database)
        calls = [statement.in_postgresql(database) for statement in asked]
        return _sent(database, "; ".join(calls), [*arguments] * len(asked))
    with database.cursor() as cursor:
        for statement in asked:
            cursor.execute(statement.sql, statement.values(arguments))
        return list(cursor.fetchall())


def _connect(database: Any) -> None:
    """As Django does before it makes a cursor."""
    database.close_if_health_check_failed()
    database.ensure_connection()


def _sent(database: Any, sql: str, values: Sequence[Any]) -> list[Any]:
    """Statements in one round trip to PostgreSQL; the rows are the last one's.

    Where nobody but us looks at what is sent, without Django's cursor: making one takes as long as the
    statement does.
    """
    if database.queries_logged or len(database.execute_wrappers) > 1:
        with database.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []
    database.validate_no_broken_transaction()
    with database.wrap_database_errors, database.connection.cursor() as cursor:
        cursor.tzinfo_factory = database.tzinfo_factory
        cursor.execute(leading_statement() + sql, values)
        return list(cursor.fetchall()) if cursor.description else []


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


def as_text(at: datetime) -> str:
    """Likewise, as an argument of what is prepared, which compares it with ``Value(at, CharField())``."""
    return str(as_stored(at))


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
    tables = [(_table_of(cast(Hashable, rows.model)), rows.values) for rows in added]
    if database.vendor == "postgresql":
        _connect(database)
        calls = [table.from_json.known_to(database) for table, _ in tables]
        _sent(database, "; ".join(calls), [table.document(rows) for table, rows in tables])
        return
    with database.cursor() as cursor:
        for table, rows in tables:
            cursor.execute(*table.from_values(rows))


class _Table:
    """How rows of a model are added."""

    def __init__(self, model: type[Model]) -> None:
        self._fields = {
            field.attname: field
            for field in model._meta.concrete_fields
            if not (field.primary_key and field.get_internal_type().endswith("AutoField"))
        }
        self._constant: dict[str, Any] = {}
        self._made: dict[str, Callable[[], Any]] = {}
        for name, field in self._fields.items():
            if getattr(field, "auto_now_add", False):
                self._made[name] = timezone.now
            elif field.has_default() and callable(field.default):
                self._made[name] = field.default
            else:
                self._constant[name] = field.get_default()
        quoted = connection.ops.quote_name
        self._name = quoted(model._meta.db_table)
        self._columns = ", ".join(quoted(field.column) for field in self._fields.values())

    @functools.cached_property
    def from_json(self) -> _Call:
        """Adds the rows of a JSON document: one plan for however many rows, and one parameter to read."""
        source = f"json_populate_recordset(NULL::{self._name}, $1::json)"
        columns = self._columns
        sql = f"INSERT INTO {self._name} ({columns}) SELECT {columns} FROM {source}"  # nosec B608
        return _Call(sql, 1)

    def document(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """That document."""
        return orjson.dumps([self._filled(row) for row in rows], default=_exact).decode()

    def _filled(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """By attribute, which is what a column is called too."""
        filled = {**self._constant, **{name: row[name] for name in row if name in self._fields}}
        for name, make in self._made.items():
            if name not in filled:
                filled[name] = make()
        return filled

    def from_values(self, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        """The statement, and its parameters, for a database that would store JSON's texts as they are."""
        one = f"({', '.join(['%s'] * len(self._fields))})"
        places = ", ".join([one] * len(rows))
        sql = f"INSERT INTO {self._name} ({self._columns}) VALUES {places}"  # nosec B608
        return sql, [
            field.get_db_prep_save(filled[name], connection)
            for filled in map(self._filled, rows)
            for name, field in self._fields.items()
        ]


def _exact(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"not for a document: {type(value).__name__}")


@functools.cache
def _table_of(model: Any) -> _Table:
    return _Table(model)


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
            _vendor(),
            *[str if isinstance(value, str) else value for value in arguments],
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
