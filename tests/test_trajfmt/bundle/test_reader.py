"""One contract for both encodings and every codec: what `open` gives."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.walks import walk_of, write_walks
from trajfmt import (
    Bundle,
    CorruptError,
    MissingError,
    NotABundleError,
    ParamLayout,
    TimestepError,
    UnsafeError,
)

Array = NDArray[np.generic]
SPECIAL = np.array([-0.0, 1e-45, -1e-45, 3e-39, 3.4028235e38, -3.4028235e38, 0.0, 1.0, -2.5], "<f4")

VARIANTS: dict[str, dict[str, Any]] = {
    "convex": {"encoding": "convex"},
    "convex-knots": {"encoding": "convex", "knots": (2, 3)},
    "none": {"encoding": "full", "codec": "none"},
    "zstd": {"encoding": "full", "codec": "zstd"},
    "archive": {"encoding": "full", "codec": "archive"},
}


def _bits(bundle: Bundle) -> list[bytes]:
    """Return the bytes of what a process can read: ends, a middle, and a knot."""
    return [item.at(t).tobytes() for item in bundle for t in (0, 3, item.last)] + [
        item.knot(1).tobytes() for item in bundle
    ]


def _read_in_child(bundle: Bundle, queue: Any) -> None:
    queue.put(_bits(bundle))


@pytest.fixture(params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    """Return the name of an encoding and codec."""
    return str(request.param)


@pytest.fixture
def thetas(layout: ParamLayout, walk: Callable[..., Array]) -> list[Array]:
    """Return three trajectories of unequal length, the first between values that are hard to keep."""
    first = walk(layout)
    first[0], first[2], first[3], first[-1] = SPECIAL, SPECIAL[::-1], -SPECIAL, SPECIAL[::-1]
    first[:, 4:6] = 1.0
    return [first, walk(layout, timesteps=9, seed=1), walk(layout, timesteps=5, seed=2)]


@pytest.fixture
def path(write_bundle: Callable[..., Path], layout: ParamLayout, thetas: list[Array], variant: str) -> Path:
    """Return a bundle of those trajectories."""
    return write_bundle(layout, *thetas, **VARIANTS[variant])


class TestBundle:
    def test_describes_itself(self, path: Path, layout: ParamLayout, variant: str) -> None:
        """Encoding, length, layout and repr come from the manifest alone."""
        with trajfmt.open(path) as bundle:
            assert bundle.encoding == ("convex" if "convex" in variant else "full")
            assert len(bundle) == 3
            assert bundle.layout == layout
            assert "3 trajectories" in repr(bundle)
            assert bundle.provenance == bundle.manifest.provenance
            assert [item.timesteps for item in bundle] == [6, 9, 5]
            assert [item.last for item in bundle] == [5, 8, 4]

    def test_indexing_is_a_sequence(self, path: Path) -> None:
        """Positive, negative and numpy indices, slices and iteration agree."""
        with trajfmt.open(path) as bundle:
            assert [bundle[i].index for i in (0, 2, -1, -3, np.int64(1))] == [0, 2, 2, 0, 1]
            assert [item.index for item in bundle] == [0, 1, 2]
            assert [item.index for item in bundle[::-1]] == [2, 1, 0]
            assert [item.index for item in bundle[1:99]] == [1, 2]

    @pytest.mark.parametrize("index", [3, -4, 10**30])
    def test_index_outside_is_an_index_error(self, path: Path, index: int) -> None:
        """Also for numbers beyond machine integers."""
        with trajfmt.open(path) as bundle, pytest.raises(IndexError):
            bundle[index]

    @pytest.mark.parametrize("index", [1.0, "0", None])
    def test_index_of_another_type_is_a_type_error(self, path: Path, index: Any) -> None:
        """Nothing is rounded or converted."""
        with trajfmt.open(path) as bundle, pytest.raises(TypeError):
            bundle[index]

    @pytest.mark.parametrize("backend", ["mmap", "pread"])
    def test_knots_are_bit_identical(self, path: Path, thetas: list[Array], backend: Any) -> None:
        """Every stored timestep, by `knot` and by `at`: -0.0, denormals and the largest too."""
        with trajfmt.open(path, backend=backend) as bundle:
            for item, theta in zip(bundle, thetas, strict=True):
                assert item.knots[0] == 0
                assert item.knots[-1] == item.last
                for k, t in enumerate(item.knots):
                    assert item.knot(k).tobytes() == theta[t].tobytes()
                    assert item.at(t).tobytes() == theta[t].tobytes()
                    assert item.at(float(t)).tobytes() == theta[t].tobytes()

    def test_knots_are_read_only_and_weights_are_not(self, path: Path) -> None:
        """What is handed out of `at` belongs to the caller; what is mapped belongs to the file."""
        with trajfmt.open(path) as bundle:
            before = bundle[0].at(0)
            knot, theta = bundle[0].knot(0), bundle[0].at(0)
            assert not knot.flags.writeable
            theta[:] = 7
            assert bundle[0].at(0).tobytes() == before.tobytes()

    def test_two_reads_are_two_arrays(self, path: Path) -> None:
        """A later read does not overwrite what an earlier one gave."""
        with trajfmt.open(path) as bundle:
            first = bundle[1].knot(0)
            kept = first.tobytes()
            _ = [bundle[1].knot(k) for k in range(len(bundle[1].knots))]
            assert first.tobytes() == kept

    @pytest.mark.parametrize("t", [-1, -0.5, 5.5, 6, 1e300, math.nan, math.inf, -math.inf])
    def test_t_outside_is_a_timestep_error(self, path: Path, t: float) -> None:
        """t lies in [0, T]."""
        with trajfmt.open(path) as bundle:
            with pytest.raises(TimestepError):
                bundle[0].at(t)
            with pytest.raises(TimestepError):
                bundle[0].locate(t)

    def test_negative_zero_is_zero(self, path: Path, thetas: list[Array]) -> None:
        """t = -0.0 is the start."""
        with trajfmt.open(path) as bundle:
            assert bundle[0].at(-0.0).tobytes() == thetas[0][0].tobytes()

    def test_fractional_t(self, path: Path, variant: str) -> None:
        """Between timesteps there are weights on convex, and an error that says so on full."""
        with trajfmt.open(path) as bundle:
            if "convex" in variant:
                assert np.isfinite(bundle[0].at(1.5)).all()
            else:
                with pytest.raises(TimestepError, match="whole"):
                    bundle[0].at(1.5)

    @pytest.mark.parametrize("k", [-1, 99])
    def test_knot_number_outside_is_a_timestep_error(self, path: Path, k: int) -> None:
        """A knot number is not counted from the end."""
        with trajfmt.open(path) as bundle, pytest.raises(TimestepError):
            bundle[0].knot(k)

    def test_locate_says_what_at_mixes(self, path: Path, variant: str) -> None:
        """(1 - w) knot(s) + w knot(s + 1), per layer, is `at`."""
        with trajfmt.open(path) as bundle:
            item = bundle[1]
            for t in (0, 1, 4, item.last) if "convex" not in variant else (0, 0.3, 4.75, item.last):
                segment, weight = item.locate(t)
                theta = np.empty(item.layout.size)
                for start, stop, layer in item.layout.runs:
                    a, b = (item.knot(segment[layer] + i)[start:stop].astype(float) for i in (0, 1))
                    theta[start:stop] = (1 - weight[layer]) * a + weight[layer] * b
                assert np.allclose(item.at(t), theta, rtol=1e-6, atol=0)

    def test_backends_give_the_same_bits(self, path: Path) -> None:
        """Mapped or read by position."""
        with trajfmt.open(path) as a, trajfmt.open(path, backend="pread") as b:
            assert _bits(a) == _bits(b)

    def test_arrays_stay_valid_after_close(self, path: Path, thetas: list[Array]) -> None:
        """Closing the bundle does not pull the map away under an array."""
        with trajfmt.open(path) as bundle:
            knot = bundle[0].knot(0)
        gc.collect()
        assert knot.tobytes() == thetas[0][0].tobytes()

    def test_closing_gives_descriptors_back(self, path: Path) -> None:
        """After the block nothing is open any more."""
        before = len(os.listdir("/proc/self/fd"))
        with trajfmt.open(path) as bundle:
            _bits(bundle)
            bundle.close()
            bundle.close()
        assert len(os.listdir("/proc/self/fd")) == before

    def test_a_forgotten_bundle_gives_descriptors_back(self, path: Path) -> None:
        """Without `close` the files go with the last reference."""
        before = len(os.listdir("/proc/self/fd"))
        _bits(trajfmt.open(path))
        gc.collect()
        after = len(os.listdir("/proc/self/fd"))
        assert after == before

    @pytest.mark.parametrize("used", [False, True])
    def test_pickling(self, path: Path, used: bool) -> None:
        """A bundle, and a trajectory of it, can be sent elsewhere before and after their first use."""
        with trajfmt.open(path) as bundle:
            item = bundle[1]
            expected = _bits(trajfmt.open(path, backend="pread"))
            if used:
                _bits(bundle)
                item.at(0)
            sent, alone = pickle.loads(pickle.dumps((bundle, item)))
        with sent:
            assert _bits(sent) == expected
            assert sent.sha256 == bundle.sha256
            assert alone.at(alone.last).tobytes() == sent[1].at(alone.last).tobytes()

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, if BLAS has threads
    @pytest.mark.parametrize("used", [False, True])
    def test_forked_child(self, path: Path, used: bool) -> None:
        """A child of fork reads the same bits, whether or not the parent has read before."""
        with trajfmt.open(path) as bundle:
            expected = _bits(trajfmt.open(path, backend="pread"))
            if used:
                _bits(bundle)
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    os.write(write, b"".join(_bits(bundle)))
                finally:
                    os._exit(0)
            os.close(write)
            with open(read, "rb") as pipe:
                assert pipe.read() == b"".join(expected)
            os.waitpid(child, 0)
            assert _bits(bundle) == expected

    def test_verify_on_open(self, path: Path) -> None:
        """A flipped bit is found by `verify`, and by nothing less."""
        file = sorted(path.glob("*/*"))[0]
        trajfmt.open(path, verify=True).close()
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        trajfmt.open(path).close()
        with pytest.raises(CorruptError) as caught:
            trajfmt.open(path, verify=True)
        assert (caught.value.reason, caught.value.path) == ("hash_mismatch", str(file))


@pytest.mark.parametrize("name", ["convex", "zstd"])
def test_spawned_process(
    name: str, write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array], python: Any
) -> None:
    """A process that shares nothing unpickles a used bundle and reads the same bits."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1), **VARIANTS[name])
    with trajfmt.open(path) as bundle:
        expected = _bits(bundle)
        code = (
            "import pickle, sys; bundle = pickle.loads(bytes.fromhex(sys.argv[1]));"
            "print(b''.join(i.at(t).tobytes() for i in bundle for t in (0, 3, i.last)).hex())"
        )
        assert bytes.fromhex(python(code, pickle.dumps(bundle).hex())) == b"".join(expected[:6])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, if BLAS has threads
def test_multiprocessing_worker(
    write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """A bundle goes into a worker of multiprocessing as it is."""
    context = multiprocessing.get_context("fork")
    with trajfmt.open(write_bundle(layout, walk(layout))) as bundle:
        expected = _bits(bundle)
        queue = context.SimpleQueue()
        worker = context.Process(target=_read_in_child, args=(bundle, queue))
        worker.start()
        assert queue.get() == expected
        worker.join(30)
        assert worker.exitcode == 0


@pytest.mark.parametrize("name", list(VARIANTS))
def test_pickle_holds_no_weights(
    name: str, write_bundle: Callable[..., Path], walk: Callable[..., Array]
) -> None:
    """What is sent to a worker stays small after use."""
    layout = ParamLayout.of([("w", (5000,))])
    with trajfmt.open(write_bundle(layout, walk(layout), **VARIANTS[name])) as bundle:
        item = bundle[0]
        _bits(bundle)
        item.at(0)
        assert len(pickle.dumps((bundle, item))) < 5000


def test_nothing_but_the_manifest_is_needed_to_open(
    write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """A bundle without its files opens; asking for weights says what is missing."""
    path = write_bundle(layout, walk(layout))
    for file in path.glob("*/*"):
        file.unlink()
    with trajfmt.open(path) as bundle:
        assert bundle[0].knots == (0, 5)
        with pytest.raises(CorruptError) as caught:
            bundle[0].at(0)
    assert caught.value.reason == "file_missing"


def test_what_is_not_a_bundle(tmp_path: Path) -> None:
    """Nothing, a file, an empty folder and a link loop each have their own error."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("gone", "loop", "a\0b"):
        with pytest.raises(MissingError):
            trajfmt.open(tmp_path / name)
    for name in ("file", "empty"):
        with pytest.raises(NotABundleError) as caught:
            trajfmt.open(tmp_path / name)
        assert caught.value.reason == "not_a_bundle"


def test_manifest_must_be_a_regular_file(tmp_path: Path) -> None:
    """A link or a pipe in its place is unsafe, and must not hang."""
    for name in ("link", "pipe"):
        (tmp_path / name).mkdir()
    (tmp_path / "link/manifest.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe/manifest.json")
    for name in ("link", "pipe"):
        with pytest.raises(UnsafeError) as caught:
            trajfmt.open(tmp_path / name)
        assert caught.value.reason == "path_unsafe"


def test_manifest_above_the_cap_is_not_read(tmp_path: Path) -> None:
    """A sparse file of 1 TB is refused by its size."""
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnsafeError) as caught:
        trajfmt.open(tmp_path)
    assert caught.value.reason == "manifest_too_large"


def test_bundle_behind_a_link_opens(
    tmp_path: Path, write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """The bundle's own folder may be reached through a link."""
    (tmp_path / "link").symlink_to(write_bundle(layout, walk(layout)))
    with trajfmt.open(tmp_path / "link", verify=True) as bundle:
        assert bundle[0].at(0).shape == (9,)


def test_change_of_the_working_folder_after_open(
    monkeypatch: pytest.MonkeyPatch,
    write_bundle: Callable[..., Path],
    layout: ParamLayout,
    walk: Callable[..., Array],
) -> None:
    """A bundle that was opened by a relative path is still the same bundle."""
    path = write_bundle(layout, walk(layout))
    monkeypatch.chdir(path.parent)
    with trajfmt.open(path.name) as bundle:
        monkeypatch.chdir("/")
        assert bundle[0].at(0).shape == (9,)


@pytest.mark.parametrize("use", ["sum(len(t.at(0)) for t in bundle)", "bundle.verify()"])
def test_more_trajectories_than_descriptors(
    use: str,
    write_bundle: Callable[..., Path],
    layout: ParamLayout,
    walk: Callable[..., Array],
    python: Callable[..., str],
) -> None:
    """The number of open files does not limit the size of a bundle."""
    theta = walk(layout)
    many = [theta + np.float32(i) for i in range(80)]
    path = write_bundle(layout, *many, encoding="full")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    python(f"{limit}; import sys, trajfmt; bundle = trajfmt.open(sys.argv[1]); {use}", path)


def test_bundle_is_read_by_many_threads(tmp_path: Path) -> None:
    """More files than stay mapped, from eight threads that switch all the time."""
    path = write_walks(tmp_path / "o.mtt", 40)
    expected = [walk_of(seed)[5].tobytes() for seed in range(40)]
    failures: list[BaseException] = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with trajfmt.open(path) as opened:

            def read(seed: int) -> None:
                order = np.random.default_rng(seed).integers(0, 40, 300)
                try:
                    assert all(opened[int(i)].at(5).tobytes() == expected[int(i)] for i in order)
                except BaseException as exc:
                    failures.append(exc)

            threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []


def test_held_trajectories_do_not_hold_descriptors(tmp_path: Path, python: Callable[..., str]) -> None:
    """Trajectories that were read and are kept do not keep their files open."""
    path = write_walks(tmp_path / "o.mct", 60, "convex")
    code = (
        "import resource, sys, trajfmt; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40));"
        "held = list(trajfmt.open(sys.argv[1])); print(len([x.at(1.5) for x in held]))"
    )
    assert "60" in python(code, path)
