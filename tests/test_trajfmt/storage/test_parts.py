"""Parts of files at an address: few requests, few bytes, and not one that is not verified."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.serving import Server
from trajfmt import ParamLayout
from trajfmt.bundle.extraction import extract
from trajfmt.bundle.validation import validate
from trajfmt.schema.pieces import Piece, Pieces
from trajfmt.storage import parts, retries

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

Array = NDArray[np.generic]

LAYOUT = ParamLayout.of([("a", (100,)), ("b", (300, 200)), ("c", (40_000,)), ("d", (7,))])
"""400 kB for a timestep, of which layer `b` has 240 kB."""

VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"encoding": "full"},
    "zstd": {"encoding": "full", "codec": "zstd"},
    "convex": {"knots": (2, 4)},
    "sharded": {"knots": (2, 4), "shard_bytes": 300_000},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of this test's own, and wait less between two tries."""
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retries, "PAUSES", (0.01, 0.01, 0.01))
    return tmp_path / "cache"


@pytest.fixture
def make(write_bundle: Callable[..., Path], walk: Callable[..., Array]) -> Callable[[str], Path]:
    """Return a function that writes a bundle of two trajectories in one of the variants."""

    def write(variant: str, layout: ParamLayout = LAYOUT) -> Path:
        return write_bundle(layout, walk(layout), walk(layout, seed=1), **VARIANTS[variant])

    return write


@pytest.fixture
def small() -> ParamLayout:
    """Return a layout of 40 kB, whose timesteps have three pieces."""
    return ParamLayout.of([("w", (10_000,)), ("b", (7,))])


# --- requests and bytes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_timestep_moves_its_own_bytes(server: Server, make: Callable[[str], Path], variant: str) -> None:
    """The manifest, the digests, and the data: 3 requests, and 1.05 times the bytes of the data."""
    path = make(variant)
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        assert there[1].knot(1).tobytes() == here[1].knot(1).tobytes()
        stored = there.layout.nbytes
        entry = there.manifest.trajectories[1]
        if getattr(entry, "chunks", None) is not None:
            stored = entry.chunks.sizes[1]  # type: ignore[union-attr]
    assert len(server.asked) == 3  # of shards: two files, each wanted whole, and no digests
    assert server.sent.total() - server.sent[f"{path.name}/manifest.json"] <= 1.05 * stored


@pytest.mark.parametrize("variant", ["none", "convex"])
def test_one_layer_moves_the_pieces_that_cover_it(
    server: Server, make: Callable[[str], Path], variant: str
) -> None:
    """Besides the digests, at most one piece more than its own bytes."""
    path = make(variant)
    start, stop = LAYOUT.offsets[1:3]
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        found = (
            there[0].knot_piece(1, start, stop) if variant == "convex" else there[0].pieces(1, start, stop)
        )  # type: ignore[attr-defined]
        assert found.tobytes() == here[0].knot(1)[start:stop].tobytes()
        pieces = there.manifest.trajectories[0].pieces
    assert pieces is not None
    assert len(server.asked) == 3
    (name,) = [asked for asked in server.asked if "/knots/" in asked or "/theta/" in asked]
    assert server.sent[name] <= found.nbytes + 2 * (pieces.size or 0)


def test_weights_between_knots_are_fetched_at_once(server: Server, make: Callable[[str], Path]) -> None:
    """Tables, digests and the two knots: neighbours in one request; another timestep needs nothing more."""
    path = make("convex")
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        assert there[0].at(2.5).tobytes() == here[0].at(2.5).tobytes()
        assert len(server.asked) == 4
        assert there[0].at(3.25).tobytes() == here[0].at(3.25).tobytes()
        assert len(server.asked) == 4


def test_extracting_a_timestep_in_blocks_is_one_request(
    server: Server, make: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timestep that is larger than a block is fetched before the first one is written."""
    monkeypatch.setattr("trajfmt.bundle.extraction._BLOCK", 1000)
    path = make("none")
    for place, name in ((str(path), "here"), (f"{server.url}/{path.name}", "there")):
        with trajfmt.open(place) as opened:
            extract(opened, 1, 3, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()
    assert len(server.asked) == 3


def test_a_timestep_of_the_archive_takes_what_it_is_decoded_from(
    server: Server, write_bundle: Callable[..., Path], walk: Callable[..., Array]
) -> None:
    """The chunks since the keyframe lie side by side, and come with one request."""
    theta = walk(LAYOUT)
    path = write_bundle(LAYOUT, theta, encoding="full", codec="archive")
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        assert there[0].at(3).tobytes() == theta[3].tobytes()
    assert len(server.asked) == 3


def test_a_bundle_without_digests_is_read_from_whole_files(
    server: Server, make: Callable[[str], Path], edit_manifest: Callable[..., None]
) -> None:
    """As earlier programs wrote it."""
    path = make("none")
    edit_manifest(path)
    with trajfmt.open(f"{server.url}/{path.name}") as there, trajfmt.open(path) as here:
        assert there[0].at(2).tobytes() == here[0].at(2).tobytes()
    assert server.sent[f"{path.name}/theta/00000.h5"] == (path / "theta/00000.h5").stat().st_size


def test_a_server_without_ranges(server: Server, make: Callable[[str], Path], cache: Path) -> None:
    """It sends whole files, which are then kept; a part is asked for once."""
    server.ranges = False
    path = make("none")
    with trajfmt.open(f"{server.url}/{path.name}") as there, trajfmt.open(path) as here:
        for number in (0, 1):
            assert there[number].at(2).tobytes() == here[number].at(2).tobytes()
    assert len(server.asked) == 4
    assert {file.name for file in cache.rglob("*.h5")} == {"00000.h5", "00001.h5"}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_check_of_everything_asks_for_whole_files(
    server: Server, make: Callable[[str], Path], ranges: bool
) -> None:
    """Each file is asked for once, also from a server without ranges; damaged digests are a problem there."""
    server.ranges = ranges
    path = make("none")
    assert validate(f"{server.url}/{path.name}") == []
    assert len(server.asked) == len(set(server.asked))
    pieces = next(path.glob("pieces/*"))
    data = bytearray(pieces.read_bytes())
    data[-1] ^= 1
    server.body[f"{path.name}/pieces/{pieces.name}"] = bytes(data)
    shutil.rmtree(os.environ["TRAJFMT_CACHE"])
    assert {problem.reason for problem in validate(f"{server.url}/{path.name}")} == {"hash_mismatch"}


# --- not one bit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_flipped_bit_in_any_piece(
    server: Server, make: Callable[..., Path], small: ParamLayout, cache: Path, variant: str
) -> None:
    """A timestep without the bit is read, one with it is refused: file and piece are named."""
    path = make(variant, small)
    with trajfmt.open(path) as here:
        entry = here.manifest.trajectories[1]
        assert entry.pieces is not None
        pieces = Pieces.of(entry, here.layout, entry.pieces.size)
        knots = [here[1].knot(k).tobytes() for k in range(len(here[1].knots))]
    rng = np.random.default_rng(0)
    seen = 0
    for name in entry.weight_files:
        sound = (path / name).read_bytes()
        for piece in pieces.of_file(name):
            damaged = bytearray(sound)
            damaged[rng.integers(piece.start, piece.stop)] ^= 1 << int(rng.integers(8))
            server.body[f"{path.name}/{name}"] = bytes(damaged)
            refused = []
            with trajfmt.open(f"{server.url}/{path.name}") as there:
                for k, expected in enumerate(knots):
                    try:
                        assert there[1].knot(k).tobytes() == expected
                    except trajfmt.CorruptError as exc:
                        refused.append(exc)
            assert len(refused) == 1
            assert (refused[0].reason, refused[0].path) == (
                "hash_mismatch",
                f"{server.url}/{path.name}/{name}",
            )
            assert refused[0].message.startswith(
                f"piece {piece.number} (bytes {piece.start} to {piece.stop})"
            )
            shutil.rmtree(cache)
            seen += 1
        del server.body[f"{path.name}/{name}"]
    assert seen == pieces.count >= 6


def test_a_flipped_bit_in_any_digest(
    server: Server, make: Callable[..., Path], small: ParamLayout, cache: Path
) -> None:
    """The digests themselves are compared with the manifest; no weight is used then."""
    path = make("none", small)
    with trajfmt.open(path) as here:
        entry = here.manifest.trajectories[1].pieces
    assert entry is not None
    name, sound = f"{path.name}/{entry.file}", (path / entry.file).read_bytes()
    for position in range(entry.data, len(sound), 16):
        damaged = bytearray(sound)
        damaged[position] ^= 4
        server.body[name] = bytes(damaged)
        with (
            trajfmt.open(f"{server.url}/{path.name}") as there,
            pytest.raises(trajfmt.CorruptError, match="digests of the pieces of trajectory 1") as caught,
        ):
            there[1].knot(2)
        assert (caught.value.reason, caught.value.path) == ("hash_mismatch", f"{server.url}/{name}")
        shutil.rmtree(cache)


@pytest.mark.parametrize("change", ["short", "missing"])
def test_files_that_end_early_or_are_missing(
    server: Server, make: Callable[[str], Path], change: str
) -> None:
    """Damage, with the code that a file on disk has."""
    path = make("none")
    name = f"{path.name}/theta/00000.h5"
    if change == "short":
        server.body[name] = (path / "theta/00000.h5").read_bytes()[:500_000]
    else:
        server.status[name] = 404
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        for t in (1, 5):  # within the file, and beyond its end
            with pytest.raises(trajfmt.CorruptError) as caught:
                there[0].at(t)
            assert caught.value.reason == {"short": "file_size_mismatch", "missing": "file_missing"}[change]


def test_what_the_cache_holds_is_verified_again(
    server: Server, make: Callable[[str], Path], cache: Path
) -> None:
    """Bytes that were changed in the cache, or lost in a power failure, are fetched again."""
    path = make("none")
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        expected = there[0].at(1).tobytes()
    (parts,) = cache.rglob(".00000.h5.parts")
    data = np.fromfile(parts, np.uint8)
    places = np.flatnonzero(data)
    for change in (places[len(places) // 2], slice(places[0], places[0] + 50_000)):
        damaged = data.copy()
        damaged[change] = 0
        damaged.tofile(parts)
        server.sent.clear()
        with trajfmt.open(f"{server.url}/{path.name}") as there:
            assert there[0].at(1).tobytes() == expected
        assert 0 < server.sent[f"{path.name}/theta/00000.h5"] < 100_000
        assert np.array_equal(np.fromfile(parts, np.uint8), data)


# --- breaks, kills, company -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_connections_that_break_halfway(server: Server, make: Callable[[str], Path], variant: str) -> None:
    """Each goes on where it broke."""
    path = make(variant)
    server.breaking = 3
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        assert there[1].at(2).tobytes() == here[1].at(2).tobytes()
    assert server.breaking == 0


def test_what_arrived_before_an_error_is_kept(server: Server, make: Callable[[str], Path]) -> None:
    """The next try fetches the rest."""
    path = make("none")
    name = f"{path.name}/theta/00000.h5"
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        start = there.manifest.trajectories[0].data + LAYOUT.nbytes  # type: ignore[union-attr, operator]
        server.cut[name] = start + 300_000
        with pytest.raises(trajfmt.RemoteError, match="the connection ended in the middle"):
            there[0].at(1)
        server.cut.clear()
        server.sent.clear()
        there[0].at(1)
    assert server.sent[name] <= LAYOUT.nbytes - 200_000


READER = """
import sys, trajfmt
with trajfmt.open(sys.argv[1]) as opened:
    for t in range(opened[0].timesteps):
        opened[0].at(t)
"""


def test_a_reader_that_is_killed_while_it_fills_the_cache(
    server: Server, make: Callable[[str], Path], cache: Path
) -> None:
    """Its pieces are used by the next reader, which fetches the others and gets the right bits."""
    path = make("none")
    name = f"{path.name}/theta/00000.h5"
    server.stalled[name] = 1_500_000
    with subprocess.Popen([sys.executable, "-c", READER, f"{server.url}/{path.name}"]) as process:
        assert server.stalling.wait(30)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    server.stalled.clear()
    server.sent.clear()
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        for t in range(6):
            assert there[0].at(t).tobytes() == here[0].at(t).tobytes()
    assert server.sent[name] <= 6 * LAYOUT.nbytes - 1_000_000
    assert not list(cache.rglob("*.h5"))


def test_readers_at_the_same_time(server: Server, make: Callable[[str], Path]) -> None:
    """Threads with one bundle or their own, and processes: the same bits, and nothing is fetched twice."""
    path = make("none")
    address = f"{server.url}/{path.name}"
    with trajfmt.open(path) as here:
        expected = [here[0].at(t).tobytes() for t in range(6)]
    shared = trajfmt.open(address)

    def read(number: int) -> bytes:
        opened = shared if number % 2 else trajfmt.open(address)
        return opened[0].at(number % 6).tobytes()

    processes = [subprocess.Popen([sys.executable, "-c", READER, address]) for _ in range(2)]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(read, range(24))) == expected * 4
    assert [process.wait(60) for process in processes] == [0, 0]
    assert server.sent[f"{path.name}/theta/00000.h5"] == 6 * LAYOUT.nbytes


def test_an_emptied_cache(server: Server, make: Callable[[str], Path], cache: Path) -> None:
    """Between two reads: it is filled again, and arrays that were given out stay what they are."""
    path = make("none")
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        first = there[0].knot(1)
        shutil.rmtree(cache)
        assert there[0].knot(2).tobytes() == here[0].knot(2).tobytes()
        assert first.tobytes() == here[0].knot(1).tobytes()
        assert not first.flags.writeable
    server.sent.clear()
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        there[0].knot(2)
    assert f"{path.name}/theta/00000.h5" not in server.sent


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_a_pickled_bundle_reads_parts(server: Server, make: Callable[[str], Path], backend: Any) -> None:
    """Also after it has read some itself; and a forked child has no lock of its parent."""
    path = make("convex")
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}", backend=backend) as there:
        there[0].knot(0)
        copy = pickle.loads(pickle.dumps(there))
        assert copy[0].knot(1).tobytes() == here[0].knot(1).tobytes()
        child = os.fork()
        if child == 0:
            os._exit(0 if there[0].knot(2).tobytes() == here[0].knot(2).tobytes() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_parts_of_another_user_are_read_and_the_rest_is_fetched_whole(
    server: Server, make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """His file of parts cannot be written."""
    path = make("none")
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        expected = there[0].knot(1).tobytes()
    real = os.open

    def refuse(name: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if str(name).endswith(".parts") and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(name, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        server.asked.clear()
        assert there[0].knot(1).tobytes() == expected
        assert server.asked == []
        assert there[0].knot(3).tobytes() == here[0].knot(3).tobytes()
        assert server.asked == [f"{path.name}/theta/00000.h5"]
        assert server.sent[f"{path.name}/theta/00000.h5"] >= (path / "theta/00000.h5").stat().st_size


def test_a_forked_child_opens_its_own_files_of_parts(server: Server, make: Callable[[str], Path]) -> None:
    """A thread of the parent may hold a lock of the old ones for ever."""
    path = make("none")
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        there[0].knot(1)
        kept = there.files._parts  # type: ignore[attr-defined]
        (held,) = (file for name, file in kept._open.items() if "theta" in name)
        expected = here[0].knot(2).tobytes()
        with held.busy:
            child = os.fork()
            if child == 0:
                os._exit(0 if there[0].knot(2).tobytes() == expected else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert kept._sparse("theta/00000.h5") is held
        kept._process = 0  # as the child sees it
        assert there[0].knot(3).tobytes() == here[0].knot(3).tobytes()
        assert kept._sparse("theta/00000.h5") is not held


def test_weights_of_a_range_between_knots_take_its_pieces(
    server: Server, make: Callable[[str], Path]
) -> None:
    """The layers before and after the range are not fetched."""
    path = make("convex")
    start, stop = LAYOUT.offsets[1:3]
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        there[0].prepare(2.5, start, stop)
        asked, sent = len(server.asked), server.sent[f"{path.name}/knots/00000.safetensors"]
        pieces = there.manifest.trajectories[0].pieces
        assert pieces is not None
        assert sent <= 2 * (4 * (stop - start) + 2 * (pieces.size or 0))
        assert there[0].pieces(2.5, start, stop).tobytes() == here[0].pieces(2.5, start, stop).tobytes()
        assert len(server.asked) == asked


def test_pieces_that_lie_far_apart_are_asked_for_one_by_one() -> None:
    """Gaps are fetched, too, as long as they are a small part of all: the smallest ones."""

    def wanted(*starts: int) -> list[Any]:
        return [(Piece(n, start, start + 100), b"") for n, start in enumerate(starts)]

    def runs(*starts: int) -> list[list[int]]:
        return [[piece.start for piece, _ in run] for run in parts._runs(wanted(*starts))]

    assert runs(0, 100, 200) == [[0, 100, 200]]
    allowed = 400 // parts._WASTE
    assert runs(0, 100, 200, 300 + allowed) == [[0, 100, 200, 300 + allowed]]
    assert runs(0, 100, 200, 301 + allowed) == [[0, 100, 200], [301 + allowed]]
    near = 100 + allowed // 2
    assert runs(0, near, 10_000, 10_100) == [[0, near], [10_000, 10_100]]
    assert runs(0, 10_000, 20_000, 20_100) == [[0], [10_000], [20_000, 20_100]]


def test_room_is_asked_for_as_much_as_is_fetched(
    server: Server, make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of the pieces that are missing."""
    path = make("none")
    asked: list[int] = []
    monkeypatch.setattr(parts, "require_room", lambda _, nbytes: asked.append(nbytes))
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        there[0].knot(1)
        entry = there.manifest.trajectories[0].pieces
    assert entry is not None
    digests = 32 * 6 * -(-LAYOUT.nbytes // (entry.size or 1))
    assert asked == [digests, LAYOUT.nbytes]
    assert server.sent[f"{path.name}/theta/00000.h5"] == LAYOUT.nbytes


@pytest.mark.parametrize(("t", "knots"), [(0, [0]), (2, [1]), (5, [3]), (2.5, [1, 2]), (4.5, [2, 3])])
def test_only_the_knots_of_a_timestep_are_fetched(
    server: Server, make: Callable[[str], Path], t: float, knots: list[int]
) -> None:
    """At a knot itself one of them, between two both."""
    path = make("convex")
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        there[0].prepare(t, 0, LAYOUT.size)
        assert server.sent[f"{path.name}/knots/00000.safetensors"] == len(knots) * LAYOUT.nbytes
        asked = len(server.asked)
        for k in knots:
            assert there[0].knot(k).tobytes() == here[0].knot(k).tobytes()
        assert there[0].at(t).tobytes() == here[0].at(t).tobytes()
        assert len(server.asked) == asked


def test_a_file_of_which_parts_are_here_is_completed(server: Server, make: Callable[[str], Path]) -> None:
    """By another process, too; without any part, a file that is read whole is fetched whole."""
    path = make("none")
    name = "theta/00000.h5"
    with trajfmt.open(f"{server.url}/{path.name}") as there:
        there[0].knot(1)
    server.sent.clear()
    with trajfmt.open(path) as here, trajfmt.open(f"{server.url}/{path.name}") as there:
        entry = there.manifest.trajectories[0]
        place = (name, entry.data, 6 * LAYOUT.size, LAYOUT.numpy_dtype)  # type: ignore[union-attr]
        assert there.files.array(*place).tobytes() == here.files.array(*place).tobytes()
    assert server.sent[f"{path.name}/{name}"] == 5 * LAYOUT.nbytes
