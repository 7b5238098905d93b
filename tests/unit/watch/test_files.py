"""Log files are followed: what is new, once, whatever becomes of the files."""

from pathlib import Path

import pytest

from local.watch import files
from local.watch.files import Tail, WorkerLogs
from tests.unit.watch.said import NOW_MS, text


def names(logs: WorkerLogs) -> list[tuple[str, str]]:
    return [(line.source, line.name) for line in logs.lines()]


def test_each_line_is_read_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"
    path.write_text("one\ntw")
    tail = Tail(path)
    assert tail.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert tail.lines() == ["two", "three"]
    assert tail.lines() == []


def test_a_file_that_is_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"
    path.write_text("old and long\n")
    tail = Tail(path)
    tail.lines()
    other = tmp_path / "other"
    other.write_text("new and longer than before\n")
    other.replace(path)
    assert tail.lines() == ["new and longer than before"]


def test_a_file_that_is_cut_short_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"
    path.write_text("old and long\nbegun")
    tail = Tail(path)
    tail.lines()
    path.write_text("new\n")
    assert tail.lines() == ["new"]


def test_a_file_that_is_gone_has_nothing_to_say(tmp_path: Path) -> None:
    assert Tail(tmp_path / "worker-1.log").lines() == []


def test_of_a_long_file_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    path = tmp_path / "worker-1.log"
    path.write_text("a line that is long\nthe end\nbegun")
    tail = Tail(path)
    assert tail.lines() == [" end"]
    with path.open("a") as file:
        file.write(", so much at once that it is not read\nend\n")
    assert tail.lines() == [" read", "end"]
    with path.open("a") as file:
        file.write("more\n")
    assert tail.lines() == ["more"]


def test_what_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"
    path.write_bytes(b"\xff one\ntwo\n")
    assert Tail(path).lines() == ["\ufffd one", "two"]


def test_workers_that_come_later_are_found_and_lines_come_in_their_order(tmp_path: Path) -> None:
    logs = WorkerLogs(tmp_path)
    (tmp_path / "worker-1.log").write_text(text("worker.ready", NOW_MS + 2) + "\nno line\n")
    (tmp_path / "ministack.log").write_text(text("not.ours") + "\n")
    assert names(logs) == [("worker-1", "worker.ready")]
    with (tmp_path / "worker-1.log").open("a") as file:
        file.write(text("worker.gone", NOW_MS + 9) + "\n")
    (tmp_path / "worker-2.log").write_text(text("worker.ready", NOW_MS + 5) + "\n")
    assert names(logs) == [("worker-2", "worker.ready"), ("worker-1", "worker.gone")]
