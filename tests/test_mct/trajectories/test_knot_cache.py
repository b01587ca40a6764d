"""Knots within a budget: what is held, what is loaded ahead, and that results do not depend on either."""

import gc
import threading
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.knot_cache import Knots  # noqa: E402
from mct.trajectories.loading import Knot, KnotLoader  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import (  # noqa: E402
    bundle_of,
    random_walk,
)

SHAPES = [("a.weight", (50, 31)), ("a.bias", (50,)), ("b.weight", (20, 50)), ("b.bias", (20,))]
LAYOUT = trajfmt.ParamLayout.of(SHAPES)
SIZE = LAYOUT.nbytes
READER = "mct-knots"


class Shelf:
    """A loader that writes down what it loads, and in which thread."""

    def __init__(self) -> None:
        self.loaded: list[tuple[tuple[int, int], bool]] = []
        self.broken: set[tuple[int, int]] = set()
        self.gate = threading.Event()
        self.gate.set()

    def load(self, key, *, ahead: bool = False) -> Knot:
        """Return a knot that says which one it is."""
        self.loaded.append((key, threading.current_thread().name.startswith(READER)))
        assert ahead == self.loaded[-1][1]
        assert self.gate.wait(10)
        if key in self.broken:
            raise OSError(f"knot {key} cannot be read")
        return Knot(torch.full((4,), float(10 * key[0] + key[1])), mapped=False)


def knots_of(shelf: Shelf, budget: int) -> Knots:
    """Return a cache that holds `budget` knots."""
    return Knots(shelf, size=16, budget=16 * budget)


def settle(knots: Knots) -> None:
    """Wait for what is on its way."""
    for coming in list(knots._coming.values()):
        coming.exception()


def reader_threads() -> set[threading.Thread]:
    """Return the readers that are alive."""
    return {thread for thread in threading.enumerate() if thread.name.startswith(READER)}


def write(tmp_path, kind: str, *, count: int = 3, last: int = 8, name: str = "a"):
    """Write a bundle: `mct`, `mtt`, or `zstd`, an `.mtt` whose timesteps are packed."""
    path = tmp_path / f"{name}.{'mct' if kind == 'mct' else 'mtt'}"
    options = {"encoding": "convex", "knots": (3,)} if kind == "mct" else {"encoding": "full"}
    if kind == "zstd":
        options["codec"] = "zstd"
    with trajfmt.create(path, LAYOUT, **options) as writer:
        for seed in range(count):
            writer.add(trajfmt.ArrayTrajectory(random_walk(LAYOUT, last, seed), LAYOUT))
    return path


def reverse(weights):
    """Arrange every parameter backwards."""
    return torch.cat([part.flip(0) for part in weights.split([p.size for p in LAYOUT.parameters])])


def test_knots_that_fit_are_loaded_once() -> None:
    """Resident: no knot comes twice, whatever the order."""
    shelf = Shelf()
    knots = knots_of(shelf, 6)
    for number in [0, 2, 1, 0, 1, 2, 2, 0]:
        found = knots.take([(number, 0), (number, 1)])
        assert [float(found[number, k][0]) for k in (0, 1)] == [10 * number, 10 * number + 1]
    assert sorted(key for key, _ in shelf.loaded) == [(n, k) for n in range(3) for k in range(2)]
    assert knots.nbytes == 6 * 16


def test_least_recently_used_knot_makes_room() -> None:
    """Of three, the one that was not touched for longest goes."""
    shelf = Shelf()
    knots = knots_of(shelf, 3)
    for number in [0, 1, 2, 0, 3, 0, 2, 1]:
        knots.take([(number, 0)])
        assert knots.nbytes <= 3 * 16
    assert [key[0] for key, _ in shelf.loaded] == [0, 1, 2, 3, 1]


@pytest.mark.parametrize("budget", [0, 1, 2])
def test_knots_in_use_always_fit(budget: int) -> None:
    """A sample may need more than the budget; nothing beside it is then held, or loaded ahead."""
    shelf = Shelf()
    knots = knots_of(shelf, budget)
    for number in range(4):
        knots.take([(number, k) for k in range(3)])
        knots.expect([(number + 1, k) for k in range(3)])
        assert knots.nbytes == 3 * 16
    assert not any(ahead for _, ahead in shelf.loaded)


def test_next_sample_is_loaded_ahead_once() -> None:
    """Where two samples fit, the reader has the next one; asking twice loads nothing twice."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    knots.take([(0, 0), (0, 1)])
    for number in range(1, 9):
        for _ in range(3):
            knots.expect([(number, 0), (number, 1)])
        assert knots.nbytes <= 4 * 16
        knots.take([(number, 0), (number, 1)])
        assert knots.nbytes <= 4 * 16
    assert [key for key, ahead in shelf.loaded if ahead] == [(n, k) for n in range(1, 9) for k in (0, 1)]
    assert len(shelf.loaded) == 18
    knots.close()


def test_expected_before_the_current_one_is_taken() -> None:
    """The next sample may be announced before this one is taken: it waits for room and drops nothing."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    knots.expect([(0, 0), (0, 1)])
    for number in range(5):
        knots.expect([(number + 1, 0), (number + 1, 1)])
        knots.take([(number, 0), (number, 1)])
        assert knots.nbytes <= 4 * 16
    settle(knots)
    assert len(shelf.loaded) == 12
    assert all(ahead for _, ahead in shelf.loaded)
    knots.close()


def test_several_samples_are_expected_in_order() -> None:
    """An outer step of several samples announces all of them; each is loaded once, as room allows."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    for number in range(6):
        knots.expect([(number, 0), (number, 1)])
    for number in range(6):
        knots.take([(number, 0), (number, 1)])
        assert knots.nbytes <= 4 * 16
    assert len(shelf.loaded) == 12
    assert all(ahead for _, ahead in shelf.loaded)
    knots.close()


def test_prefetch_that_was_not_needed_costs_only_its_time() -> None:
    """Another sample is drawn: it is there, within the budget, and what follows works as before."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    knots.take([(0, 0), (0, 1)])
    knots.expect([(1, 0), (1, 1)])
    found = knots.take([(2, 0), (2, 1)])
    assert float(found[2, 1][0]) == 21
    assert knots.nbytes <= 4 * 16
    for number in (3, 4, 5):
        knots.expect([(number, 0), (number, 1)])
        assert float(knots.take([(number, 0), (number, 1)])[number, 0][0]) == 10 * number
        assert knots.nbytes <= 4 * 16
    knots.close()


def test_error_of_the_reader_is_that_of_reading() -> None:
    """It is raised where the knot is needed, as if nothing had been loaded ahead, and not before."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    knots.take([(0, 0)])
    shelf.broken.add((1, 0))
    knots.expect([(1, 0)])
    settle(knots)
    knots.expect([(1, 0)])
    knots.take([(0, 0)])
    with pytest.raises(OSError, match=r"knot \(1, 0\) cannot be read"):
        knots.take([(1, 0)])
    shelf.broken.clear()
    assert float(knots.take([(1, 0)])[1, 0][0]) == 10
    knots.close()


def test_error_that_passes_is_not_seen() -> None:
    """What the reader failed at is read again before anything is raised."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    shelf.broken.add((1, 0))
    knots.expect([(1, 0)])
    settle(knots)
    shelf.broken.clear()
    assert float(knots.take([(1, 0)])[1, 0][0]) == 10
    knots.close()


def test_interrupt_while_waiting_leaves_a_cache_that_works() -> None:
    """Ctrl-C while the reader is at a knot: the next call has it all the same."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    shelf.gate.clear()
    knots.expect([(1, 0)])

    def interrupted():
        raise KeyboardInterrupt

    knots._coming[1, 0].result = interrupted
    with pytest.raises(KeyboardInterrupt):
        knots.take([(1, 0)])
    shelf.gate.set()
    assert float(knots.take([(1, 0)])[1, 0][0]) == 10
    knots.close()


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_reader_ends_with_the_cache(how: str) -> None:
    """No thread stays behind, and a second close is harmless."""
    before = reader_threads()
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    knots.expect([(1, 0)])
    (reader,) = reader_threads() - before
    if how == "closed":
        knots.close()
        knots.close()
        assert float(knots.take([(1, 0)])[1, 0][0]) == 10
    else:
        gone = weakref.ref(knots)
        del knots
        gc.collect()
        assert gone() is None
    reader.join(10)
    assert not reader.is_alive()


def test_program_ends_while_the_reader_works(tmp_path, python) -> None:
    """Nobody closes the stream, and the interpreter ends all the same."""
    path = write(tmp_path, "zstd")
    code = """
import sys, torch, trajfmt
from mct.trajectories.stream import KnotStream
stream = KnotStream(trajfmt.open(sys.argv[1]), expert_steps=2)
random = torch.Generator().manual_seed(0)
stream.draw(random)
stream.prefetch(random)
print("done")
"""
    assert python(code, path) == "done\n"


MODES = [(1 << 30, None), (0, None), (3 * SIZE, None), (5 * SIZE, "prefetch"), (1 << 30, "prefetch"),
         (9 * SIZE, "late")]  # fmt: skip


@pytest.mark.parametrize("kind", ["mct", "mtt", "zstd"])
@pytest.mark.parametrize("arrange", [None, reverse])
def test_samples_do_not_depend_on_the_budget(tmp_path, kind, arrange) -> None:
    """Resident, cached, and loaded ahead: the same draws, and the same weights bit for bit."""
    with trajfmt.open(write(tmp_path, kind)) as bundle:
        runs = []
        for budget, ahead in MODES:
            stream = KnotStream(bundle, expert_steps=3, arrange=arrange, budget=budget)
            random, found = generator(3), []
            for _ in range(12):
                if ahead == "late":
                    stream.prefetch(random)
                sample = stream.draw(random)
                if ahead == "prefetch":
                    stream.prefetch(random)
                most = max(budget, 4 * SIZE)
                assert stream._knots.nbytes <= most
                target = stream.materialise(sample.target)
                found.append((sample.start.trajectory, sample.start.time, sample.weights, target))
                for time_, weights in ((sample.start.time, found[-1][2]), (sample.target.time, target)):
                    expected = torch.from_numpy(bundle[sample.start.trajectory].at(time_))
                    expected = expected if arrange is None else arrange(expected)
                    np.testing.assert_allclose(weights.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
            stream.close()
            runs.append(found)
        for found in runs[1:]:
            for one, two in zip(runs[0], found, strict=True):
                assert one[:2] == two[:2]
                assert torch.equal(one[2], two[2])
                assert torch.equal(one[3], two[3])


def test_prefetch_leaves_the_generator_as_it_is(tmp_path) -> None:
    """And what it loads is what the next draw needs."""
    with trajfmt.open(write(tmp_path, "zstd", count=6)) as bundle:
        stream = KnotStream(bundle, expert_steps=3, budget=4 * SIZE)
        random = generator(1)
        stream.draw(random)
        for _ in range(10):
            before = random.get_state()
            stream.prefetch(random)
            assert torch.equal(random.get_state(), before)
            ahead = {*stream._knots._coming, *stream._knots._held}
            sample = stream.draw(random)
            assert {
                (sample.start.trajectory, k) for k in {**sample.start.knots, **sample.target.knots}
            } <= ahead
        stream.close()


def test_damage_that_the_reader_finds_is_raised_by_the_draw(tmp_path) -> None:
    """A packed timestep that does not decode: the same error with and without loading ahead."""
    path = write(tmp_path, "zstd", count=1)
    (file,) = (path / "theta").iterdir()
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    file.write_bytes(data)
    messages = []
    for ahead in (False, True):
        with trajfmt.open(path) as bundle:
            stream = KnotStream(bundle, expert_steps=8)
            if ahead:
                for number in range(9):
                    stream._knots.expect([(0, number)])
                settle(stream._knots)
            with pytest.raises(trajfmt.CorruptError) as caught:
                list(map(stream.knot, [0] * 9, range(9)))
            messages.append(str(caught.value))
            stream.close()
    assert messages[0] == messages[1]


def test_place_that_cannot_be_found_is_raised_by_the_draw() -> None:
    """A prefetch beyond the end of a trajectory says nothing; the sample does."""
    stream = KnotStream(bundle_of(()), expert_steps=2)
    stream.expect(7, 0.0)
    with pytest.raises(IndexError):
        stream.sample(7, 0.0)


def test_mapped_knots_stay_views_and_are_touched_ahead(tmp_path, monkeypatch) -> None:
    """Without arranging, no knot of a mapped file is copied, and the reader reads its pages."""
    touched = []
    load = KnotLoader.load

    def watched(self, key, *, ahead=False):
        touched.append((key, ahead))
        return load(self, key, ahead=ahead)

    monkeypatch.setattr(KnotLoader, "load", watched)
    with trajfmt.open(write(tmp_path, "mct")) as bundle:
        stream = KnotStream(bundle, expert_steps=1, budget=4 * SIZE)
        address = bundle[1].knot(1).__array_interface__["data"][0]
        stream.knot(0, 1)
        stream.expect(1, 3.5)
        settle(stream._knots)
        assert stream.knot(1, 1).data_ptr() == address
        assert stream._knots._held[1, 1].mapped
        assert ((1, 1), True) in touched
        assert touched.count(((1, 1), False)) == 0
        stream.close()


def test_arranged_and_decoded_knots_are_kept(tmp_path) -> None:
    """Arranging, and decoding a packed timestep, is done once where it fits."""
    calls = []
    with trajfmt.open(write(tmp_path, "mct")) as bundle:
        stream = KnotStream(bundle, expert_steps=2, arrange=lambda w: calls.append(1) or reverse(w))
        knots = [stream.knot(t, k) for _ in range(3) for t in range(3) for k in range(3)]
        assert len(calls) == 9
        assert torch.equal(knots[4], reverse(torch.from_numpy(bundle[1].knot(1).copy())))
    with trajfmt.open(write(tmp_path, "zstd", name="b")) as bundle:
        stream = KnotStream(bundle, expert_steps=2)
        assert stream.knot(1, 4).data_ptr() == stream.knot(1, 4).data_ptr()


def test_views_of_many_files_use_no_more_descriptors(tmp_path, monkeypatch) -> None:
    """Each view may keep its file open; only so many are kept."""
    monkeypatch.setattr("mct.trajectories.knot_cache._MOST_MAPPED", 4)
    with trajfmt.open(write(tmp_path, "mct", count=8)) as bundle:
        stream = KnotStream(bundle, expert_steps=2)
        for trajectory in range(8):
            stream.sample(trajectory, 1.0)
        assert len(stream._knots._held) == 4


def test_reader_works_beside_the_program() -> None:
    """Expecting returns before the knot is there; whoever takes it waits for it and loads nothing itself."""
    shelf = Shelf()
    knots = knots_of(shelf, 4)
    shelf.gate.clear()
    knots.expect([(1, 0)])
    assert not knots._coming[1, 0].done()
    threading.Timer(0.05, shelf.gate.set).start()
    assert float(knots.take([(1, 0)])[1, 0][0]) == 10
    assert shelf.loaded == [((1, 0), True)]
    knots.close()
