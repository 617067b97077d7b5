"""A tenant's pronunciation dictionary: what it takes, gives back and refuses."""

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection

from synthesis.models import Pronunciation
from synthesis.pronunciations import pronunciations_of, replace_pronunciations
from tests.conftest import Api

PATH = "/v1/pronunciations"

Entry = dict[str, Any]


def entry(written: Any = "SQL", spoken: Any = "sequel", language: Any = "en") -> Entry:
    return {"language": language, "written": written, "spoken": spoken}


def put(api: Api, *entries: Any) -> Any:
    return api.put(PATH, {"entries": entries})


def stored(api: Api) -> list[Entry]:
    shown: dict[str, list[Entry]] = api.get(PATH).json()
    assert list(shown) == ["entries"]
    return shown["entries"]


def refused_at(reply: Any) -> list[str]:
    """The pointers of a refusal."""
    assert reply.status_code == 422, reply.content
    assert reply.json()["code"] == "validation_error"
    return [error["pointer"] for error in reply.json()["errors"]]


def test_a_tenant_begins_with_an_empty_dictionary(alder: Api) -> None:
    reply = alder.get(PATH)
    assert (reply.status_code, reply.json()) == (200, {"entries": []})


def test_what_is_put_is_given_back_in_the_order_of_a_dictionary(alder: Api) -> None:
    reply = put(
        alder,
        entry("SQL", "에스큐엘", "ko"),
        entry("Zürich", "zoorick"),
        entry("Éire", "air-uh"),
        entry("nginx", "engine x"),
        entry("GIF", "jif"),
    )
    expected = [
        entry("GIF", "jif"),
        entry("nginx", "engine x"),
        entry("Zürich", "zoorick"),
        entry("Éire", "air-uh"),
        entry("SQL", "에스큐엘", "ko"),
    ]
    assert (reply.status_code, reply.json()) == (200, {"entries": expected})
    assert stored(alder) == expected


def test_a_put_replaces_the_whole_dictionary(alder: Api) -> None:
    put(alder, entry("SQL"), entry("GIF", "jif"))
    put(alder, entry("GIF", "giff"), entry("nginx", "engine x"))
    assert stored(alder) == [entry("GIF", "giff"), entry("nginx", "engine x")]
    # The same once more is no clash with itself.
    assert put(alder, *stored(alder)).json()["entries"] == stored(alder)
    assert put(alder).status_code == 200
    assert stored(alder) == []


def test_each_tenant_has_a_dictionary_of_its_own(alder: Api, birch: Api) -> None:
    put(alder, entry("SQL", "sequel"))
    assert stored(birch) == []
    put(birch, entry("SQL", "squeal"))
    assert stored(alder) == [entry("SQL", "sequel")]
    put(birch)
    assert stored(alder) == [entry("SQL", "sequel")]
    assert pronunciations_of(birch.tenant, "en") == {}


def test_a_language_gives_its_entries_whatever_its_region(alder: Api, birch: Api) -> None:
    put(alder, entry("SQL"), entry("GIF", "jif"), entry("SQL", "에스큐엘", "ko"))
    put(birch, entry("URL", "earl"))
    for language in ("en", "en-US", "en-GB"):
        assert pronunciations_of(alder.tenant, language) == {"SQL": "sequel", "GIF": "jif"}
    assert pronunciations_of(alder.tenant, "ko-KR") == {"SQL": "에스큐엘"}
    assert pronunciations_of(alder.tenant, "ja") == {}


def test_texts_are_kept_composed_on_one_line_and_without_what_is_not_seen(alder: Api) -> None:
    decomposed = unicodedata.normalize("NFD", "김지민")
    put(
        alder,
        entry(decomposed, unicodedata.normalize("NFD", "김 지민"), "ko"),
        entry("  New\u00a0\t York\u200b\n City ", "\ufeffnoo\r\nyawk  city\x07"),
    )
    assert stored(alder) == [
        entry("New York City", "noo yawk city"),
        entry("김지민", "김 지민", "ko"),
    ]


def test_texts_of_the_longest_length_are_taken(alder: Api) -> None:
    # Case folding makes three letters of this one.
    longest = [entry("ﬃ" * 64, "x" * 200), entry(f" {'가' * 64} ", "나" * 200, "ko")]
    assert put(alder, *longest).status_code == 200
    assert stored(alder) == [longest[0], entry("가" * 64, "나" * 200, "ko")]


def test_a_thousand_entries_are_taken_and_no_more(alder: Api) -> None:
    entries = [entry(f"word{n:04}", f"spoken {n}") for n in range(1001)]
    assert put(alder, *entries[:1000]).status_code == 200
    reply = put(alder, *entries)
    assert refused_at(reply) == ["/entries"]
    assert "1000" in reply.json()["detail"]
    assert stored(alder) == entries[:1000]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        (entry(written="x" * 65), "/written"),
        (entry(spoken="x" * 201), "/spoken"),
        (entry(written=""), "/written"),
        (entry(spoken=" \u200b "), "/spoken"),
        (entry(written="→"), "/written"),
        (entry(spoken="...!"), "/spoken"),
        (entry(written="a\0b"), "/written"),
        (entry(spoken="a\ud800b"), "/spoken"),
        (entry(written=None), "/written"),
        (entry(spoken=["jif"]), "/spoken"),
        (entry(language="en-US"), "/language"),
        (entry(language="EN"), "/language"),
        (entry(language="english"), "/language"),
        (entry(language=""), "/language"),
        (entry() | {"alphabet": "ipa"}, "/alphabet"),
        ({"language": "en", "written": "SQL"}, "/spoken"),
        ("SQL", ""),
        (None, ""),
    ],
)
def test_a_wrong_entry_is_pointed_at_and_nothing_is_changed(
    alder: Api, wrong: Any, pointer: str
) -> None:
    put(alder, entry("GIF", "jif"))
    reply = put(alder, entry("one", "wun"), entry("two", "too"), wrong, entry("four", "for"))
    assert refused_at(reply) == [f"/entries/2{pointer}"]
    assert stored(alder) == [entry("GIF", "jif")]


def test_a_language_with_a_region_is_told_what_to_write(alder: Api) -> None:
    [error] = put(alder, entry(language="en-US")).json()["errors"]
    assert "without a region, such as en or ko" in error["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/entries"),
        ({"entries": None}, "/entries"),
        ({"entries": {"SQL": "sequel"}}, "/entries"),
        ({"entries": [], "language": "en"}, "/language"),
        ([], ""),
    ],
)
def test_a_body_of_another_shape_is_refused(alder: Api, body: Any, pointer: str) -> None:
    put(alder, entry())
    assert refused_at(alder.put(PATH, body)) == [pointer]
    assert stored(alder) == [entry()]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SQL", "SQL"),
        ("SQL", "sql"),
        ("ÉCOLE", "école"),
        ("STRASSE", "Straße"),
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ", "οδοσ"),
        ("ΜΑΪ\u0301ΟΥ", "μαΐου"),  # whose folded forms are composed in two ways
        ("МОСКВА", "Москва"),
        ("é", "E\u0301"),
        ("김", "\u1100\u1175\u11b7"),
        ("New York", "new  york"),
    ],
)
def test_two_entries_that_differ_in_case_alone_are_refused_at_the_second(
    alder: Api, first: str, second: str
) -> None:
    put(alder, entry("GIF", "jif"))
    same = [entry(first, "a"), entry("other", "b"), entry(second, "c", "de"), entry(second, "d")]
    reply = put(alder, *same)
    assert refused_at(reply) == ["/entries/3/written"]
    assert f"an entry for {unicodedata.normalize('NFC', first)} in en" in reply.json()["detail"]
    assert stored(alder) == [entry("GIF", "jif")]
    assert put(alder, *same[:3]).status_code == 200


def test_every_clash_is_named(alder: Api) -> None:
    reply = put(alder, entry("SQL"), entry("sql"), entry("Sql"))
    assert refused_at(reply) == ["/entries/1/written", "/entries/2/written"]
    assert reply.json()["detail"].endswith("1 more below.")


def test_the_database_keeps_written_forms_apart_too(alder: Api) -> None:
    put(alder, entry("ÉCOLE", "a coal"))
    with pytest.raises(IntegrityError):
        Pronunciation.objects.create(
            tenant=alder.tenant, written_folded="école", **entry("école", "eh coal")
        )


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_puts_one_whole_dictionary_stays(alder: Api) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("a database in memory is one connection's; tests/operations asks a file's")
    writers, words = 4, 200
    dictionaries = [
        [entry(f"word{n:03}", f"writer {w}") for n in range(w, words + w)] for w in range(writers)
    ]
    together = Barrier(writers)

    def write(entries: list[Entry]) -> None:
        together.wait(timeout=10)
        try:
            for _ in range(5):
                replace_pronunciations(alder.tenant, entries)
        finally:
            connection.close()

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, dictionaries))
    assert stored(alder) in dictionaries
