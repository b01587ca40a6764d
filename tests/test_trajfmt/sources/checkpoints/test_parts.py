"""Files that say that they hold one of several parts of the weights, and files that only seem to."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from tests.helpers.runs import assert_same, opened, refused  # noqa: E402
from trajfmt.sources.checkpoints.parts import claimed_part  # noqa: E402


def _run(folder: Path, states: Any, content: dict[str, Any], key: str = "model") -> Path:
    folder.mkdir()
    for t, state in enumerate(states):
        torch.save({key: state, **content}, folder / f"step_{t}.pt")
    return folder


def _megatron(folder: Path, states: Any, args: Any) -> Path:
    for t, state in enumerate(states, 1):
        place = folder / f"iter_{t:07d}/mp_rank_00"
        place.mkdir(parents=True)
        content = {"args": args, "checkpoint_version": 3.0, "iteration": t, "model": state}
        torch.save(content, place / "model_optim_rng.pt")
    return folder


@pytest.mark.parametrize("name", ["tensor_model_parallel_size", "pipeline_model_parallel_size"])
def test_a_single_rank_of_megatron(tmp_path: Path, trained: Any, name: str) -> None:
    """Its arguments say how many parts there are, whatever files are left."""
    folder = _megatron(tmp_path / "run", trained[0], Namespace(**{name: 2, "world_size": 2, "rank": 0}))
    line = refused(folder, "nothing_to_convert", trust_pickle=True)
    assert f"`args.{name}` is 2, so this is one of several parts" in line
    assert "--key model" in line
    whole = _megatron(tmp_path / "whole", trained[0], Namespace(**{name: 1, "world_size": 8, "rank": 0}))
    assert opened(whole, trust_pickle=True)[1][0].timesteps == 4


@pytest.mark.parametrize(
    "content",
    [
        {"mp_world_size": 2, "dp_world_size": 1},
        {"rank": 0, "world_size": 2},
        {"metadata": {"tp": "1 of 2"}},
        {"tp_rank": 0, "tp_size": 2},
        {"config": {"parallel": {"tensor_parallel_size": 4}}},
        {"shard": "1/2"},
        {"num_shards": 2},
    ],
)
def test_a_part_by_its_own_words(tmp_path: Path, trained: Any, content: dict[str, Any]) -> None:
    """It is refused; `--key` says that the weights are whole, and is not passed over in silence."""
    folder = _run(tmp_path / "run", trained[0], content)
    line = refused(folder, "nothing_to_convert")
    assert "one of several parts of the weights" in line
    collection, (trajectory,) = opened(folder, key="model")
    assert_same(collection, trajectory, trained[0])
    assert any("since --key names them" in text for text in collection.notices)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"ds_config": {"zero_optimization": {"stage": 3}}}, "ZeRO stage 3"),
        ({"shard_metadata": {"shard_info": {}, "world_size": 2, "rank": 0}}, "`shard_metadata`"),
        ({"param_shapes": [OrderedDict({"0.weight": torch.Size([8, 1, 3, 3])})]}, "(8, 1, 3, 3)"),
    ],
)
def test_a_part_for_certain(tmp_path: Path, trained: Any, content: dict[str, Any], words: str) -> None:
    """No option makes it whole."""
    folder = _run(tmp_path / "run", trained[0], content, key="module")
    for key in (None, "module"):
        line = refused(folder, "nothing_to_convert", key=key)
        assert words in line
        assert "--key" not in line


def test_the_flat_parameter_of_a_rank(tmp_path: Path) -> None:
    """FSDP joins parameters, and each rank holds a part."""
    states = [{"_fsdp_wrapped_module._flat_param": torch.full((6,), float(t))} for t in range(2)]
    assert "_flat_param` is the part of one rank" in refused(
        _run(tmp_path / "run", states, {}), "nothing_to_convert"
    )


def test_a_part_in_safetensors(tmp_path: Path, trained: Any) -> None:
    """The metadata of the file may say it."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t, state in enumerate(trained[0]):
        save_file(state, folder / f"step_{t}.safetensors", metadata={"tp_rank": "0", "tp_size": "2"})
    assert "`tp_size` is 2" in refused(folder, "nothing_to_convert")


@pytest.mark.parametrize(
    "content",
    [
        {"args": {"world_size": 8, "rank": 0, "distributed": True}},
        {"dp_world_size": 8, "mp_world_size": 1, "ds_config": {"zero_optimization": {"stage": 2}}},
        {"config": {"rollout": {"tensor_model_parallel_size": 2}}},
        {"args": {"num_shards": 4, "shard": "1/4", "tp": True}},
        {"world_size": 8},
        {"rank": 4, "note": "run 1 of 3"},
    ],
)
def test_whole_weights_of_several_processes(tmp_path: Path, trained: Any, content: dict[str, Any]) -> None:
    """Ranks of data-parallel training hold all weights, and settings of other programs say nothing."""
    assert claimed_part(content) is None
    collection, (trajectory,) = opened(_run(tmp_path / "run", trained[0], content))
    assert_same(collection, trajectory, trained[0])


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_placeholders_of_split_weights_are_refused(tmp_path: Path, ending: str) -> None:
    """ZeRO stage 3 saves large weights without elements, unless it gathers them first."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        state = {"fc.weight": torch.empty(0), "norm.bias": torch.full((3,), float(t))}
        path = folder / f"step_{t}.{ending}"
        torch.save(state, path) if ending == "pt" else save_file(state, path)
    assert "`fc.weight` is empty, as ZeRO stage 3 leaves" in refused(folder, "nothing_to_convert")
