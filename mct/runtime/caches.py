"""The folder in which torch keeps compiled code, within the cache folder of trajfmt."""

import contextlib
import hashlib
import os
import platform
import re
from pathlib import Path
from typing import Final

import torch

from trajfmt.storage import cache_folder

COMPILER_VARIABLE: Final = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable with which torch chooses the folder of its compiled code."""


def keep_compiled() -> None:
    """Make torch keep compiled code in the cache folder, so that later processes reuse it.

    Nothing changes if the environment variable `TORCHINDUCTOR_CACHE_DIR` is set, or there is no cache folder.
    torch's own default is a temporary folder. Only programs should change such a process-wide setting: the
    commands of mct call this function before anything is compiled, and the library does not.

    Each version of torch and each kind of CPU gets a folder of its own. The machines of a cluster may share a
    home directory, and code that was compiled for AVX2 accesses memory outside of tensors if torch loads it
    on a machine with AVX-512.
    """
    folder = cache_folder()
    if folder is None or COMPILER_VARIABLE in os.environ:
        return
    kind = f"{torch.__version__}-{torch.backends.cpu.get_cpu_capability()}-{_features()}"
    compiled = folder / "compiled" / re.sub(r"[^A-Za-z0-9.+-]", "-", kind)
    with contextlib.suppress(OSError):  # torch keeps its default if the folder cannot be created
        compiled.mkdir(parents=True, exist_ok=True)
        os.environ[COMPILER_VARIABLE] = str(compiled)


def _features() -> str:
    """Return a short hash of the CPU's features, all of which compiled code may use (`-march=native`)."""
    text = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]
