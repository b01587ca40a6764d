"""Checkpoints that are recognised and not converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trajfmt.errors import SourceError
from trajfmt.sources.checkpoints.elsewhere import KNOWN, known
from trajfmt.sources.discovery import open_source

FILES = {
    "torch.distributed": ["checkpoint-100/__0_0.distcp", "checkpoint-100/.metadata"],
    "DeepSpeed": ["global_step10/zero_pp_rank_0_mp_rank_00_model_states.pt"],
    "a Megatron": ["iter_0000010/mp_rank_00/distrib_optim.pt", "iter_0000010/mp_rank_01/distrib_optim.pt"],
    "GGUF": ["model-Q4_K_M.gguf"],
    "ONNX": ["run/step_1.onnx", "run/step_2.onnx"],
    "TensorFlow": ["ckpt-1.index", "ckpt-1.data-00000-of-00001"],
    "JAX": ["100/_CHECKPOINT_METADATA", "200/_CHECKPOINT_METADATA"],
    "PaddlePaddle": ["epoch_1.pdparams", "epoch_2.pdparams"],
    "numpy": ["weights_1.npz", "weights_2.npz"],
}


@pytest.mark.parametrize(("kind", "files"), FILES.items(), ids=list(FILES))
def test_they_are_named_with_what_to_do(tmp_path: Path, kind: str, files: list[str]) -> None:
    """The folder of a run is not called unknown: one line says what it is, and the next step."""
    for file in files:
        path = tmp_path / "run" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x00content")
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path / "run")
    assert caught.value.reason == "nothing_to_convert"
    (advice,) = [each.advice for each in KNOWN if kind in each.title]
    assert kind in caught.value.message
    assert advice in caught.value.message


@pytest.mark.parametrize(
    "name", ["model.gguf", "net.onnx", "weights.h5", "ckpt.msgpack", "w.pdparams", "w.npz"]
)
def test_single_files_are_named_too(tmp_path: Path, name: str) -> None:
    """A file given by itself is not taken for a damaged buffer."""
    path = tmp_path / name
    path.write_bytes(b"\x00content")
    with pytest.raises(SourceError) as caught:
        open_source(path)
    assert caught.value.message == known(path)


def test_they_are_named_beside_checkpoints(tmp_path: Path, trained: Any) -> None:
    """An export in the folder of a run is said not to be used."""
    pytest.importorskip("torch")
    from tests.foreign import checkpoints as foreign

    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    (folder / "step=3.onnx").write_bytes(b"\x08")
    notices = open_source(folder).notices
    assert [text for text in notices if text.startswith("left out: step=3.onnx: an ONNX graph")]
