"""A run's checkpoints: order, names, buffers, what is refused, on files as training scripts write them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from trajfmt.bundle.validation import validate  # noqa: E402
from trajfmt.convert.events import Event  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.planning import plan  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import CorruptError, FormatError, SourceError, TrajfmtError, UnsafeError, UsageError  # noqa: E402
from trajfmt.export.run import export  # noqa: E402
from trajfmt.sources.base.collection import Collection, ForeignTrajectory  # noqa: E402
from trajfmt.sources.checkpoints.numbering import bare, numbers_of  # noqa: E402
from trajfmt.sources.discovery import open_source  # noqa: E402

STEPS = (500, 1000, 2000, 10000)
BUFFERS = ("1.running_mean", "1.running_var", "1.num_batches_tracked")
Written = tuple[Path, list[foreign.State]]


@pytest.fixture(scope="module")
def trained() -> tuple[list[foreign.State], list[dict[str, Any]]]:
    """Return four states of a network in training, and of its optimizer."""
    return foreign.training(4)


def opened(path: Path, **options: Any) -> tuple[Collection, list[ForeignTrajectory]]:
    """Open a folder and check its trajectories."""
    collection = open_source(path, **options)
    found = [trajectory for part in collection.parts for trajectory in part.open(path)]
    for trajectory in found:
        trajectory.check()
    return collection, found


def refused(path: Path, reason: str, **options: Any) -> str:
    """Require that a conversion is refused in one line and leaves nothing; return the line."""
    with pytest.raises(TrajfmtError) as caught:
        convert(path, path.with_name("out.mct"), ConvertOptions(**options))
    assert isinstance(caught.value, (SourceError, FormatError))
    assert caught.value.reason == reason, str(caught.value)
    assert "\n" not in str(caught.value)
    assert not os.path.lexists(path.with_name("out.mct"))
    return str(caught.value)


def names_of(collection: Collection) -> list[str]:
    """Return the parameters' names."""
    assert collection.layout is not None
    return [parameter.name for parameter in collection.layout.parameters]


def assert_same(
    collection: Collection, trajectory: ForeignTrajectory, states: list[foreign.State], prefix: str = ""
) -> None:
    """Require every parameter and buffer of every timestep, bit for bit."""
    names = names_of(collection)
    assert sorted(names) == sorted(prefix + name for name in states[0] if name not in BUFFERS)
    for t, state in enumerate(states):
        for index, name in enumerate(names):
            expected = state[name.removeprefix(prefix)].reshape(-1)
            found = trajectory.read(t, index)
            assert found.tobytes() == expected.view(torch.uint8).numpy().tobytes(), (t, name)
            assert not found.flags.owndata
        buffers = trajectory.buffers(t)
        assert sorted(buffers) == sorted(prefix + name for name in BUFFERS)
        for name, array in buffers.items():
            np.testing.assert_array_equal(array, state[name.removeprefix(prefix)].numpy())


# --- what training scripts write ------------------------------------------------------------------------


@dataclass
class Case:
    """One writer, and what its files tell."""

    write: Callable[[Path, list[foreign.State], list[dict[str, Any]]], Path]
    layout: str
    numbers: tuple[int, ...]
    unit: str | None
    ordered: bool = True
    prefix: str = ""


def by_step(write: Callable[..., Path], **options: Any) -> Callable[..., Path]:
    """Return a writer that is told the steps."""
    return lambda folder, states, _: write(folder, dict(zip(STEPS, states, strict=True)), **options)


CASES = {
    "plain": Case(by_step(foreign.plain), "checkpoints", STEPS, "step"),
    "under_a_key": Case(by_step(foreign.plain, key="model_state_dict"), "checkpoints", STEPS, "step"),
    "under_net": Case(by_step(foreign.plain, key="net", name="{}.pth"), "checkpoints", STEPS, None),
    "torchvision": Case(foreign.torchvision, "checkpoints", (0, 1, 2, 3), None),
    "lightning": Case(foreign.lightning, "checkpoints", (500, 1000, 1500, 2000), "step", prefix="model."),
    "safetensors": Case(by_step(foreign.tensors), "checkpoints", STEPS, None, ordered=False),
    "hf": Case(by_step(foreign.huggingface), "huggingface", STEPS, "step", ordered=False),
    "hf_shards": Case(by_step(foreign.huggingface, shards=3), "huggingface", STEPS, "step", ordered=False),
    "hf_bin": Case(by_step(foreign.huggingface, pickled=True), "huggingface", STEPS, "step"),
    "hf_bin_shards": Case(
        by_step(foreign.huggingface, pickled=True, shards=2), "huggingface", STEPS, "step", ordered=False
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_checkpoints_are_read_in_place(tmp_path: Path, trained: Any, case: Case) -> None:
    """Every tensor is the writer's bit for bit, by its name, and a view of the file; numbers are numeric."""
    folder = case.write(tmp_path / "run", *trained)
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == case.numbers
    assert_same(collection, trajectory, trained[0], case.prefix)
    unit = collection.provenance.timestep
    assert (unit and unit.kind) == case.unit
    parameters = [case.prefix + name for name in trained[0][0] if name not in BUFFERS]
    assert (names_of(collection) == parameters) is case.ordered
    assert any("do not tell the order" in notice for notice in collection.notices) is not case.ordered


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_checkpoints_convert(tmp_path: Path, trained: Any, case: Case) -> None:
    """The bundle has the weights at both ends bit for bit, and says which layout was recognised and why."""
    folder = case.write(tmp_path / "run", *trained)
    events: list[Event] = []
    convert(folder, tmp_path / "out.mct", on_event=events.append)
    assert validate(tmp_path / "out.mct") == []
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle) == 1
        assert bundle[0].timesteps == 4
        for t, state in ((0, trained[0][0]), (3, trained[0][3])):
            for name, array in bundle.layout.split(bundle[0].at(t)).items():
                np.testing.assert_array_equal(array, state[name.removeprefix(case.prefix)].numpy())
    title = {"checkpoints": "checkpoints of a run", "huggingface": "Hugging Face checkpoints"}[case.layout]
    (found,) = [event.message for event in events if event.kind == "found"]
    assert found.startswith(title)


def test_no_torch_is_needed(tmp_path: Path, trained: Any) -> None:
    """Zip checkpoints with optimizer states are read where torch cannot be imported."""
    folder = foreign.lightning(tmp_path / "run", *trained)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from trajfmt.convert.run import convert\n"
        "convert(sys.argv[1], sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", script, folder, tmp_path / "out.mct"], check=True)
    assert validate(tmp_path / "out.mct") == []


def test_bfloat16_and_float16_keep_their_bits(tmp_path: Path, trained: Any) -> None:
    """16-bit weights are read as they are from every kind of file."""
    for dtype, name in ((torch.bfloat16, "BF16"), (torch.float16, "F16")):
        narrow = [{n: x.to(dtype) if x.is_floating_point() else x for n, x in s.items()} for s in trained[0]]
        steps = dict(zip(STEPS, narrow, strict=True))
        for number, write in enumerate((foreign.plain, foreign.tensors, foreign.huggingface)):
            folder = write(tmp_path / f"{name}{number}", steps)
            collection, (trajectory,) = opened(folder)
            assert trajectory.dtype == name
            for index, parameter in enumerate(names_of(collection)):
                expected = narrow[2][parameter].reshape(-1).view(torch.uint8).numpy()
                assert trajectory.read(2, index).tobytes() == expected.tobytes()


def test_what_torch_must_read_gives_the_same(tmp_path: Path, trained: Any) -> None:
    """Legacy files, and layouts of memory other than row by row, hold the same numbers."""
    states = [
        {n: x.to(torch.bfloat16) if x.is_floating_point() else x for n, x in state.items()}
        for state in trained[0][:2]
    ]
    (tmp_path / "run").mkdir()
    torch.save(states[0], tmp_path / "run/step=1.pt", _use_new_zipfile_serialization=False)
    torch.save(
        {
            n: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
            for n, x in states[1].items()
        },
        tmp_path / "run/step=2.pt",
    )
    collection, (trajectory,) = opened(tmp_path / "run")
    for t, state in enumerate(states):
        for index, name in enumerate(names_of(collection)):
            found = trajectory.read(t, index)
            assert found.tobytes() == state[name].reshape(-1).view(torch.uint8).numpy().tobytes()


def test_wrappers_leave_no_trace_in_names(tmp_path: Path, trained: Any) -> None:
    """The prefixes of DistributedDataParallel and torch.compile are dropped, alone and together."""
    for number, prefix in enumerate(("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")):
        wrapped = {t: {prefix + n: x for n, x in s.items()} for t, s in enumerate(trained[0])}
        collection, (trajectory,) = opened(foreign.plain(tmp_path / str(number), wrapped))
        assert_same(collection, trajectory, trained[0])


def test_tied_weights_are_stored_once_more(tmp_path: Path) -> None:
    """Two names of one memory are both kept, and said to be one."""
    tied = {t: torch.randn(3, 2, generator=torch.Generator().manual_seed(t)) for t in range(2)}
    folder = foreign.plain(
        tmp_path / "run", {t: {"embed.weight": x, "head.weight": x} for t, x in tied.items()}
    )
    collection, (trajectory,) = opened(folder)
    assert names_of(collection) == ["embed.weight", "head.weight"]
    np.testing.assert_array_equal(trajectory.read(1, 0), trajectory.read(1, 1))
    assert [n for n in collection.notices if "`head.weight` is tied to `embed.weight`" in n]


def test_what_is_not_read_is_said_in_one_remark(tmp_path: Path, trained: Any) -> None:
    """Optimizer states, in files of their own and inside of checkpoints, are named once."""
    folder = CASES["hf"].write(tmp_path / "hf", *trained)
    (remark,) = [n for n in open_source(folder).notices if "not read" in n]
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"):
        assert name in remark
    folder = foreign.torchvision(tmp_path / "tv", *trained)
    (remark,) = [n for n in open_source(folder).notices if "not read" in n]
    assert "`optimizer`, `lr_scheduler`, `epoch`" in remark
    assert [n for n in open_source(folder).notices if n.startswith("left out: checkpoint.pth")]


def test_config_tells_the_recipe(tmp_path: Path, trained: Any) -> None:
    """What config.json says of the network is kept, as said by a file."""
    provenance = open_source(CASES["hf"].write(tmp_path / "hf", *trained)).provenance
    assert provenance.recipe == {"_name_or_path": "tiny/net", "model_type": "net", "torch_dtype": "float32"}
    assert provenance.known_from == {"recipe": "file", "timestep": "layout"}


def test_even_steps_are_the_unit(tmp_path: Path, trained: Any) -> None:
    """Steps 500, 1000, 1500 are every 500th; others keep their numbers."""
    even = foreign.plain(tmp_path / "even", dict(zip((500, 1000, 1500), trained[0], strict=False)))
    provenance = open_source(even).provenance
    assert (provenance.timestep.kind, provenance.timestep.every, provenance.first_timestep) == (
        "step",
        500,
        1,
    )
    uneven = foreign.plain(tmp_path / "uneven", dict(zip((500, 1000, 1700), trained[0], strict=False)))
    provenance = open_source(uneven).provenance
    assert (provenance.timestep.kind, provenance.timestep.every, provenance.first_timestep) == (
        "step",
        1,
        None,
    )


@pytest.mark.parametrize("steps", [(500, 1000, 1500), (500, 1000, 1700), (7, 8, 9)])
def test_real_steps_are_kept_in_the_bundle(tmp_path: Path, trained: Any, steps: tuple[int, ...]) -> None:
    """Every timestep has the number of its checkpoint, also in a window, and so has what is exported."""
    folder = foreign.plain(tmp_path / "run", dict(zip(steps, trained[0], strict=False)))
    for number, window in enumerate([(None, None), (1, None)]):
        path = tmp_path / f"{number}.mct"
        convert(folder, path, ConvertOptions(timesteps=window))
        with trajfmt.open(path) as bundle:
            about, found = bundle.manifest.provenance, bundle[0].numbers
            first = about.first_timestep or 0
            told = [(first + t) * about.timestep.every for t in range(bundle[0].timesteps)]
            assert tuple(found or told) == steps[slice(*window)]


def test_subfolders_are_trajectories(tmp_path: Path, trained: Any) -> None:
    """Folders of runs are one trajectory each, in natural order, wherever they lie below."""
    others = foreign.training(4, seed=1)[0]
    for name, states in (("run10/checkpoints", trained[0]), ("run9/checkpoints", others)):
        foreign.plain(tmp_path / "runs" / name, dict(enumerate(states)))
    collection, found = opened(tmp_path / "runs")
    assert_same(collection, found[0], others)
    assert_same(collection, found[1], trained[0])
    convert(tmp_path / "runs", tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle) == 2


def test_what_is_exported_comes_back(tmp_path: Path) -> None:
    """Two runs exported as checkpoints convert to the same weights, numbers, buffers and order."""
    for seed in range(2):
        states = foreign.training(3, seed)[0]
        foreign.plain(tmp_path / f"runs/{seed}", dict(zip((10, 20, 40), states, strict=True)))
    convert(tmp_path / "runs", tmp_path / "one.mtt")
    with trajfmt.open(tmp_path / "one.mtt") as bundle:
        export(bundle, tmp_path / "out", to="checkpoints")
    convert(tmp_path / "out", tmp_path / "two.mtt")
    with trajfmt.open(tmp_path / "one.mtt") as one, trajfmt.open(tmp_path / "two.mtt") as two:
        assert one.layout == two.layout
        for ours, theirs in zip(one, two, strict=True):
            assert ours.numbers == theirs.numbers == (10, 20, 40)
            for t in range(3):
                np.testing.assert_array_equal(ours.at(t), theirs.at(t))
                for name, array in ours.buffers(t).items():
                    np.testing.assert_array_equal(array, theirs.buffers(t)[name])


def test_the_final_weights_of_a_trainer_are_no_checkpoint(tmp_path: Path, trained: Any) -> None:
    """model.safetensors in the run's own folder neither hides its checkpoints nor is one."""
    folder = CASES["hf"].write(tmp_path / "runs/a", *trained)
    (folder / "model.safetensors").write_bytes((folder / "checkpoint-10000/model.safetensors").read_bytes())
    for path in (folder, folder.parent):
        _, (trajectory,) = opened(path)
        assert trajectory.numbers == STEPS


def test_networks_of_mtt_are_recognised_by_shapes(tmp_path: Path) -> None:
    """Also in safetensors files, whose tensors are sorted by name: the order is restored."""
    shapes = [(8, 3, 3, 3), (8,), (8,), (8,), (8, 8, 3, 3), (8,), (8,), (8,), (10, 512), (10,)]
    model, names = trajfmt.schema.models.recognise(shapes)
    states = {
        t: {
            name: torch.randn(shape, generator=torch.Generator().manual_seed(100 * t + index))
            for index, (name, shape) in enumerate(zip(names, shapes, strict=True))
        }
        for t in range(2)
    }
    for folder in (foreign.plain(tmp_path / "pt", states), foreign.tensors(tmp_path / "st", states)):
        collection, (trajectory,) = opened(folder)
        assert names_of(collection) == names
        assert collection.provenance.model == model
        np.testing.assert_array_equal(trajectory.read(1, 4), states[1][names[4]].numpy().reshape(-1))


# --- buffers --------------------------------------------------------------------------------------------


def test_buffers_are_interpolated_when_asked(tmp_path: Path, trained: Any) -> None:
    """Float buffers become parameters after the others; counters stay buffers."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    collection, (trajectory,) = opened(folder, buffers="interpolate")
    assert names_of(collection)[-2:] == ["1.running_mean", "1.running_var"]
    assert list(trajectory.buffers(1)) == ["1.num_batches_tracked"]
    np.testing.assert_array_equal(trajectory.read(2, 7), trained[0][2]["1.running_var"].numpy())


def test_buffers_are_carried_into_the_bundle(tmp_path: Path, trained: Any) -> None:
    """At a real t they are those of the last stored timestep before it, in their own types."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    convert(folder, tmp_path / "out.mct", ConvertOptions(knots=(2,)))
    convert(folder, tmp_path / "out.mtt")
    for name, place in (("out.mct", {0.0: 0, 1.5: 0, 2.0: 2, 2.9: 2, 3.0: 3}), ("out.mtt", {1: 1, 3: 3})):
        with trajfmt.open(tmp_path / name) as bundle:
            for t, expected in place.items():
                found = bundle[0].buffers(t)
                assert sorted(found) == sorted(BUFFERS)
                for buffer in BUFFERS:
                    assert found[buffer].dtype == trained[0][0][buffer].numpy().dtype
                    np.testing.assert_array_equal(found[buffer], trained[0][expected][buffer].numpy())


@pytest.mark.parametrize("mode", ["drop", "interpolate"])
def test_buffers_are_no_part_of_the_bundle_when_told(tmp_path: Path, trained: Any, mode: Any) -> None:
    """Dropped they are gone; interpolated the floats among them are weights."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    convert(folder, tmp_path / "out.mct", ConvertOptions(buffers=mode))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle.layout.parameters) == (6 if mode == "drop" else 8)
        assert list(bundle[0].buffers(0)) == ([] if mode == "drop" else ["1.num_batches_tracked"])


def test_buffers_are_dropped_when_asked(tmp_path: Path, trained: Any) -> None:
    """Then nothing is carried, and the remark says so."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    collection, (trajectory,) = opened(folder, buffers="drop")
    assert trajectory.buffers(1) == {}
    assert "3 buffers (such as `1.running_mean`) are dropped" in collection.notices
    assert not any("carried" in text for text in collection.notices)


@pytest.mark.parametrize("number", [0, 3])
def test_buffers_that_not_all_checkpoints_have(tmp_path: Path, trained: Any, number: int) -> None:
    """They are not dropped without a word, whether the first lacks them or the last."""
    states = dict(enumerate(trained[0]))
    states[number] = {name: value for name, value in states[number].items() if name not in BUFFERS}
    folder = foreign.plain(tmp_path / "run", states)
    assert "carries other buffers than the first" in refused(folder, "mixed_architectures")


@pytest.mark.parametrize(
    ("name", "dtype", "match"),
    [
        ("x.running_var", torch.complex128, "is complex128: a buffer of this type cannot be carried"),
        ("x.weight", torch.complex64, "is C64: weights must be one of"),
        ("x.weight", torch.float8_e4m3fn, "is F8_E4M3: weights must be one of"),
    ],
)
def test_types_that_have_no_place_are_named(
    tmp_path: Path, trained: Any, name: str, dtype: torch.dtype, match: str
) -> None:
    """Nothing is cast without a word, with `--dtype` neither; dropped buffers may be of any type."""
    states = [state | {name: torch.ones(2).to(dtype)} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    assert match in refused(folder, "mixed_dtypes", dtype="F32")
    if "running" in name:
        convert(folder, tmp_path / "out.mct", ConvertOptions(buffers="drop"))


def test_what_only_looks_like_a_checkpoint_is_named(tmp_path: Path, trained: Any) -> None:
    """Links to nothing, folders, pipes, and runs inside the folder of another; a bundle is none of them."""
    states = dict(enumerate(trained[0]))
    folder = foreign.plain(tmp_path / "run", states)
    (folder / "step=4.pt").symlink_to("nowhere")
    (folder / "step=5.pt").mkdir()
    os.mkfifo(folder / "step=6.pt")
    foreign.plain(folder / "other" / "run", states)
    convert(folder, folder / "out.mct", ConvertOptions())
    collection, (trajectory,) = opened(folder)
    assert trajectory.timesteps == 4
    assert [text for text in collection.notices if text.startswith("left out")] == [
        "left out: other: a run inside the folder of another; convert it by itself",
        "left out: step=4.pt: a link to nothing",
        "left out: step=5.pt: a folder, not a checkpoint file",
        "left out: step=6.pt: no file",
    ]


def test_a_checkpoint_folder_without_weights_is_named(tmp_path: Path, trained: Any) -> None:
    """One whose index is gone is left out, and said to be."""
    folder = foreign.huggingface(tmp_path / "run", dict(enumerate(trained[0], 1)), shards=3)
    (folder / "checkpoint-2" / foreign.INDEX).unlink()
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == (1, 3, 4)
    assert any(text.startswith("left out: checkpoint-2: holds no ") for text in collection.notices)


@pytest.mark.parametrize("name", ["step=7.5.pt", "epoch_1.25.pth"])
def test_a_part_of_a_step_is_refused(tmp_path: Path, trained: Any, name: str) -> None:
    """7.5 is neither 7 nor 5."""
    form = "step={}.pt" if "step" in name else "epoch_{}.pth"
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0][:3])), form)
    foreign.plain(folder, {0: trained[0][3]}, name)
    assert "is no whole number" in refused(folder, "nothing_to_convert")


def test_what_is_appended_counts_the_same_and_has_the_same_type(tmp_path: Path, trained: Any) -> None:
    """Epochs are not added to steps, nor float32 weights to bfloat16 knots without `--dtype`."""
    target = tmp_path / "out.mct"
    states = dict(enumerate(trained[0], 1))
    convert(foreign.plain(tmp_path / "a", states), target, ConvertOptions(dtype="BF16"))
    more = dict(enumerate(foreign.training(4, seed=5)[0], 1))
    epochs = foreign.plain(tmp_path / "b", more, "epoch_{}.pt")
    steps = foreign.plain(tmp_path / "c", more)
    with pytest.raises(UsageError, match="stores BF16, these weights are F32; give --dtype bf16"):
        convert(steps, target, ConvertOptions(append=True))
    with pytest.raises(UsageError, match="its timesteps are steps, the source's are epochs"):
        convert(epochs, target, ConvertOptions(append=True, dtype="BF16"))
    convert(steps, target, ConvertOptions(append=True, dtype="BF16"))
    assert not validate(target)


# --- what is refused ------------------------------------------------------------------------------------


def test_two_models_in_one_folder(tmp_path: Path, trained: Any) -> None:
    """The line names both files and the first tensor that differs."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0][:2])), "net_{}.pt")
    other = {name: value for name, value in trained[0][2].items() if name != "4.bias"}
    foreign.plain(folder, {2: other}, "disc_{}.pt")
    line = refused(folder, "mixed_architectures")
    assert "net_0.pt" in line
    assert "disc_2.pt" in line
    assert "`4.bias` is (3,) in" in line


def test_two_models_with_the_same_numbers(tmp_path: Path, trained: Any) -> None:
    """They are two models, not duplicates."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0][:2])), "gen_{}.pt")
    foreign.plain(folder, {t: {"w": torch.randn(2)} for t in range(2)}, "disc_{}.pt")
    assert "two models in one folder" in refused(folder, "mixed_architectures")


def test_two_models_in_two_runs(tmp_path: Path, trained: Any) -> None:
    """Runs of one source are of one network."""
    foreign.plain(tmp_path / "runs/a", dict(enumerate(trained[0])))
    foreign.plain(tmp_path / "runs/b", {t: {"w": torch.randn(2)} for t in range(2)})
    assert "two models" in refused(tmp_path / "runs", "mixed_architectures")
    assert convert(tmp_path / "runs", tmp_path / "some.mct", ConvertOptions(keep_going=True)) == 1


def test_duplicate_steps(tmp_path: Path, trained: Any) -> None:
    """Both files are named."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    foreign.plain(folder, {1: trained[0][1]}, "step={}.pth")
    line = refused(folder, "duplicate_trajectory")
    assert "step=1.pt and step=1.pth are both number 1" in line


def test_a_name_without_a_number(tmp_path: Path, trained: Any) -> None:
    """The line names the file and asks for the number."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "net_{}.pt")
    foreign.plain(folder, {0: trained[0][0]}, "other.pt")
    line = refused(folder, "nothing_to_convert")
    assert "other.pt has no number in its name" in line
    assert "step=1000" in line


def test_several_numbers(tmp_path: Path, trained: Any) -> None:
    """Where two numbers vary and neither is called a step, nothing is guessed."""
    folder = foreign.plain(tmp_path / "run", {0: trained[0][0]}, "a_{}_b_7.pt")
    foreign.plain(folder, {1: trained[0][1]}, "a_{}_b_8.pt")
    assert "differ in several numbers" in refused(folder, "nothing_to_convert")


def test_path_files_of_python_are_no_checkpoints(tmp_path: Path, trained: Any) -> None:
    """They share an ending, and hold text; an empty file is a damaged checkpoint."""
    folder = foreign.plain(tmp_path / "run", {1: trained[0][0], 2: trained[0][1]}, "model_{}.pth")
    (folder / "distutils-precedence.pth").write_text("import os; os.environ\n")
    collection, _ = opened(folder)
    assert not any("precedence" in notice for notice in collection.notices)
    (folder / "model_3.pth").touch()
    assert "model_3.pth" in refused(folder, "source_truncated")


@pytest.mark.parametrize(
    "names", [["step=1.pt"], ["last.pt"], ["step=1.pt", "best.pt"], ["model.safetensors"]]
)
def test_fewer_than_two(tmp_path: Path, trained: Any, names: list[str]) -> None:
    """One checkpoint is no trajectory, and aliases are none."""
    for name in names:
        write = foreign.tensors if name.endswith("safetensors") else foreign.plain
        write(tmp_path / "run", {0: trained[0][0]}, name)
    assert "two checkpoints or more" in refused(tmp_path / "run", "too_few_timesteps")


def test_one_file_points_to_its_folder(tmp_path: Path, trained: Any) -> None:
    """A single checkpoint is recognised as one."""
    folder = foreign.tensors(tmp_path / "run", dict(enumerate(trained[0])))
    assert "give the folder of its run" in refused(folder / "ckpt_00001.safetensors", "too_few_timesteps")


def test_an_unknown_class_points_to_the_option(tmp_path: Path, trained: Any) -> None:
    """Lightning's hyper-parameters may hold anything: refused with the class and the way on."""
    folder = foreign.lightning(tmp_path / "run", *trained, hyper_parameters={"path": Path("x")})
    with pytest.raises(UnsafeError) as caught:
        convert(folder, tmp_path / "out.mct")
    assert caught.value.reason == "pickle_unsafe"
    assert "pathlib" in str(caught.value)
    assert "--trust-pickle" in str(caught.value)
    assert "epoch=0-step=500.ckpt" in str(caught.value)
    collection, (trajectory,) = opened(folder, trust_pickle=True)
    assert_same_values(collection, trajectory, trained[0], "model.")


def assert_same_values(
    collection: Collection, trajectory: ForeignTrajectory, states: list[foreign.State], prefix: str
) -> None:
    """Require every parameter of every timestep."""
    for t, state in enumerate(states):
        for index, name in enumerate(names_of(collection)):
            expected = state[name.removeprefix(prefix)].numpy().reshape(-1)
            np.testing.assert_array_equal(trajectory.read(t, index), expected)


def test_a_pickle_that_runs_code_never_does(tmp_path: Path, trained: Any) -> None:
    """Looking at it, planning and converting leave no trace of the code."""

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'pwned'}",)

    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    torch.save(trained[0][0] | {"evil": Evil()}, folder / "step=1.pt")
    for attempt in (lambda: convert(folder, tmp_path / "out.mct"), lambda: plan(folder)):
        with pytest.raises(UnsafeError):
            attempt()
    assert not (tmp_path / "pwned").exists()


def test_damaged_pickles_give_one_line(tmp_path: Path, trained: Any) -> None:
    """Whatever byte of the pickle is another: the weights, or an error of this package in one line."""
    folder = foreign.torchvision(tmp_path / "run", *trained)
    (folder / "checkpoint.pth").unlink()
    path = folder / "model_2.pth"
    data = path.read_bytes()
    begin = data.index(b"data.pkl")
    chosen = np.random.default_rng(0).integers(begin, begin + 4000, 150)
    refusals: list[str] = []
    for place, value in zip(chosen, np.random.default_rng(1).integers(0, 256, 150), strict=True):
        path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
        try:
            opened(folder)
        except TrajfmtError as exc:
            refusals.append(str(exc))
    assert len(refusals) > 20
    assert not [line for line in refusals if "\n" in line]


@pytest.mark.parametrize("case", ["plain", "safetensors"])
def test_more_checkpoints_than_descriptors(tmp_path: Path, trained: Any, case: str) -> None:
    """One line that says what to do; looking at them needs few."""
    states = {t: trained[0][t % 4] for t in range(100)}
    folder = (foreign.plain if case == "plain" else foreign.tensors)(tmp_path / "run", states)
    limited = f"ulimit -n 64; exec {sys.executable} -m traj_cli.traj"
    for command in (f"inspect {folder}", f"convert {folder} {tmp_path / 'out.mct'}"):
        done = subprocess.run(["bash", "-c", f"{limited} {command}"], capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        assert (done.returncode == 0) is command.startswith("inspect")
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert "ulimit -n" in line
    assert not (tmp_path / "out.mct").exists()


@pytest.mark.parametrize("case", ["plain", "lightning", "safetensors", "hf", "hf_shards"])
def test_truncated_files(tmp_path: Path, trained: Any, case: str) -> None:
    """A file that ends early is named, at whatever byte it ends; with --keep-going the rest converts."""
    folder = CASES[case].write(tmp_path / "run", *trained)
    pattern = {"plain": "*.pt", "lightning": "epoch*.ckpt"}.get(case, "**/*.safetensors")
    victim = sorted(folder.glob(pattern))[1]
    data = victim.read_bytes()
    for length in (0, 5, 100, len(data) // 2, len(data) - 1):
        victim.write_bytes(data[:length])
        with pytest.raises(CorruptError) as caught:
            convert(folder, tmp_path / "out.mct")
        assert caught.value.reason in ("source_truncated", "source_invalid")
        assert victim.name in str(caught.value)
        assert "\n" not in str(caught.value)
    events: list[Event] = []
    convert(folder, tmp_path / "out.mct", ConvertOptions(keep_going=True), on_event=events.append)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert bundle[0].timesteps == 3
    assert [e for e in events if e.kind == "notice" and "left out" in e.message and "step" not in e.kind]


def test_a_missing_shard(tmp_path: Path, trained: Any) -> None:
    """The shard and the index that names it are named."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    (folder / "checkpoint-1000/model-00002-of-00003.safetensors").unlink()
    line = refused(folder, "file_missing")
    assert "checkpoint-1000" in line
    assert "model-00002-of-00003.safetensors" in line
    assert foreign.INDEX in line


def test_index_and_shards_disagree(tmp_path: Path, trained: Any) -> None:
    """A tensor that is elsewhere than the index says is named, both ways."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    path = folder / "checkpoint-1000" / foreign.INDEX
    index = json.loads(path.read_text())
    moved = index | {"weight_map": index["weight_map"] | {"0.bias": "model-00003-of-00003.safetensors"}}
    path.write_text(json.dumps(moved))
    assert "`0.bias`" in refused(folder, "header_mismatch")
    del (fewer := dict(index["weight_map"]))["0.bias"]
    path.write_text(json.dumps(index | {"weight_map": fewer}))
    assert "`0.bias`" in refused(folder, "header_mismatch")
    more = index["weight_map"] | {"extra": "model-00001-of-00003.safetensors"}
    path.write_text(json.dumps(index | {"weight_map": more}))
    assert "`extra`" in refused(folder, "header_mismatch")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}',
                                  '{"weight_map": {"a": "../b"}}', '{"weight_map": {"a": "/etc/passwd"}}',
                                  "[" * 100_000])  # fmt: skip
def test_hostile_indexes(tmp_path: Path, trained: Any, text: str) -> None:
    """One line, and no file elsewhere is opened."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    (folder / "checkpoint-500" / foreign.INDEX).write_text(text)
    assert foreign.INDEX in refused(folder, "header_invalid")


def test_mixed_dtypes_point_to_the_option(tmp_path: Path, trained: Any) -> None:
    """Both dtypes are named with a tensor of each."""
    mixed = [state | {"4.bias": state["4.bias"].half()} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(mixed)))
    line = refused(folder, "mixed_dtypes")
    assert "F16: `4.bias` of step=0.pt; F32: `0.weight` of step=0.pt" in line
    assert "--dtype" in line


def test_mixed_dtypes_convert_to_one(tmp_path: Path, trained: Any) -> None:
    """With --dtype every weight is stored in it."""
    mixed = [state | {"4.bias": state["4.bias"].half()} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(mixed)))
    convert(folder, tmp_path / "out.mct", ConvertOptions(dtype="F32"))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        weights = bundle.layout.split(bundle[0].at(3))
        np.testing.assert_array_equal(weights["4.bias"], mixed[3]["4.bias"].float().numpy())
        np.testing.assert_array_equal(weights["4.weight"], mixed[3]["4.weight"].numpy())


def test_no_state_dict(tmp_path: Path) -> None:
    """The keys that were found are named."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        torch.save({"G": {"w": torch.randn(2)}, "D": {"w": torch.randn(2)}}, folder / f"step={t}.pt")
    assert "it holds G, D" in refused(folder, "nothing_to_convert")


# --- numbers in names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "numbers", "unit"),
    [
        (["step=9.pt", "step=10.pt"], (9, 10), "step"),
        (["epoch=3-step=1200.ckpt", "epoch=4-step=900-v1.ckpt"], (1200, 900), "step"),
        (["resnet18-epoch=02-val_loss=0.32.ckpt", "resnet18-epoch=12-val_loss=0.12.ckpt"], (2, 12), "epoch"),
        (["checkpoint-500", "checkpoint-10000"], (500, 10000), "step"),
        (["model_12.pth", "model_3.pth"], (12, 3), None),
        (["ckpt_00500.pt", "ckpt_01000.pt"], (500, 1000), None),
        (["iter_0001000.pth", "iter_0000200.pth"], (1000, 200), "step"),
        (["resnet50_7.pt", "resnet50_8.pt"], (7, 8), None),
        (["7-resnet50.pt", "8-resnet50.pt"], (7, 8), None),
        (["global_step1000.pt", "global_step20.pt"], (1000, 20), "step"),
        (["deep3.pt", "deep4.pt"], (3, 4), None),
        (["net.12.pth.tar", "net.100.pth.tar"], (12, 100), None),
        (["init_0.pt", "net_1.pt", "net_2.pt"], (0, 1, 2), None),
    ],
)
def test_numbers_of_names(names: list[str], numbers: tuple[int, ...], unit: str | None) -> None:
    """The step before the epoch, else the one number that varies."""
    found = numbers_of(names, "here")
    assert (found.numbers, found.unit) == (numbers, unit)


def test_versions_of_lightning_are_no_steps() -> None:
    """`-v1` is what Lightning appends where a name is taken."""
    assert bare("epoch=1-step=5-v2.ckpt") == "epoch=1-step=5"
