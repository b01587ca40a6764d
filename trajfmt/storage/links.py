"""Links in place of the files of a bundle: the one layout whose links are followed, and the remedy otherwise.

The cache of huggingface_hub keeps every file once, named by its hash, and shows a revision as a folder of
links to these files:

    models--someone--experts/
        blobs/
            1f0c…                                          a regular file
        snapshots/
            9e2b…/out.mct/manifest.json -> ../../../blobs/1f0c…

Such a link cannot lead outside the files of its own repository. Any other link could lead to a file that is
none of the bundle's.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from trajfmt.errors import UnsafeError

__all__ = ["REMEDY", "blob_of"]

REMEDY: Final = "copy the bundle with its links resolved: cp -rL BUNDLE COPY"

_SHOWN: Final = "snapshots"
_KEPT: Final = "blobs"


def blob_of(path: Path) -> Path:
    """Return the regular file that a link in a hub's cache stands for.

    Args:
        path: a link.

    Raises:
        UnsafeError: the link does not lead from `snapshots/<revision>/…` to a regular file that lies directly
            in the folder `blobs` beside `snapshots`.
    """
    folder = Path(os.path.realpath(path.parent))
    target = Path(os.path.normpath(folder / os.readlink(path)))
    for place in (folder, *folder.parents):
        shown = place.parent  # `place` would be a revision
        if shown.name == _SHOWN and target.parent == shown.with_name(_KEPT):
            try:
                if stat.S_ISREG(target.lstat().st_mode) and not shown.with_name(_KEPT).is_symlink():
                    return target
            except OSError:
                break
    raise UnsafeError("path_unsafe", f"a link where a file is expected; {REMEDY}", path=path)
