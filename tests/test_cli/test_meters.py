"""Progress without a terminal: lines at the times that a clock of the test says, and one real process."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import pytest

from trajfmt.errors import UsageError

(SCRIPT,) = entry_points(group="console_scripts", name="traj")
meters = import_module(SCRIPT.module.rpartition(".")[0] + ".meters")


class Clock:
    """A clock that goes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def told() -> list[str]:
    """Return the list of lines."""
    return []


def lines(
    clock: Clock, told: list[str], noun: str = "step", total: float = 500, title: str = "distill"
) -> Any:
    """Return a meter that prints a line every 30 s of the clock."""
    return meters.Lines(title, noun, total, every=30, clock=clock, tell=told.append)


def run(meter: Any, clock: Clock, seconds: int, each: Any = lambda _second: None) -> None:
    """Let time pass, second by second."""
    for second in range(1, seconds + 1):
        clock.now += 1
        each(second)
        meter.tick()


def test_a_line_every_thirty_seconds_has_amount_note_rate_and_time_left(
    clock: Clock, told: list[str]
) -> None:
    """Two steps a second: after 60 s 120 of 500 are done, and 190 s are left."""
    meter = lines(clock, told)
    run(meter, clock, 60, lambda second: meter.update(2 * second, note=f"loss {second / 100:.2f}"))
    assert told == [
        "distill: 60 of 500 steps, loss 0.30, 2.0 steps/s, 3 min 40 s left",
        "distill: 120 of 500 steps, loss 0.60, 2.0 steps/s, 3 min 10 s left",
    ]


def test_a_line_comes_also_while_nothing_moves(clock: Clock, told: list[str]) -> None:
    """The time left goes down with the clock, and there is no rate before two steps."""
    meter = lines(clock, told, total=3)
    run(meter, clock, 30)
    meter.update(1)
    run(meter, clock, 60)
    meter.update(2)
    run(meter, clock, 30)
    assert told == [
        "distill: 0 of 3 steps, 30 s so far",
        "distill: 1 of 3 steps, 1 min so far",
        "distill: 1 of 3 steps, 1 min 30 s so far",
        "distill: 2 of 3 steps, 1 min per step, 30 s left",
    ]


def test_a_resumed_run_counts_only_its_own_steps_in_the_rate(clock: Clock, told: list[str]) -> None:
    """Steps before the first update took no time here."""
    meter = lines(clock, told)
    run(meter, clock, 30, lambda second: meter.update(400 + second))
    assert told == ["distill: 430 of 500 steps, 1.0 steps/s, 1 min 10 s left"]


def test_the_rate_is_that_of_the_last_ten_lines(clock: Clock, told: list[str]) -> None:
    """A slow beginning is forgotten."""
    meter = lines(clock, told, total=10_000)
    run(meter, clock, 300, lambda second: meter.update(second))
    run(meter, clock, 330, lambda second: meter.update(300 + 4 * second))
    assert told[-1].startswith("distill: 1,620 of 10,000 steps, 4.0 steps/s, ")


def test_a_long_phase_is_named_soon_and_a_short_one_never(clock: Clock, told: list[str]) -> None:
    """After three seconds, and then with every line; the count comes back when it ends."""
    meter = lines(clock, told)
    meter.phase("loading digits")
    run(meter, clock, 2)
    meter.phase("compiling the network")
    run(meter, clock, 40)
    meter.phase(None)
    run(meter, clock, 24)
    assert told == [
        "distill: compiling the network for 3 s, 0 of 500 steps",
        "distill: compiling the network for 33 s, 0 of 500 steps",
        "distill: 0 of 500 steps, 1 min 5 s so far",
    ]


def test_bytes_have_units_and_a_total_may_be_unknown(clock: Clock, told: list[str]) -> None:
    """As in a conversion, which learns the size of its source later."""
    meter = lines(clock, told, "byte", 0, "converting")
    run(meter, clock, 30, lambda second: meter.update(second * 2e6))
    meter.update(total=1e9)
    run(meter, clock, 30)
    assert told[0] == "converting: 60.0 MB, 2.0 MB/s"
    assert told[1] == "converting: 60.0 MB of 1.0 GB, 2.0 MB/s, 7 min 20 s left"


def test_a_name_of_a_file_cannot_control_the_terminal(clock: Clock, told: list[str]) -> None:
    """A phase may have a path in it."""
    meter = lines(clock, told, "", 0)
    meter.phase("verifying a\x1b[31mb")
    run(meter, clock, 3)
    assert told == ["distill: verifying a\\x1b[31mb for 3 s"]


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
def test_an_interval_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """There is no way to have no line at all."""
    monkeypatch.setenv("TRAJFMT_PROGRESS_SECONDS", value)
    with pytest.raises(UsageError, match="TRAJFMT_PROGRESS_SECONDS must be a number of seconds above 0, got"):
        meters.interval()


def test_a_process_without_a_terminal_prints_lines(process: Any, bundle: Any) -> None:
    """The thread of a real command prints them on stderr, and stdout has only the result."""
    environment = {**os.environ, "TRAJFMT_PROGRESS_SECONDS": "0.0001"}
    running = process("validate", bundle(), env=environment)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert out.endswith(b": valid\n")
    assert out.count(b"\n") == 1
    assert all(line.startswith(b"validating: ") for line in err.splitlines())
    assert len(err.splitlines()) > 0


def test_only_the_first_process_of_several_shows_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others have a silent meter."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with meters.shown("distill", "step", 3) as meter:
        meter.phase("compiling")
        meter.update(1, total=3, note="x")
        meter.advance()
        meter.say("hello")
    assert capsys.readouterr() == ("", "")
