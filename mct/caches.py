"""Where torch keeps what it compiles; the folder of the cache is trajfmt's."""

import contextlib
import os
from typing import Final

from trajfmt.cache import cache_folder

COMPILER_VARIABLE: Final = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable that names torch's own folder."""


def keep_compiled() -> None:
    """Let torch keep what it compiles in the folder, for the next process, unless its variable says where.

    Torch's own default is a temporary folder. A program decides this, never a library: the commands of
    mct call it, before anything is compiled.
    """
    folder = cache_folder()
    if folder is None or COMPILER_VARIABLE in os.environ:
        return
    compiled = folder / "compiled"
    with contextlib.suppress(OSError):  # no room, or no right to write: torch's default then
        compiled.mkdir(parents=True, exist_ok=True)
        os.environ[COMPILER_VARIABLE] = str(compiled)
