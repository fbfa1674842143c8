"""Progress: calm lines on standard error, nothing on standard output, and a listener hears what is said."""

from __future__ import annotations

import pytest

from newgameplus import progress


def test_work_is_shown_on_standard_error_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LOG_EVERY_SECONDS", 0.0)
    with progress.task("decoding clips", total=4, unit="clips") as task:
        task.advance(2, "half")
        task.advance(2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "decoding clips: 2 of 4 clips" in shown.err
    assert "left" in shown.err
    assert "half" in shown.err


def test_a_resumed_task_counts_its_rate_from_where_it_went_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LOG_EVERY_SECONDS", 0.0)
    with progress.task("training", total=1000, unit="steps", done=990) as task:
        task.advance(1)
    shown = capsys.readouterr().err
    assert "991 of 1,000 steps" in shown


def test_a_listener_hears_lines_and_summaries() -> None:
    heard: list[str] = []
    with progress.listening(heard.append):
        progress.say("hello")
        with progress.task("work", total=1) as task:
            task.advance()
    progress.say("not this")
    assert heard[0] == "hello"
    assert "work: 1 steps" in heard[1]
    assert len(heard) == 2
