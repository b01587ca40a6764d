"""What a conversion reports while it runs."""

from __future__ import annotations

from trajfmt.convert.events import Event, EventReporter


def test_every_event_carries_the_state_of_the_work() -> None:
    """File and bytes are those at the time of the event, the totals those of the whole."""
    told: list[Event] = []
    report = EventReporter(told.append, 3, 700)
    report("found", "three files")
    report.file, report.done = 2, 500
    report("trajectory")
    assert told == [
        Event(kind="found", message="three files", file=0, files=3, done=0, total=700),
        Event(kind="trajectory", message="", file=2, files=3, done=500, total=700),
    ]
