"""Where things are kept that were computed once, and may be lost: whitenings, and what torch compiles."""

import contextlib
import os
from pathlib import Path
from typing import Final

CACHE_VARIABLE: Final = "TRAJFMT_CACHE"
"""Environment variable that names the folder."""

COMPILER_VARIABLE: Final = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable that names torch's own folder."""


def cache_folder() -> Path | None:
    """Return `$TRAJFMT_CACHE`, `$XDG_CACHE_HOME/trajfmt` or `~/.cache/trajfmt`; None without a home."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "trajfmt"
    try:
        return Path.home() / ".cache" / "trajfmt"
    except RuntimeError:
        return None


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
