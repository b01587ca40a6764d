"""The state dict inside a file: names without wrappers, 16-bit weights, code that must not run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import STEPS, assert_same, names_of, opened, refused  # noqa: E402
from trajfmt.convert.planning import plan  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import TrajfmtError, UnsafeError  # noqa: E402


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
                assert trajectory.read(2, index)[:].tobytes() == expected.tobytes()


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
            found = trajectory.read(t, index)[:]
            assert found.tobytes() == state[name].reshape(-1).view(torch.uint8).numpy().tobytes()


def test_wrappers_leave_no_trace_in_names(tmp_path: Path, trained: Any) -> None:
    """The prefixes of DistributedDataParallel and torch.compile are dropped, alone and together."""
    for number, prefix in enumerate(("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")):
        wrapped = {t: {prefix + n: x for n, x in s.items()} for t, s in enumerate(trained[0])}
        collection, (trajectory,) = opened(foreign.plain(tmp_path / str(number), wrapped))
        assert_same(collection, trajectory, trained[0])


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


def test_no_state_dict(tmp_path: Path) -> None:
    """The keys that were found are named."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        torch.save({"optimizer": {"w": torch.randn(2)}, "loss": torch.tensor(t)}, folder / f"step={t}.pt")
    assert "it holds optimizer, loss" in refused(folder, "nothing_to_convert")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("model", "ema"),
        ("state_dict", "state_dict_ema"),
        ("model", "net"),
        ("G", "D"),
        ("student.backbone", "teacher.backbone"),
        ("model", "ema.shadow"),
        ("state_dict", "callbacks.ema_state_dict"),
    ],
)
def test_two_states_in_one_file_are_a_question(tmp_path: Path, trained: Any, one: str, other: str) -> None:
    """Neither is chosen without `--key`, and each of them with it; the other is named."""
    later = foreign.training(4, seed=3)[0]
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(4):
        content: dict[str, Any] = {"epoch": t, "optimizer": {"state": {}}}
        for key, state in ((one, trained[0][t]), (other, later[t])):
            outer, _, inner = key.partition(".")
            content[outer] = {inner: state} if inner else state
        torch.save(content, folder / f"ckpt_{t}.pt")
    line = refused(folder, "nothing_to_convert")
    assert f"2 sets of weights: {one}, {other}" in line
    assert "--key" in line
    for key, unused, states in ((one, other, trained[0]), (other, one, later)):
        collection, (trajectory,) = opened(folder, key=key)
        assert_same(collection, trajectory, states)
        (remark,) = [text for text in collection.notices if text.startswith("not read")]
        assert f"`{unused}`" in remark
    assert f"it holds {one}, {other}" in refused(folder, "nothing_to_convert", key="neither")


def test_small_tables_beside_the_weights_are_no_question(tmp_path: Path, trained: Any) -> None:
    """The mean and deviation of the data are named as not read; the same states twice are one."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t, state in enumerate(trained[0]):
        wide = state | {"wide.weight": torch.full((100, 10), float(t))}
        content = {"model": wide, "state_dict": wide, "data": {"mean": torch.zeros(3)}}
        torch.save(content, folder / f"ckpt_{t}.pt")
    collection, (trajectory,) = opened(folder)
    assert trajectory.timesteps == 4
    assert any("`data`" in text for text in collection.notices if text.startswith("not read"))


def test_a_key_is_for_files_with_keys(tmp_path: Path, trained: Any) -> None:
    """A safetensors file has none, and other layouts have no such option."""
    folder = foreign.tensors(tmp_path / "run", dict(enumerate(trained[0])))
    assert "has no keys" in refused(folder, "nothing_to_convert", key="ema")


def test_the_same_key_in_all_checkpoints(tmp_path: Path, trained: Any) -> None:
    """A later file whose weights are under another key is another set of weights, whatever holds them."""
    folder = foreign.plain(tmp_path / "run", {1: trained[0][0], 2: trained[0][1]}, "step_{}.pt", key="model")
    torch.save({"model": None, "ema": trained[0][2]}, folder / "step_3.pt")
    line = refused(folder, "mixed_architectures")
    assert "under `ema` here, and under `model` in step_1.pt" in line
    torch.save(trained[0][2], folder / "step_3.pt")
    assert "at the top here, and under `model`" in refused(folder, "mixed_architectures")


def test_dictionaries_in_a_dictionary_are_one_set(tmp_path: Path) -> None:
    """A network that is saved in parts keeps all of them, whatever their sizes; the names have dots."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        words = {"words": {"weight": torch.full((2, 2), float(t))}}
        parts = {"embedding": words, "encoder": {"w": torch.ones(40, 40)}}
        torch.save({"model": {"language_model": parts}, "optimizer": {}}, folder / f"step_{t}.pt")
    collection, _ = opened(folder)
    assert names_of(collection) == ["embedding.words.weight", "encoder.w"]


def test_a_small_dictionary_inside_a_state_dict_does_not_replace_it(tmp_path: Path, trained: Any) -> None:
    """Two sets beside each other are a question, and `--key .` takes both."""
    states = [state | {"fc.scales": {"scale": torch.ones(4)}} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    line = refused(folder, "nothing_to_convert")
    assert "the tensors at the top, fc.scales" in line
    collection, _ = opened(folder, key=".")
    assert "fc.scales.scale" in names_of(collection)
    assert "0.weight" in names_of(collection)


@pytest.mark.parametrize("write", [foreign.plain, foreign.tensors, foreign.huggingface])
@pytest.mark.parametrize("extra", [torch.ones(5), torch.ones(9, dtype=torch.uint8)])
def test_extra_states_of_modules_are_no_weights(
    tmp_path: Path, trained: Any, write: Any, extra: torch.Tensor
) -> None:
    """Whatever their type: they are named as not read, in dictionaries, too."""
    states = dict(enumerate([{**state, "4._extra_state": extra * t} for t, state in enumerate(trained[0])]))
    folder = write(tmp_path / "run", states)
    if write is foreign.plain:
        torch.save({**trained[0][3], "4._extra_state": {"amax": extra}}, folder / "step=3.pt")
    collection, (trajectory,) = opened(folder)
    assert_same(collection, trajectory, trained[0])
    (remark,) = [text for text in collection.notices if text.startswith("not read")]
    assert "`4._extra_state`" in remark


@pytest.mark.parametrize("other", ["replay_buffer", "critic"])
def test_the_larger_dictionary_is_not_preferred(tmp_path: Path, trained: Any, other: str) -> None:
    """Data may be larger than the network."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t, state in enumerate(trained[0]):
        torch.save({"agent": state, other: {"obs": torch.rand(500, 8)}}, folder / f"step_{t}.pt")
    assert f"2 sets of weights: agent, {other}" in refused(folder, "nothing_to_convert")


def _with_moments(state: foreign.State) -> dict[str, Any]:
    return {"state": {name: {"exp_avg": value * 0 + 9} for name, value in state.items()}}


@pytest.mark.parametrize("key", [None, "."])
def test_moments_of_an_optimizer_are_never_parameters(tmp_path: Path, trained: Any, key: str | None) -> None:
    """Beside the weights at the top, inside a wrapper, and when everything is asked for."""
    flat = foreign.plain(tmp_path / "flat", dict(enumerate(trained[0])))
    for t, state in enumerate(trained[0]):
        torch.save({**state, "optimizer": _with_moments(state)}, flat / f"step={t}.pt")
    wrapped = tmp_path / "wrapped"
    wrapped.mkdir()
    for t, state in enumerate(trained[0]):
        content = {"trainer": {"model": state, "optimizer": _with_moments(state)}}
        torch.save(content, wrapped / f"step={t}.pt")
    for folder, prefix in ((flat, ""), (wrapped, "trainer.model." if key else "")):
        collection, _ = opened(folder, key=key)
        assert prefix + "0.weight" in names_of(collection)
        assert not [name for name in names_of(collection) if "exp_avg" in name]
        (remark,) = [text for text in collection.notices if text.startswith("not read")]
        assert "optimizer" in remark


def test_two_sets_under_one_wrapper_are_a_question(tmp_path: Path, trained: Any) -> None:
    """A wrapper that is not called a model holds sets of weights, and no parts of a network."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t, state in enumerate(trained[0]):
        average = {name: value * 2 for name, value in state.items()}
        torch.save({"state": {"model": state, "ema": average}}, folder / f"step={t}.pt")
    assert "2 sets of weights: state.model, state.ema" in refused(folder, "nothing_to_convert")
    collection, (trajectory,) = opened(folder, key="state.model")
    assert_same(collection, trajectory, trained[0])


@pytest.mark.parametrize("other", ["ema_state_dict", "ema", "teacher_state_dict"])
def test_two_sets_under_the_key_of_a_model_are_a_question(tmp_path: Path, trained: Any, other: str) -> None:
    """They are no parts of one network, whatever the key above them is called."""
    folder = tmp_path / "run"
    folder.mkdir()
    for step, state in enumerate(trained[0]):
        torch.save({"model": {"state_dict": state, other: trained[0][-1 - step]}}, folder / f"step_{step}.pt")
    line = refused(folder, "nothing_to_convert")
    assert f"2 sets of weights: model.state_dict, model.{other}" in line
    collection, (trajectory,) = opened(folder, key="model.state_dict")
    assert_same(collection, trajectory, trained[0])


@pytest.mark.parametrize("key", ["ema", "model.0", "model.0.weight"])
def test_a_key_that_is_no_dictionary_is_refused(tmp_path: Path, trained: Any, key: str) -> None:
    """The beginning of names is no key, and neither is that of a single tensor."""
    states = {t: {"model": s, "ema.w": torch.ones(2)} for t, s in enumerate(trained[0])}
    folder = tmp_path / "run"
    folder.mkdir()
    for t, state in states.items():
        torch.save(state, folder / f"step={t}.pt")
    assert f"no weights at --key {key}: it holds model" in refused(folder, "nothing_to_convert", key=key)


@pytest.mark.parametrize("value", [[torch.ones(2)], {0: torch.ones(2)}, (torch.ones(2), None)])
def test_tensors_without_names_in_a_state_dict_are_refused(tmp_path: Path, trained: Any, value: Any) -> None:
    """A list of parameters is no state dict, and is not dropped with the counters."""
    states = {t: s | {"blocks": value} for t, s in enumerate(trained[0])}
    folder = foreign.plain(tmp_path / "run", states)
    assert "`blocks` holds tensors in a" in refused(folder, "nothing_to_convert")


def test_a_network_whose_state_cannot_be_taken_is_named(tmp_path: Path) -> None:
    """Code of a trusted file may fail: one line."""
    folder = foreign.plain(tmp_path / "run", {t: {"model": Failing()} for t in range(2)})
    assert "`state_dict()` of model fails: no state" in refused(
        folder, "nothing_to_convert", trust_pickle=True
    )


class Failing:
    """An object whose state cannot be taken."""

    def state_dict(self) -> None:
        """Fail."""
        raise RuntimeError("no state")


def test_what_only_later_checkpoints_hold_is_named(tmp_path: Path, trained: Any) -> None:
    """An average that starts later is not read, and said not to be."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), key="model")
    average = {"shadow_params": [torch.ones(2)]}
    torch.save({"model": trained[0][3], "ema": average}, folder / "step=3.pt")
    (remark,) = [text for text in opened(folder)[0].notices if text.startswith("not read")]
    assert "`ema.shadow_params`" in remark


@pytest.mark.parametrize("key", ["weights", "params", "module"])
def test_a_small_dictionary_beside_a_flat_state_dict_is_a_question(tmp_path: Path, key: str) -> None:
    """Its name alone does not make it the network; with more elements than the tensors at the top, it is."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        small = {"class_weights": torch.full((10,), float(t))}
        torch.save({"fc.weight": torch.full((40, 3), float(t)), key: small}, folder / f"step_{t}.pt")
    line = refused(folder, "nothing_to_convert")
    assert f"the tensors at the top, {key}" in line
    assert opened(folder, key=f"^{key}")[0].layout.size == 120
    for t in range(2):
        large = {"fc.weight": torch.full((40, 3), float(t))}
        torch.save({"queue": torch.ones(4), key: large}, folder / f"step_{t}.pt")
    collection, _ = opened(folder)
    assert collection.layout.size == 120
    assert "not read: `queue`" in collection.notices


def test_scores_beside_the_weights_are_no_parameters(tmp_path: Path) -> None:
    """`logit_scale` is a parameter of networks, and `best_acc` is none."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        scalars = {name: torch.tensor(t + 0.5) for name in ("logit_scale", "best_acc", "train_loss")}
        torch.save({"fc.weight": torch.full((3,), float(t)), **scalars}, folder / f"step_{t}.pt")
    collection, _ = opened(folder)
    assert [parameter.name for parameter in collection.layout.parameters] == ["fc.weight", "logit_scale"]
    assert "not read: `best_acc`, `train_loss`" in collection.notices
