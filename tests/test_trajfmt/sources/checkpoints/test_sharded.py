"""Weights that are split over several files: the index, and its shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import CASES, opened, refused  # noqa: E402
from trajfmt.sources.discovery import open_source  # noqa: E402


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


def test_index_of_too_many_values_is_not_decoded(tmp_path: Path, trained: Any) -> None:
    """10 MB of the smallest objects would take hundreds of megabytes."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    (folder / "checkpoint-500" / foreign.INDEX).write_text('{"a":[' + "{}," * 10**6 + "0]}")
    assert "too much memory" in refused(folder, "header_invalid")


def test_a_key_is_not_for_weights_with_an_index(tmp_path: Path, trained: Any) -> None:
    """It would have no effect."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    assert "have no keys such as ema" in refused(folder, "nothing_to_convert", key="ema")


def test_shards_of_any_name_are_watched(tmp_path: Path, trained: Any) -> None:
    """The index names them. A conversion that continues notices that one of them has changed."""
    for seed in range(2):
        states = foreign.training(3, seed)[0]
        for step, state in enumerate(states, 1):
            folder = tmp_path / f"runs/{seed}/checkpoint-{step}"
            folder.mkdir(parents=True)
            save_file(state, folder / "weights-00001-of-00001.safetensors")
            places = dict.fromkeys(state, "weights-00001-of-00001.safetensors")
            (folder / foreign.INDEX).write_text(json.dumps({"weight_map": places}))
    collection = open_source(tmp_path / "runs")
    used = {path.name for part in collection.parts for path in (part.path, *part.also)}
    assert used == {foreign.INDEX, "weights-00001-of-00001.safetensors"}
    assert not [text for text in collection.notices if text.startswith("left out")]
    stale = tmp_path / "runs/0/checkpoint-1/model-00002-of-00002.safetensors"
    save_file(trained[0][0], stale)
    notices = open_source(tmp_path / "runs").notices
    assert [text for text in notices if text.startswith(f"left out: {stale.name}")]


@pytest.mark.parametrize("total", [333312, 0, -1])
def test_another_total_size_is_remarked_on(tmp_path: Path, trained: Any, total: int) -> None:
    """All tensors are there, so the weights are used. What is no whole number is no statement."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    path = folder / "checkpoint-500" / foreign.INDEX
    index = json.loads(path.read_text())
    assert not [text for text in opened(folder)[0].notices if "bytes" in text]
    path.write_text(json.dumps(index | {"metadata": {"total_size": total}}))
    (remark,) = [text for text in opened(folder)[0].notices if "bytes" in text]
    assert f"says that the weights have {total:,} bytes, and they have" in remark
    for metadata in ({"total_size": str(total)}, {"total_size": 1.5}, {"total_size": True}, [], {}):
        path.write_text(json.dumps(index | {"metadata": metadata}))
        assert not [text for text in opened(folder)[0].notices if "bytes" in text]


def test_an_index_may_name_what_no_file_can_be_called(tmp_path: Path, trained: Any) -> None:
    """Such a shard is missing, like any other that is not there."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    path = folder / "checkpoint-1000" / foreign.INDEX
    index = json.loads(path.read_text())
    for name in ("x" * 300, "nul\0", "\ud800"):
        path.write_text(json.dumps(index | {"weight_map": index["weight_map"] | {"0.bias": name}}))
        assert "is missing, although" in refused(folder, "file_missing")


def test_a_damaged_index_and_a_broken_link(tmp_path: Path, trained: Any) -> None:
    """The index is what is wrong, even if a shard of its name is a link to nowhere."""
    folder = CASES["hf_shards"].write(tmp_path / "run", *trained)
    last = folder / "checkpoint-1000"
    (last / foreign.INDEX).write_text("{}")
    (last / "model-00002-of-00003.safetensors").unlink()
    (last / "model-00002-of-00003.safetensors").symlink_to("nowhere")
    assert "an index must have a `weight_map`" in refused(folder, "header_invalid")
