"""Weights that are packed into whole numbers are named, and not taken for module buffers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from tests.helpers.runs import opened, refused  # noqa: E402

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gptq": (
        "GPTQ or AWQ",
        {
            "layer.qweight": torch.ones(2, 4, dtype=torch.int32),
            "layer.qzeros": torch.ones(1, 1, dtype=torch.int32),
            "layer.scales": torch.rand(1, 4),
            "layer.g_idx": torch.zeros(8, dtype=torch.int32),
        },
    ),
    "bitsandbytes 4 bit": (
        "bitsandbytes",
        {
            "layer.weight.absmax": torch.rand(4),
            "layer.weight.quant_map": torch.rand(16),
            "layer.weight.quant_state.bitsandbytes__nf4": torch.zeros(9, dtype=torch.uint8),
            "layer.packed": torch.zeros(9, dtype=torch.uint8),
        },
    ),
    "bitsandbytes 8 bit": (
        "bitsandbytes",
        {"layer.SCB": torch.rand(4), "layer.bias": torch.rand(4)},
    ),
    "hqq": ("HQQ", {"layer.W_q": torch.ones(2, 4, dtype=torch.uint8), "layer.scale": torch.rand(1)}),
    "quanto": (
        "Quanto",
        {"layer.weight._data": torch.ones(2, 4, dtype=torch.int8), "layer.weight._scale": torch.rand(1)},
    ),
    "compressed-tensors": (
        "compressed-tensors",
        {"layer.weight_packed": torch.ones(2, 4, dtype=torch.int32), "layer.weight_scale": torch.rand(1)},
    ),
    "torchao": (
        "whole numbers with scales",
        {"layer.weight_qdata": torch.ones(2, 4, dtype=torch.int8), "layer.weight_scale": torch.rand(2)},
    ),
    "MXFP4": (
        "whole numbers with scales",
        {
            "experts.up_blocks": torch.ones(2, 4, 16, dtype=torch.uint8),
            "experts.up_scales": torch.ones(2, 4, dtype=torch.uint8),
        },
    ),
    "AQLM": (
        "whole numbers with scales",
        {"layer.codes": torch.ones(2, 4, 1, dtype=torch.int8), "layer.codebooks": torch.rand(1, 4, 2)},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_quantised_weights_are_named(tmp_path: Path, case: str, ending: str) -> None:
    """In a file of torch and of safetensors, one line says who writes them and what to do."""
    who, tensors = CASES[case]
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        state = {**tensors, "norm.weight": torch.full((3,), float(t))}
        path = folder / f"step_{t}.{ending}"
        if ending == "pt":
            torch.save(state, path)
        else:
            save_file(state, path)
    line = refused(folder, "nothing_to_convert")
    assert who in line
    assert "before quantisation" in line


def test_names_alone_do_not_make_weights_quantised(tmp_path: Path) -> None:
    """Floating-point weights of such names have paths between them."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t in range(2):
        torch.save(
            {"a.qweight": torch.full((3,), float(t)), "observer.absmax": torch.ones(1)},
            folder / f"step_{t}.pt",
        )
    assert opened(folder)[1][0].timesteps == 2
