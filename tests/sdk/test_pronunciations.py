"""The pronunciation dictionary in the client and, from files of all kinds, in the command line."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from voicereel import Client, Pronunciation
from voicereel.cli import main

from .scripted_server import CUT_BEFORE_ANSWER, ScriptedServer, document, problem

PATH = "/v1/pronunciations"
SQL = {"language": "en", "written": "SQL", "spoken": "sequel"}
KIM = {"language": "ko", "written": "김지민", "spoken": "김 지민"}
HEADER = "language,written,spoken\n"


def sent(server: ScriptedServer) -> Any:
    [request] = server.received
    assert (request.method, request.path) == ("PUT", PATH)
    return json.loads(request.body)["entries"]


def test_a_dictionary_is_fetched_and_replaced(client: Client, server: ScriptedServer) -> None:
    server.script("GET", PATH, document({"entries": [SQL | {"newer": 1}]}))
    assert client.pronunciations() == [Pronunciation("en", "SQL", "sequel")]
    server.received.clear()
    server.script("PUT", PATH, document({"entries": [SQL, KIM]}))
    kim = Pronunciation(**KIM)
    assert client.replace_pronunciations([kim, SQL]) == [Pronunciation(**SQL), kim]
    assert sent(server) == [KIM, SQL]


def test_replacing_is_tried_again_after_a_cut(client: Client, server: ScriptedServer) -> None:
    server.script("PUT", PATH, CUT_BEFORE_ANSWER, document({"entries": []}))
    assert client.replace_pronunciations([]) == []
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", f"{HEADER}en,SQL,sequel\nko,김지민,김 지민\n"),
        ("a.csv", "\ufefflanguage,written,spoken\r\nen,SQL,sequel\r\n\r\nko,김지민,김 지민\r\n"),
        ("a.txt", "written, spoken, language\nSQL,sequel,en\n,,\n김지민,김 지민,ko"),
        ("a.json", json.dumps({"entries": [SQL, KIM]})),
        ("a", json.dumps({"entries": [SQL, KIM]}, indent=2)),
    ],
)
def test_files_of_both_kinds_are_set(
    server: ScriptedServer, capsys: Any, tmp_path: Path, name: str, content: str
) -> None:
    server.script("PUT", PATH, document({"entries": [SQL, KIM]}))
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert main(["pronunciations", "set", str(path)]) == 0
    assert sent(server) == [SQL, KIM]
    assert capsys.readouterr() == ("pronunciations set: 2\n", "")


def test_commas_stand_in_quotation_marks(server: ScriptedServer, tmp_path: Path) -> None:
    server.script("PUT", PATH, document({"entries": []}))
    path = tmp_path / "a.csv"
    path.write_text(f'{HEADER}en,"Portland, OR","Portland, ""Oregon"""\n')
    assert main(["pronunciations", "set", str(path)]) == 0
    [entry] = sent(server)
    assert (entry["written"], entry["spoken"]) == ("Portland, OR", 'Portland, "Oregon"')


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "", "the first row must be language,written,spoken"),
        ("a.csv", "en,SQL,sequel\n", "the first row must be language,written,spoken"),
        ("a.csv", "language;written;spoken\n", "the first row must be language,written,spoken"),
        ("a.csv", f"{HEADER}\nen,Portland, OR,there\n", "row 3: has 4 cells and needs 3"),
        ("a.csv", f"{HEADER}en,SQL\n", "row 2: has 2 cells and needs 3"),
        ("a.csv", f'{HEADER}en,"SQL,sequel\n', "row 2: not valid CSV"),
        ("a.csv", f"{HEADER}en,김,Kim\n".encode("cp949"), "is not UTF-8 text"),
        ("a.json", "{", "row 1: not valid JSON"),
        ("a.json", "", "row 1: not valid JSON"),
        ("a.json", "[]", 'must be an object with an "entries" list'),
        ("a.json", '{"entries": {}}', 'must be an object with an "entries" list'),
        ("a.json", '{"entries": [], "language": "en"}', "and nothing else"),
        ("a.json", json.dumps({"entries": [SQL, "SQL"]}), "entry 2: must be an object of the"),
        ("a.json", json.dumps({"entries": [SQL | {"spoken": 1}]}), "entry 1: must be an object"),
        ("a.json", json.dumps({"entries": [SQL | {"ipa": ""}]}), "entry 1: must be an object"),
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_line_and_not_sent(
    server: ScriptedServer,
    capsys: Any,
    tmp_path: Path,
    name: str,
    content: str | bytes,
    complaint: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["pronunciations", "set", str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {path}")
    assert complaint in err
    assert server.received == []


def test_a_refusal_names_the_rows_of_a_csv_file(
    server: ScriptedServer, capsys: Any, tmp_path: Path
) -> None:
    errors = [
        {"pointer": "/entries/1/written", "detail": "Keep one of the two."},
        {"pointer": "/entries", "detail": "At most 2 entries."},
    ]
    server.script("PUT", PATH, problem(422, "validation_error", "Faulty.", errors))
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}en,SQL,sequel\n\nen,sql,squeal\n")
    expected = [
        "error: Faulty. (request req_1)",
        "  line 4: written: Keep one of the two.",
        "  /entries: At most 2 entries.",
    ]
    assert main(["pronunciations", "set", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == expected
    path.write_text(json.dumps({"entries": [SQL, SQL]}))
    assert main(["pronunciations", "set", str(path)]) == 2
    expected[1] = "  /entries/1/written: Keep one of the two."
    assert capsys.readouterr().err.splitlines() == expected


def test_a_dictionary_comes_from_stdin(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script("PUT", PATH, document({"entries": [KIM]}))
    stdin = io.TextIOWrapper(io.BytesIO(f"{HEADER}ko,김지민,김 지민\n".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["pronunciations", "set", "-"]) == 0
    assert sent(server) == [KIM]


@pytest.mark.parametrize("command", [["pronunciations"], ["pronunciations", "list"]])
def test_a_dictionary_is_listed_for_people_and_for_programs(
    server: ScriptedServer, capsys: Any, command: list[str]
) -> None:
    server.script("GET", PATH, document({"entries": [SQL, KIM]}), document({"entries": []}))
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "LANGUAGE  WRITTEN  SPOKEN",
        "en        SQL      sequel",
        "ko        김지민   김 지민",
    ]
    assert main(command) == 0
    assert capsys.readouterr().out == "no pronunciations\n"
    server.script("GET", PATH, document({"entries": [SQL]}))
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"entries": [SQL]}


def test_a_file_that_is_not_there_is_wrong_usage(server: ScriptedServer, capsys: Any) -> None:
    assert main(["pronunciations", "set", "nowhere.csv"]) == 2
    assert "nowhere.csv" in capsys.readouterr().err
    assert server.received == []
