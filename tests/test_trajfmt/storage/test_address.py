"""Telling an address from a path, and what is shown of an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from trajfmt.storage.address import Address, local, located


@pytest.mark.parametrize(
    ("text", "shown", "file", "name"),
    [
        ("http://h/a/two.mct", "http://h/a/two.mct", "http://h/a/two.mct/f", "two.mct"),
        ("http://h/two.mct/", "http://h/two.mct/", "http://h/two.mct/f", "two.mct"),
        ("https://u:p@h/two.mct?s=1", "https://…@h/two.mct?…", "https://…@h/two.mct/f?…", "two.mct"),
        ("http://u:p@q@h:8/a@b", "http://…@h:8/a@b", "http://…@h:8/a@b/f", "a@b"),
        ("s3://bucket/two%20x.mct", "s3://bucket/two%20x.mct", "s3://bucket/two%20x.mct/f", "two x.mct"),
        ("zip://two.mct::http://u:p@h/x.zip?s", "zip://two.mct::http://…@h/x.zip?…", None, "two.mct"),
        ("zip://::s3://b/x.zip", "zip://::s3://b/x.zip", "zip://f::s3://b/x.zip", "x.zip"),
        (
            "simplecache::s3://b/two.mct",
            "simplecache::s3://b/two.mct",
            "simplecache::s3://b/two.mct/f",
            "two.mct",
        ),
        ("hf://me/experts@v1", "hf://me/experts@v1", "hf://me/experts@v1/f", "experts"),
        ("hf://datasets/me/x@v1/two.mct", "hf://datasets/me/x@v1/two.mct", None, "two.mct"),
        ("memory://", "memory://", "memory://f", "bundle"),
    ],
)
def test_what_is_shown_of_an_address(text: str, shown: str, file: str | None, name: str) -> None:
    """No login, no query; files below it; the last component without either."""
    address = located(text)
    assert isinstance(address, Address)
    assert (str(address), repr(address), address.name) == (shown, f"<{shown}>", name)
    assert file is None or str(address / "f") == file


def test_what_is_a_path() -> None:
    """Strings without a scheme, path objects, and file addresses."""
    assert located("a/b.mct") == Path("a/b.mct")
    assert located("a::b") == Path("a::b")
    assert located("./http://x") == Path("./http:/x")
    assert located(Path("s3:/x")) == Path("s3:/x")
    assert located("file:///a/b.mct") == Path("/a/b.mct")
    assert local("a/b.mct") == Path("a/b.mct")
