"""The interface at which gloo listens."""

import os
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from mct.runtime import interfaces

WORLD = {b"lo": "127.0.0.1", b"eth0": "10.0.0.7", b"ib0": "192.168.5.7"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Simulate a machine with three interfaces, and one that has no address."""
    routes = {"node0": "192.168.5.7", "here": "127.0.0.1", "far": "10.0.0.7", "odd": "10.9.9.9"}

    class Probe(SimpleNamespace):
        def __enter__(self) -> "Probe":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, address: tuple[str, int]) -> None:
            if address[0] not in routes:
                raise socket.gaierror("no such name")
            self.name = (routes[address[0]], 1)

        def getsockname(self) -> tuple[str, int]:
            return self.name

    def ioctl(_probe: object, request: int, given: bytes) -> bytes:
        assert request == 0x8915
        name = given.rstrip(b"\0")
        if name not in WORLD:
            raise OSError
        return bytes(20) + socket.inet_aton(WORLD[name]) + bytes(8)

    monkeypatch.setattr(interfaces.socket, "socket", lambda **_: Probe())
    monkeypatch.setattr(
        interfaces.socket, "if_nameindex", lambda: [(1, "lo"), (2, "tun0"), (3, "eth0"), (4, "ib0")]
    )
    monkeypatch.setattr(interfaces.fcntl, "ioctl", ioctl)
    monkeypatch.setenv(interfaces.VARIABLE, "")
    monkeypatch.delenv(interfaces.VARIABLE)
    return monkeypatch


@pytest.mark.parametrize(
    ("host", "name"), [("node0", "ib0"), ("far", "eth0"), ("here", None), ("absent", None), ("odd", None)]
)
@pytest.mark.usefixtures("machine")
def test_interface_is_that_to_process_0(host: str, name: str | None) -> None:
    """Alone on a machine, and where nothing is found, the choice is left to gloo."""
    interfaces.listen_towards(host, 29500)
    assert os.environ.get(interfaces.VARIABLE) == name


def test_interface_that_the_user_names_stays(machine: pytest.MonkeyPatch) -> None:
    """Whatever the way to process 0 is."""
    machine.setenv(interfaces.VARIABLE, "mine")
    interfaces.listen_towards("node0", 29500)
    assert os.environ[interfaces.VARIABLE] == "mine"
