"""Making runs on a GPU repeatable bit for bit.

Runs on a CPU are repeatable without this module if the seed and the number of threads are the same.
"""

import os
from typing import Final

import torch

_WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable that configures the workspace of cuBLAS.

If it is unset, matrix products on several streams may differ from run to run.
"""

_REPEATABLE: Final = (":4096:8", ":16:8")
"""Values of the environment variable with which matrix products do not differ."""


def compute_deterministically() -> None:
    """Make torch use deterministic algorithms in this process. Call this before any work on a GPU.

    An operator without a deterministic algorithm then raises a RuntimeError that names it. Only programs
    should change such a process-wide setting: the commands of mct do for `--deterministic`, and the library
    does not.
    """
    if os.environ.get(_WORKSPACE) not in _REPEATABLE:
        os.environ[_WORKSPACE] = _REPEATABLE[0]
    torch.use_deterministic_algorithms(True)
    # torch would also fill uninitialised memory, which costs time and is useful for debugging only.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
