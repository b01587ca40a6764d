"""The folder in which a bundle is built: what interrupts it arrives as it was sent."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajfmt.storage.staging import Staging


def test_ctrl_c_while_a_record_is_packed_stays_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a member's opening and its closing numpy's zip file cannot be closed, and says only that."""
    opened = zipfile.ZipFile.open
    handles: list[Any] = []  # as if the interpreter still held it

    def interrupted(*arguments: Any, **options: Any) -> None:
        handles.append(opened(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
    staging = Staging(tmp_path / "out.mct", b"job")
    with pytest.raises(KeyboardInterrupt):
        staging.record("00000", b"{}", {"u": np.zeros(3)})
    monkeypatch.undo()
    for handle in handles:
        handle.close()
    assert staging.recall("00000") is None
    staging.release()
