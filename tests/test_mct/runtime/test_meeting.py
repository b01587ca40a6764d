"""Waiting for processes that do not come: it is said for whom, and it ends."""

import socket
import subprocess
import sys
import threading

import pytest

pytest.importorskip("torch")

from mct.errors import AbsentError
from mct.runtime.launch import Launch
from mct.runtime.meeting import meet

ALONE = """
import os, sys
os.environ.update(WORLD_SIZE="3", MASTER_ADDR="localhost", MCT_WAIT="1")
os.environ.update(MASTER_PORT=sys.argv[1], RANK=sys.argv[2])
from mct.errors import AbsentError
from mct.runtime.ranks import joined
said = []
try:
    with joined(notes=said.append):
        print("went on")
except AbsentError as exc:
    print(*said, exc, sep="\\n")
"""


@pytest.fixture
def port() -> int:
    """Return a port at which nothing listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(("rank", "awaited"), [
    ("0", "waiting for ranks 1, 2 of 3; 1 arrived"), ("2", "waiting for rank 0, which does not answer"),
])  # fmt: skip
def test_a_process_whose_peers_are_missing(port: int, rank: str, awaited: str) -> None:
    """One line while it waits and one when it gives up, with the address and the number that arrived."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(port), rank],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    note, error = done.stdout.splitlines()
    assert note.startswith(f"rank {rank} of 3 at localhost:{port}: {awaited}")
    assert "MCT_WAIT" in note
    assert error.startswith(f"rank {rank} of 3 at localhost:{port}: waited 1 s for {awaited[12:]}")


def test_all_that_come_meet(port: int) -> None:
    """Nothing is said if nobody waits long."""
    said: list[str] = []
    stores = []  # process 0 keeps the store as long as the run lasts

    def come(rank: int) -> None:
        stores.append(meet(Launch(size=2, rank=rank, host="localhost", port=port, wait=30), said.append))

    other = threading.Thread(target=come, args=(1,))
    other.start()
    come(0)
    other.join()
    assert said == []
    assert len(stores) == 2


def test_another_program_at_the_port() -> None:
    """It is no store: process 0 cannot listen there, and the others wait for an answer in vain."""
    with socket.create_server(("localhost", 0)) as stranger:
        place = {"size": 2, "host": "localhost", "port": stranger.getsockname()[1], "wait": 0.5}
        with pytest.raises(AbsentError, match="another program may listen there"):
            meet(Launch(rank=1, **place), lambda _line: None)


def test_an_address_that_is_none(port: int) -> None:
    """Process 0 says so, instead of waiting for itself."""
    place = Launch(size=2, rank=0, host="absent.invalid", port=port, wait=0.2)
    with pytest.raises(AbsentError, match="the name of its own machine"):
        meet(place, lambda _line: None)
