"""Records of preprocessings of every kind."""

from __future__ import annotations

import pytest

msgspec = pytest.importorskip("msgspec")
pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data import record  # noqa: E402


@pytest.mark.parametrize("kind", ["none", "normalize", "zca", "unit-zca"])
def test_a_record_survives_being_stored(kind: str) -> None:
    """What is read is equal to what was written, and a kind of bundles is a bundle's record."""
    stated = msgspec.structs.replace(record.known(kind), images_sha256="ab" * 32)
    read = record.narrowed(msgspec.convert(msgspec.to_builtins(stated), record.Preprocessing))
    assert read == stated
    assert (type(read) is trajfmt.Preprocessing) == (kind != record.UNIT_ZCA)


def test_bundles_do_not_have_the_kind() -> None:
    """The kinds of a bundle are a part of its format."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": record.UNIT_ZCA}, trajfmt.Preprocessing)
