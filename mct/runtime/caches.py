"""Where torch keeps what it compiles; the folder of the cache is trajfmt's."""

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
"""Environment variable that names torch's own folder."""


def keep_compiled() -> None:
    """Let torch keep what it compiles in the folder, for the next process, unless its variable says where.

    Torch's own default is a temporary folder. A program decides this, never a library: the commands of
    mct call it, before anything is compiled. Each version of torch and each kind of CPU has a folder of its
    own: the machines of a cluster may share a home directory, and torch would load code that was compiled
    for AVX2 on a machine with AVX-512, where it then accesses memory outside of tensors.
    """
    folder = cache_folder()
    if folder is None or COMPILER_VARIABLE in os.environ:
        return
    kind = f"{torch.__version__}-{torch.backends.cpu.get_cpu_capability()}-{_features()}"
    compiled = folder / "compiled" / re.sub(r"[^A-Za-z0-9.+-]", "-", kind)
    with contextlib.suppress(OSError):  # no room, or no right to write: torch's default then
        compiled.mkdir(parents=True, exist_ok=True)
        os.environ[COMPILER_VARIABLE] = str(compiled)


def _features() -> str:
    """Return a short hash of what the CPU can do; compiled code uses all of it (`-march=native`)."""
    text = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]
