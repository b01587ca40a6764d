"""Bundles at addresses: what is fetched when, what is kept, and what each failure says."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import trajfmt
from tests.helpers.serving import Server
from trajfmt import ArrayTrajectory, ParamLayout
from trajfmt.bundle.report import summarize
from trajfmt.bundle.validation import validate
from trajfmt.storage import arrivals, remote, transfer

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

Array = NDArray[np.generic]

VARIANTS: dict[str, dict[str, Any]] = {
    "convex": {"knots": (2,)},
    "full": {"encoding": "full"},
    "zstd": {"encoding": "full", "codec": "zstd"},
}
SCRIPT = (
    "import sys; from importlib.metadata import entry_points; sys.argv[0] = 'traj';"
    "(script,) = entry_points(group='console_scripts', name='traj'); sys.exit(script.load()())"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of this test's own."""
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def big() -> ParamLayout:
    """Return a layout of 200 kB, more than pipes and sockets keep."""
    return ParamLayout.of([("w", (250, 200)), ("b", (7,))])


@pytest.fixture
def bundle(write_bundle: Callable[..., Path], walk: Callable[..., Array], big: ParamLayout) -> Path:
    """Return a convexified bundle of five trajectories."""
    return write_bundle(big, *(walk(big, seed=i) for i in range(5)))


@pytest.fixture
def there(server: Server, bundle: Path) -> str:
    """Return its address."""
    return f"{server.url}/{bundle.name}"


def _bits(path: str | Path, **options: Any) -> list[bytes]:
    with trajfmt.open(path, **options) as opened:
        return [item.at(t).tobytes() for item in opened for t in (0, 3, item.last)]


def _kept(cache: Path) -> set[str]:
    """Return the files in the cache, below the folder of a bundle; hidden ones too."""
    return {
        path.relative_to(cache).as_posix().split("/", 2)[2] for path in cache.rglob("*") if path.is_file()
    }


def _traj(*arguments: object, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run the installed command, and return its exit code, stdout and only error line.

    It runs in this process, or in one of its own with these environment variables.
    """
    words = [str(argument) for argument in arguments]
    if env is None:
        (script,) = entry_points(group="console_scripts", name="traj")
        here = CliRunner().invoke(script.load(), words, prog_name="traj")
        code, out, said = here.exit_code, here.stdout, here.stderr
        assert isinstance(here.exception, SystemExit | None), said
    else:
        command = [sys.executable, "-W", "error", "-c", SCRIPT, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
        code, out, said = done.returncode, done.stdout, done.stderr
    assert "Traceback" not in said, said
    lines = [line for line in said.splitlines() if not line.startswith("note: ")]
    assert len(lines) == (code != 0 and not out), said
    return code, out, "".join(lines)


# --- the same bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["mmap", "pread"])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_an_address_gives_the_same_bits(
    server: Server, write_bundle: Any, walk: Any, layout: ParamLayout, variant: str, backend: str
) -> None:
    """Every encoding, both backends, the first time and from the cache."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1), **VARIANTS[variant])
    expected = _bits(path)
    assert _bits(f"{server.url}/{path.name}", backend=backend) == expected
    assert _bits(f"{server.url}/{path.name}/", backend=backend, verify=True) == expected


def test_addresses_of_other_kinds(bundle: Path, tmp_path: Path) -> None:
    """Memory, a file address, and a zip file in a chain."""
    memory = fsspec.filesystem("memory")
    memory.put(str(bundle), "/remote/out.mct", recursive=True)
    shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, "out.mct")
    shutil.make_archive(str(tmp_path / "bare"), "zip", bundle)
    expected = _bits(bundle)
    try:
        for address in (
            "memory://remote/out.mct",
            bundle.as_uri(),
            f"zip://out.mct::file://{tmp_path}/all.zip",
            f"zip://::file://{tmp_path}/bare.zip",
            "simplecache::memory://remote/out.mct",
        ):
            assert _bits(address) == expected, address
    finally:
        memory.rm("/remote", recursive=True)


def test_a_zip_file_on_a_web_server(server: Server, bundle: Path, tmp_path: Path) -> None:
    """A chain that ends in http reads ranges, and shows its own address."""
    shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, "out.mct")
    address = f"zip://out.mct::{server.url}/all.zip"
    assert _bits(address) == _bits(bundle)
    assert summarize(address).path == address


def test_a_file_address_is_read_in_place(bundle: Path, cache: Path) -> None:
    """Nothing goes through the cache, and the bundle is the one at the path."""
    with trajfmt.open(bundle.as_uri()) as opened:
        assert opened.path == bundle
        opened[0].at(1)
    assert not cache.exists()


# --- what is fetched --------------------------------------------------------------------------------------


def test_inspecting_a_hundred_trajectories_moves_the_manifest(
    server: Server, write_bundle: Any, walk: Any, cache: Path
) -> None:
    """14 tensors, 51 timesteps, as a ConvNet has them: under 1 MB, and no other file; nothing is kept."""
    layout = ParamLayout.of([(f"features.{n}", (40,)) for n in range(14)])
    path = write_bundle(layout, *(walk(layout, timesteps=51, seed=i) for i in range(100)))
    here = summarize(path)
    code, out, _ = _traj("inspect", f"{server.url}/out.mct")
    assert code == 0
    assert "100 of 51 timesteps" in out
    assert dict(server.sent) == {"out.mct/manifest.json": (path / "manifest.json").stat().st_size}
    assert server.sent.total() < 10**6
    assert not cache.exists()
    there = summarize(f"{server.url}/out.mct")
    assert (there.storage, there.sha256, there.provenance) == (here.storage, here.sha256, here.provenance)
    assert there.path == f"{server.url}/out.mct"


def test_one_trajectory_moves_its_knots_and_its_tables(server: Server, bundle: Path, cache: Path) -> None:
    """Opening fetches the manifest, a knot its pieces, and weights in between the tables; nothing twice."""
    with trajfmt.open(f"{server.url}/out.mct") as opened:
        assert len(opened) == 5
        assert set(server.sent) == {"out.mct/manifest.json"}
        opened[3].knot(0)
        digests, knots = "out.mct/pieces/00000.safetensors", "out.mct/knots/00003.safetensors"
        assert set(server.sent) == {"out.mct/manifest.json", digests, knots}
        assert server.sent[knots] == opened.layout.nbytes
        for t in (0, 1.5, 5):
            opened[3].at(t)
        opened[3].knot(1)
    assert server.sent[knots] == 2 * opened.layout.nbytes
    assert server.sent["out.mct/tables/00000.h5"] == (bundle / "tables/00000.h5").stat().st_size
    parts = {"knots/.00003.safetensors.parts", "pieces/.00000.safetensors.parts"}
    assert _kept(cache) == parts | {"manifest.json", "tables/00000.h5"}


def test_a_trajectory_that_is_read_whole_is_fetched_whole(server: Server, bundle: Path, cache: Path) -> None:
    """Weights between two knots need both: one request, no digests, and a file under its own name."""
    with trajfmt.open(f"{server.url}/out.mct") as opened:
        opened[3].at(1.5)
    expected = {"manifest.json", "knots/00003.safetensors", "tables/00000.h5"}
    assert dict(server.sent) == {f"out.mct/{name}": (bundle / name).stat().st_size for name in expected}
    assert _kept(cache) == expected


def test_a_second_use_moves_the_manifest_alone(server: Server, there: str) -> None:
    """The manifest says which bundle it is; all else is in the cache, also for another process."""
    _bits(there)
    server.sent.clear()
    _bits(there, verify=True)
    assert set(server.sent) == {"out.mct/manifest.json"}
    assert validate(there) == []
    server.sent.clear()
    assert _traj("validate", there) == (0, f"{server.url}/out.mct: valid\n", "")
    assert set(server.sent) == {"out.mct/manifest.json"}


def test_the_manifest_is_the_authority(server: Server, bundle: Path, big: ParamLayout, walk: Any) -> None:
    """A bundle that has grown is another one, and its files are fetched afresh."""
    before = trajfmt.open(f"{server.url}/out.mct")
    with trajfmt.append(bundle) as writer:
        writer.add(ArrayTrajectory(walk(big, seed=9), big))
    with trajfmt.open(f"{server.url}/out.mct") as after:
        assert (len(before), len(after)) == (5, 6)
        assert after.path != before.path
        assert after[5].at(0).tobytes() == walk(big, seed=9)[0].tobytes()


def test_the_folder_of_the_cache_is_a_bundle(server: Server, bundle: Path) -> None:
    """Once everything was fetched, other programs can use it by its path."""
    with trajfmt.open(f"{server.url}/out.mct") as opened:
        assert validate(f"{server.url}/out.mct") == []
        assert validate(opened.path) == []
        assert trajfmt.open(opened.path).sha256 == trajfmt.open(bundle).sha256


def test_a_signature_stays_at_the_end_and_is_not_shown(server: Server, bundle: Path, tmp_path: Path) -> None:
    """A query is sent with every file; neither it nor a login is in any output."""
    address = f"http://me:secret@127.0.0.1:{server.server_port}/out.mct?signature=hidden"
    assert _bits(address) == _bits(bundle)
    assert server.asked[0] == "out.mct/manifest.json?signature=hidden"
    assert all(asked.endswith("?signature=hidden") for asked in server.asked)
    server.status["out.mct/knots/00001.safetensors"] = 500
    shutil.rmtree(tmp_path / "cache")
    for *arguments, name in (
        ("inspect", address, "out.mct"),
        ("inspect", address, "--json", "out.mct"),
        ("validate", address, "out.mct"),
        ("extract", address, "--t", 1, "--trajectory", 1, "-o", tmp_path / "x.safetensors", "out.mct"),
        ("inspect", address.replace("out.mct", "gone.mct"), "gone.mct"),
        ("inspect", address.replace("http", "htp"), "out.mct"),
    ):
        told = "".join(map(str, _traj(*arguments)))
        assert name in told
        assert "secret" not in told
        assert "hidden" not in told
    assert "secret" not in repr(trajfmt.open(address))


# --- what can go wrong ------------------------------------------------------------------------------------


def test_a_flipped_bit_is_found_on_arrival(server: Server, bundle: Path, cache: Path) -> None:
    """Without `verify`: hash_mismatch at the file's address, and nothing under its name.

    The bit is in the last knot. The first one is read without it.
    """
    name = "knots/00002.safetensors"
    data = bytearray((bundle / name).read_bytes())
    data[-1] ^= 1
    server.body[f"out.mct/{name}"] = bytes(data)
    address = f"{server.url}/out.mct"
    with trajfmt.open(address) as opened, pytest.raises(trajfmt.CorruptError) as caught:
        opened[2].at(3)
    assert (caught.value.reason, caught.value.path) == ("hash_mismatch", f"{address}/{name}")
    assert _kept(cache) == {"manifest.json", "tables/00000.h5"}
    with trajfmt.open(address) as opened, trajfmt.open(bundle) as here:
        assert opened[2].knot(0).tobytes() == here[2].knot(0).tobytes()
        with pytest.raises(trajfmt.CorruptError, match=r"piece \d+ \(bytes \d+ to") as caught:
            opened[2].knot(1)
        assert (caught.value.reason, caught.value.path) == ("hash_mismatch", f"{address}/{name}")
    server.asked.clear()
    assert [(found.reason, found.where) for found in validate(address)] == [
        ("hash_mismatch", f"{address}/{name}")
    ]
    assert server.asked.count(f"out.mct/{name}") == 1
    code, _, line = _traj(
        "extract", address, "--trajectory", 2, "--t", 1, "-o", bundle.parent / "x.safetensors"
    )
    assert (code, "hash_mismatch" in line) == (4, True)
    del server.body[f"out.mct/{name}"]
    assert _bits(address) == _bits(bundle)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x[:-1], "file_size_mismatch"),
        (lambda x: x + b"0", "file_size_mismatch"),
        (None, "file_missing"),
    ],
)
def test_files_that_are_not_those_of_the_manifest(
    server: Server, bundle: Path, cache: Path, change: Any, reason: str
) -> None:
    """Shorter, longer, not there: damage, as on disk."""
    name = "out.mct/knots/00000.safetensors"
    if change is None:
        server.status[name] = 404
    else:
        server.body[name] = change((bundle.parent / name).read_bytes())
    with trajfmt.open(f"{server.url}/out.mct") as opened, pytest.raises(trajfmt.CorruptError) as caught:
        opened[0].at(1)
    assert (caught.value.reason, caught.value.exit_code) == (reason, 4)
    assert _kept(cache) == {"manifest.json", "tables/00000.h5"}


def test_a_server_that_dies_in_mid_file(server: Server, there: str, cache: Path, tmp_path: Path) -> None:
    """One line, exit 1; once the server is well, the same command fetches the rest."""
    name = "out.mct/knots/00003.safetensors"
    server.cut[name] = 350_000
    command = (
        "extract",
        there,
        "--trajectory",
        3,
        "--t",
        2,
        "-o",
        tmp_path / "x.safetensors",
    )
    code, out, line = _traj(*command)
    assert (code, out) == (1, "")
    assert line == f"error: {server.url}/{name}: the connection ended in the middle; try again"
    assert _kept(cache) == {"manifest.json", "tables/00000.h5", "knots/.00003.safetensors.partial"}
    assert not (tmp_path / "x.safetensors").exists()
    server.cut.clear()
    assert _traj(*command)[0] == 0
    assert _kept(cache) == {"manifest.json", "tables/00000.h5", "knots/00003.safetensors"}
    assert server.sent[name] < (tmp_path / name).stat().st_size + 350_000


def test_a_server_that_falls_silent(
    server: Server, there: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file, and before the manifest: an error after a while, not a hang."""
    monkeypatch.setattr(transfer, "SILENCE", 0.2)
    server.stalled["out.mct/knots/00001.safetensors"] = 100_000
    with trajfmt.open(there) as opened, pytest.raises(trajfmt.RemoteError, match="stopped"):
        opened[1].at(1)
    assert "knots/00001.safetensors" not in _kept(cache)
    server.stalled["out.mct/manifest.json"] = 10
    with pytest.raises(trajfmt.RemoteError, match="stopped answering"):
        trajfmt.open(there)


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [
        ("{url}/gone.mct", 2, "nothing is there"),
        ("{url}/file.pt", 3, "a bundle is a folder with a manifest.json"),
        ("{url}/empty", 3, "a bundle is a folder with a manifest.json"),
        ("{url}/page", 3, "the server sent a web page and no manifest"),
        ("{url}/secret", 1, "access was refused"),
        ("{url}/broken", 1, "the server answered 503"),
        ("{url}/scribble", 4, "manifest_invalid"),
        ("http://127.0.0.1:1/out.mct", 1, "no connection: Connection refused"),
        ("htp://host/out.mct", 2, "not an address that fsspec knows: Protocol not known: htp"),
        ("memory://gone.mct", 2, "nothing is there"),
        ("http://", 2, "not a valid address"),
    ],
)
def test_each_failure_has_its_line_and_exit_code(
    server: Server, tmp_path: Path, address: str, code: int, told: str
) -> None:
    """One line that names the address, whatever the command."""
    (tmp_path / "file.pt").write_bytes(b"x" * 10)
    (tmp_path / "empty").mkdir()
    server.body |= {"page/manifest.json": b"<!doctype html><p>log in", "scribble/manifest.json": b"{"}
    server.status |= {"secret/manifest.json": 403, "broken/manifest.json": 503}
    address = address.format(url=server.url)
    found, out, line = _traj("inspect", address)
    assert (found, out) == (code, "")
    assert line.startswith(f"error: {address.rstrip('/')}")
    assert told in line
    if 3 <= code <= 5:
        assert [problem.exit_code for problem in validate(address)] == [code]
    else:
        with pytest.raises(trajfmt.TrajfmtError) as caught:
            validate(address)
        assert caught.value.exit_code == code


@pytest.mark.parametrize(("status", "code"), [(403, 1), (404, 2), (503, 1)])
def test_a_refusal_leaves_no_connection_open(server: Server, status: int, code: int) -> None:
    """The page of an error may be still on its way when the program ends, which must not mention it."""
    server.status["slow/manifest.json"], server.stalled["slow/manifest.json"] = status, 0
    assert _traj("inspect", f"{server.url}/slow")[:2] == (code, "")


@pytest.mark.parametrize("target", ["/again/manifest.json", "file:///etc/passwd"])
def test_redirects_that_lead_nowhere(target: str) -> None:
    """A server that sends in circles, or out of the web, is told as that."""

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815  # the base class's name

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, _, line = _traj("inspect", f"http://127.0.0.1:{server.server_port}/again")
        server.shutdown()
    assert code == 1
    assert "the server redirects in circles, or away from the web" in line


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's own advice, in one line."""
    known = {"class": "no_such_package.System", "err": "Install no_such_package to access it"}
    monkeypatch.setitem(sys.modules["fsspec.registry"].known_implementations, "odd", known)
    with pytest.raises(trajfmt.MissingDependencyError, match="Install no_such_package"):
        trajfmt.open("odd://bucket/out.mct")


@pytest.mark.parametrize("package", ["fsspec", "aiohttp"])
def test_without_its_packages_the_extra_is_named(
    package: str, python: Callable[..., str], bundle: Path
) -> None:
    """An address says what to install; a path needs neither."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import trajfmt\n"
        "assert len(trajfmt.open(sys.argv[1])[0].at(1)) == 50007\n"
        "try: trajfmt.open('http://host/out.mct')\n"
        "except trajfmt.MissingDependencyError as error: print(error)"
    )
    assert "pip install 'trajfmt[remote]'" in python(code, bundle)


def test_an_fsspec_that_would_hang_after_a_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones come with other packages; they wait for a thread that a forked child does not have."""
    monkeypatch.delattr("fsspec.asyn.reset_after_fork")
    with pytest.raises(trajfmt.MissingDependencyError, match="fsspec >= 2025"):
        trajfmt.open("memory://out.mct")


def test_paths_load_no_network(python: Callable[..., str], bundle: Path) -> None:
    """Opening and reading by a path, or a file address, imports nothing of this."""
    code = (
        "import sys, trajfmt\n"
        "for place in sys.argv[1:]: trajfmt.open(place)[0].at(1)\n"
        "print(sorted({'fsspec', 'aiohttp', 'asyncio'} & set(sys.modules)))"
    )
    assert python(code, bundle, bundle.as_uri()) == "[]\n"


def test_a_manifest_beyond_the_cap_is_not_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a gigabyte only the allowed bytes are read; the rest is what sockets hold."""
    monkeypatch.setattr(arrivals, "MAX_BYTES", 2**20)
    (tmp_path / "huge").mkdir()
    with (tmp_path / "huge/manifest.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(trajfmt.UnsafeError) as caught:
        trajfmt.open(f"{server.url}/huge")
    assert caught.value.reason == "manifest_too_large"
    assert server.sent.total() < 2**25
    fsspec.filesystem("memory").pipe("/huge/manifest.json", b" " * (2**20 + 1))
    with pytest.raises(trajfmt.UnsafeError):
        trajfmt.open("memory://huge")
    fsspec.filesystem("memory").rm("/huge", recursive=True)


# --- the cache --------------------------------------------------------------------------------------------


def test_what_was_damaged_in_the_cache_is_fetched_again(server: Server, there: str) -> None:
    """A cut file always; a flipped bit with `verify`, and by `validate`, which fetches the file again."""
    expected = _bits(there)
    assert validate(there) == []
    victim = trajfmt.open(there).path / "knots/00000.safetensors"
    sound = victim.read_bytes()
    victim.write_bytes(sound[:-1])
    assert _bits(there) == expected
    victim.write_bytes(damaged := sound[:-1] + bytes([sound[-1] ^ 1]))
    assert _bits(there, verify=True) == expected
    victim.write_bytes(damaged)
    server.asked.clear()
    assert validate(there) == []
    assert victim.read_bytes() == sound
    assert server.asked == ["out.mct/manifest.json", "out.mct/knots/00000.safetensors"]


def test_a_link_in_the_cache_is_refused(there: str, tmp_path: Path) -> None:
    """Neither read nor written through."""
    opened = trajfmt.open(there)
    opened[0].at(0)
    (opened.path / "knots/00001.safetensors").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("keep")
    with pytest.raises(trajfmt.UnsafeError):
        opened[1].at(0)
    for kind, t in (("parts", 0), ("partial", 1)):
        link = opened.path / f"knots/.00002.safetensors.{kind}"
        link.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(trajfmt.RemoteError, match="cannot be stored: Too many levels of symbolic links"):
            opened[2].at(t)
        link.unlink()
    assert (tmp_path / "elsewhere").read_text() == "keep"


def test_a_full_disk_and_a_cache_that_cannot_be_made(
    there: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that names the variable; nothing partial stays."""
    with trajfmt.open(there) as opened:
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1, 1, 0))
            with pytest.raises(trajfmt.RemoteError, match="TRAJFMT_CACHE") as caught:
                opened[0].at(0)
        assert "No space left" in str(caught.value)
        assert _kept(cache) == {"manifest.json"}
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "TRAJFMT_CACHE": str(tmp_path / "file")}
    command = ("extract", there, "--t", 1, "-o", tmp_path / "x.safetensors")
    code, _, line = _traj(*command, env=environment)
    assert code == 1
    assert "TRAJFMT_CACHE" in line
    assert _traj("inspect", there, env=environment)[0] == 0


def test_a_write_that_fails_half_way_leaves_nothing(
    there: str, cache: Path, python: Callable[..., str]
) -> None:
    """The system's own limit on a file's size ends the write in the middle."""
    code = (
        "import resource, signal, sys, trajfmt\n"
        "opened = trajfmt.open(sys.argv[1]); opened[0].u\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: opened[0].at(1)\n"
        "except trajfmt.TrajfmtError as error: print(type(error).__name__)"
    )
    assert python(code, there) == "RemoteError\n"
    assert _kept(cache) == {"manifest.json", "tables/00000.h5"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_end_in_mid_file(
    server: Server, there: str, cache: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """Ctrl-C gives 130; it and a kill leave a hidden part, which the next use completes."""
    name = "out.mct/knots/00003.safetensors"
    server.stalled[name] = 100_000
    command = (
        "extract",
        there,
        "--trajectory",
        3,
        "--t",
        2,
        "-o",
        tmp_path / "x.safetensors",
    )
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert server.stalling.wait(30)
        while not any(part.stat().st_size for part in cache.rglob(".00003.safetensors.partial")):
            assert process.poll() is None
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if how == signal.SIGINT else -9)
    assert err.decode() == ("error: interrupted\n" if how == signal.SIGINT else "")
    partial = "knots/.00003.safetensors.partial"
    tables = {"tables/00000.h5", "tables/.00000.h5.partial"}  # complete, and perhaps without its name yet
    assert _kept(cache) - tables == {"manifest.json", partial}
    held = next(cache.rglob(".00003.safetensors.partial")).stat().st_size
    server.stalled.clear()
    server.sent.clear()
    assert _traj(*command)[0] == 0
    assert _kept(cache) == {"manifest.json", "tables/00000.h5", "knots/00003.safetensors"}
    assert server.sent[name] == (tmp_path / name).stat().st_size - held


# --- threads, processes -----------------------------------------------------------------------------------


def test_threads_and_bundles_fetch_no_byte_twice(server: Server, bundle: Path, tmp_path: Path) -> None:
    """Sixteen readers at the same moment, each with a bundle of its own or one for all."""
    address = f"{server.url}/out.mct"
    expected = _bits(bundle)
    shared = trajfmt.open(address)
    gate = threading.Barrier(16)

    def read(number: int) -> list[bytes]:
        opened = shared if number % 2 else trajfmt.open(address)
        gate.wait(30)
        return [item.at(t).tobytes() for item in opened for t in (0, 3, item.last)]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, range(16))) == [expected] * 16
    for name, sent in server.sent.items():
        assert sent <= (tmp_path / name).stat().st_size or name.endswith("manifest.json")
    assert not list(shared.path.rglob(".*.partial"))


def test_a_file_system_without_locks(
    server: Server, bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits, a file may be fetched twice, and what is kept is whole."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    expected = _bits(bundle)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(_bits, [f"{server.url}/out.mct"] * 4)) == [expected] * 4
    assert not list(cache.rglob(".*.partial"))
    assert validate(f"{server.url}/out.mct") == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, since fsspec has a thread
@pytest.mark.parametrize("used", [False, True])
def test_forked_workers_of_a_pool(server: Server, bundle: Path, used: bool) -> None:
    """A bundle goes into workers as it is, before and after the parent has used the network."""
    with trajfmt.open(f"{server.url}/out.mct") as opened:
        if used:
            opened[0].at(0)
        with multiprocessing.get_context("fork").Pool(3, _take, (opened,)) as pool:
            found = pool.map(_read, [0, 1, 2, 3, 4] * 2, chunksize=1)
    with trajfmt.open(bundle) as here:
        assert found == [here[i].at(2).tobytes() for i in [0, 1, 2, 3, 4] * 2]
    _nothing_twice(server)


def _nothing_twice(server: Server) -> None:
    """Require that no more bytes of a file were sent than it has."""
    for name, sent in server.sent.items():
        assert sent <= (server.root / name).stat().st_size, name


_given: list[trajfmt.Bundle] = []


def _take(opened: trajfmt.Bundle) -> None:
    _given[:] = [opened]


def _read(number: int) -> bytes:
    return _given[0][number].at(2).tobytes()


@pytest.mark.parametrize("used", [False, True])
def test_a_spawned_process_unpickles_it(
    server: Server, bundle: Path, python: Callable[..., str], used: bool
) -> None:
    """A process that shares nothing fetches by itself; the pickle is small."""
    with trajfmt.open(f"{server.url}/out.mct") as opened:
        item = opened[1]
        if used:
            item.at(0)
        sent = pickle.dumps((opened, item))
        assert len(sent) < 5000
        code = (
            "import pickle, sys; opened, item = pickle.loads(bytes.fromhex(sys.argv[1]));"
            "print((item.at(2).tobytes() + opened[4].at(2).tobytes()).hex())"
        )
        there = bytes.fromhex(python(code, sent.hex()))
    with trajfmt.open(bundle) as here:
        assert there == here[1].at(2).tobytes() + here[4].at(2).tobytes()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_of_a_data_loader(server: Server, bundle: Path) -> None:
    """torch's DataLoader forks, with the parent's network thread behind it."""
    data = pytest.importorskip("torch.utils.data")
    with trajfmt.open(f"{server.url}/out.mct") as opened, trajfmt.open(bundle) as here:
        opened[0].at(0)
        loader = data.DataLoader(_Weights(opened), batch_size=None, num_workers=2)
        assert [each.numpy().tobytes() for each in loader] == [item.at(2).tobytes() for item in here]
    _nothing_twice(server)


class _Weights:
    def __init__(self, opened: trajfmt.Bundle) -> None:
        self._opened = opened

    def __len__(self) -> int:
        return len(self._opened)

    def __getitem__(self, number: int) -> Array:
        return self._opened[number].at(2)


# --- addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["convert {path} {to}", "export {path} {to}", "extract {path} --t 1 -o {to}"]
)
@pytest.mark.parametrize("to", ["s3://bucket/x.mct", "http://me:secret@host/x.mct"])
def test_nothing_is_written_to_an_address(bundle: Path, command: str, to: str) -> None:
    """One line and exit 2, from the commands."""
    code, out, line = _traj(*command.format(path=bundle, to=to).split())
    assert (code, out) == (2, "")
    assert "must be a path of this machine" in line
    assert "secret" not in line


def test_the_library_writes_to_no_address(bundle: Path, big: ParamLayout) -> None:
    """Functions say the same; no folder called `s3:` appears."""
    from trajfmt.bundle.extraction import extract
    from trajfmt.convert.run import convert

    for write in (
        lambda: trajfmt.create("s3://bucket/x.mct", big, encoding="convex"),
        lambda: trajfmt.append("s3://bucket/x.mct"),
        lambda: convert(bundle, "s3://bucket/x.mtt"),
        lambda: extract(trajfmt.open(bundle), 0, 1, "s3://bucket/x.safetensors"),
    ):
        with pytest.raises(trajfmt.UsageError, match="must be a path of this machine"):
            write()
    assert not Path("s3:").exists()


def test_converting_from_an_address(
    server: Server, write_bundle: Any, walk: Any, layout: ParamLayout, tmp_path: Path
) -> None:
    """A .mtt at an address becomes the .mct that the same .mtt here becomes, byte for byte."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1), encoding="full")
    assert _traj("convert", f"{server.url}/out.mtt", tmp_path / "there.mct", "--knots", "2")[0] == 0
    assert _traj("convert", path, tmp_path / "here.mct", "--knots", "2")[0] == 0
    code, _, line = _traj("convert", f"{server.url}/out.mtt", tmp_path / "no.mct", "--from", "mtt")
    assert (code, "only bundles are read from an address" in line) == (2, True)
    for file in sorted((tmp_path / "here.mct").rglob("*.*")):
        assert (
            tmp_path / "there.mct" / file.relative_to(tmp_path / "here.mct")
        ).read_bytes() == file.read_bytes()


def test_without_a_home_the_variable_is_named(there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nowhere to keep what is fetched."""
    monkeypatch.setattr(remote, "cache_folder", lambda: None)
    with pytest.raises(trajfmt.RemoteError, match="there is no home folder for the cache; set TRAJFMT_CACHE"):
        trajfmt.open(there)


def test_bytes_outside_of_all_pieces_take_the_whole_file(server: Server, there: str, bundle: Path) -> None:
    """A header has no digest of its own, but the file has a hash."""
    name = "knots/00000.safetensors"
    with trajfmt.open(there) as opened:
        assert opened.files.read(name, 0, 100) == (bundle / name).read_bytes()[:100]
        assert server.sent[f"out.mct/{name}"] == (bundle / name).stat().st_size


def test_a_file_that_another_process_has_just_fetched(
    server: Server, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there when its lock is free, and is not fetched again."""
    name = "knots/00000.safetensors"
    with trajfmt.open(there) as opened:
        files = opened.files
        files.path(name)
        server.asked.clear()
        monkeypatch.setattr(type(files), "is_here", lambda *_: False)
        assert files.path(name).is_file()
        assert server.asked == []


@pytest.mark.parametrize("pieces", [True, False])
def test_verifying_fetches_again_what_is_damaged_here(
    server: Server, there: str, bundle: Path, pieces: bool
) -> None:
    """And reports what is damaged there, once."""
    name, bad = "knots/00000.safetensors", "knots/00001.safetensors"
    server.body[f"out.mct/{bad}"] = bytes((bundle / bad).stat().st_size)
    with trajfmt.open(there) as opened:
        kept = opened.files.path(name)
        data = bytearray(kept.read_bytes())
        data[-1] ^= 1
        kept.write_bytes(data)
        hashes = {entry.path: entry.sha256 for entry in opened.manifest.files}
        problems = opened.files.verify(hashes, pieces=pieces)
        assert [(path, problem.reason) for path, problem in problems.items()] == [(bad, "hash_mismatch")]
        assert kept.read_bytes() == (bundle / name).read_bytes()
