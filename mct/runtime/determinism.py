"""Makes runs on a GPU repeatable bit for bit; on a CPU they are with the same seed and number of threads."""

import os
from typing import Final

import torch

_WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable without which matrix products on several streams may differ from run to run."""

_REPEATABLE: Final = (":4096:8", ":16:8")
"""Its values with which they do not."""


def compute_deterministically() -> None:
    """Have torch choose deterministic algorithms in this process, before anything is computed on a GPU.

    An operator without one then raises RuntimeError, which names it, in place of computing. A program
    decides this, never a library: the commands of mct call it for `--deterministic`.
    """
    if os.environ.get(_WORKSPACE) not in _REPEATABLE:
        os.environ[_WORKSPACE] = _REPEATABLE[0]
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory finds defects, at a cost.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
