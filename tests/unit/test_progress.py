"""Progress of long work: what is counted, and what stderr shows where it is no terminal."""

import io
import logging

import pytest
from rich.console import Console

import chiaroscuro.cli.progress
from chiaroscuro.cli.progress import _lines, line, progress
from chiaroscuro.core.progress import Progress, Steps, naming


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def at(done: int, **known: object) -> Progress:
    return Progress(done=done, total=100, **known)  # type: ignore[arg-type]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="chiaroscuro.progress")
    return caplog


def test_a_line_per_minute_and_none_in_the_first(log: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    show = _lines("", clock)
    for second in range(0, 181, 5):
        clock.now = 1000.0 + second
        show(at(second // 5, what="a.png"))
    assert log.messages == [f"a.png: {n} of 100 passes" for n in (12, 24, 36)]


def test_the_next_line_is_a_minute_after_the_last(log: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    show = _lines("training", clock)
    for second in (59, 100, 159, 160):
        clock.now = 1000.0 + second
        show(at(second, unit="steps"))
    assert log.messages == ["training: 100 of 100 steps", "training: 160 of 100 steps"]


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_are_logged_only_where_stderr_is_no_terminal(
    terminal: bool, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=terminal, width=100)
    monkeypatch.setattr(chiaroscuro.cli.progress, "notes", console)
    monkeypatch.setattr(chiaroscuro.cli.progress, "LINE_EVERY_S", 0.0)
    with progress() as show:
        show(at(7, what="a[b].png"))
    if terminal:
        assert log.messages == []
        assert "a[b].png" in printed.getvalue()
        assert "7/100" in printed.getvalue()
    else:
        assert log.messages == ["a[b].png: 7 of 100 passes"]
        assert printed.getvalue() == ""


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (at(0), "0 of 100 passes"),
        (at(25, seconds=10.0), "25 of 100 passes 2.5/s, 1 min left"),
        (at(20, seconds=1800.0), "20 of 100 passes 0.0/s, 2 h 0 min left"),
        (at(60, started_at=50, seconds=30.0, unit="pictures"), "60 of 100 pictures, 2 min left"),
        (at(9, fidelity=(0.914, float("nan"), 0.5)), "9 of 100 passes fidelity 0.50"),
        (at(9, unit="steps", values={"loss": 0.1234}), "9 of 100 steps loss 0.123"),
        (at(2, unit="pictures", within=at(31)), "2 of 100 pictures (31 passes)"),
    ],
)
def test_a_line_has_pace_time_left_and_figures(now: Progress, said: str) -> None:
    assert line(now) == said
    assert line(now, "work") == f"work: {said}"


def test_steps_count_name_and_nest() -> None:
    seen: list[Progress] = []
    steps = Steps(seen.append, 5, "pictures", done=2)
    steps.at("a.png")
    steps.within(at(3))
    steps.advance({"loss": 1.5})
    steps.at("b.png")
    assert [(one.done, one.what) for one in seen] == [
        (2, "a.png"),
        (2, "a.png"),
        (3, "a.png"),
        (3, "b.png"),
    ]
    assert {(one.total, one.unit, one.started_at) for one in seen} == {(5, "pictures", 2)}
    assert [one.within for one in seen] == [None, at(3), None, None]
    assert seen[2].values == {"loss": 1.5}
    assert all(one.seconds >= 0 for one in seen)


def test_steps_without_a_callback_count_too() -> None:
    steps = Steps(None, 2, "steps")
    steps.advance()
    steps.advance()


def test_the_pace_leaves_out_what_was_done_before() -> None:
    now = at(60, started_at=40, seconds=10.0)
    assert now.pace == 2
    assert now.seconds_left == 20
    assert at(40, started_at=40, seconds=10.0).seconds_left is None
    assert at(0).seconds_left is None


def test_an_error_in_the_callback_stops_the_work() -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps(stop, 2, "steps").advance()


def test_naming_says_what_is_under_way() -> None:
    seen: list[Progress] = []
    naming(seen.append, "occlusion")(at(4))
    assert seen == [at(4, what="occlusion")]
