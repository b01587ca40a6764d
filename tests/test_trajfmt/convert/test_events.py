"""What a conversion reports while it runs."""

from __future__ import annotations

from trajfmt.convert.events import Event, Teller


def test_every_event_carries_the_state_of_the_work() -> None:
    """File and bytes are those at the time of the event, the totals those of the whole."""
    told: list[Event] = []
    tell = Teller(told.append, 3, 700)
    tell("found", "three files")
    tell.file, tell.done = 2, 500
    tell("trajectory")
    assert told == [
        Event(kind="found", message="three files", file=0, files=3, done=0, total=700),
        Event(kind="trajectory", message="", file=2, files=3, done=500, total=700),
    ]
