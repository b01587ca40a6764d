"""What is accepted as a safetensors file of a bundle, the `safetensors` library opens as the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open

from trajfmt import CorruptError, FormatError, ParamLayout
from trajfmt.encodings.parts import buffers
from trajfmt.encodings.parts.knots import ByteRange, check_header, header
from trajfmt.storage.files import BundleFiles

LAYOUT = ParamLayout.of([("w", (3,)), ("v", (2, 1))])
KNOTS = (0, 2)
VALUES = np.arange(10, dtype="<f4").tobytes()
NAME = "a.safetensors"

ODD = b'0-.{]," \n\x7f'
"""Characters that turn a header into another one, or into none."""

PARTS = [
    (b'"__metadata__":', b'"__metadata__":7,"a":'),
    (b'{"trajfmt":', b'{"a":7,"trajfmt":'),
    (b'{"trajfmt":', b'{"a":null,"trajfmt":'),
    (b'{"trajfmt":', b'{"a":NaN,"trajfmt":'),
    (b'{"trajfmt":', b'{"a":"1","a":"2","trajfmt":'),
    (b'{"trajfmt":', b'{"\\ud800":"","trajfmt":'),
    (b'{"trajfmt":', b'{"a":"\\ud800","trajfmt":'),
    (b'{"trajfmt":', b'{"a":[[1]],"trajfmt":'),
    (b'{"__metadata__"', b'{"__metadata__":{},"__metadata__"'),
    (b'{"__metadata__"', b' {"__metadata__"'),
    (b'{"__metadata__"', b'{\n "__metadata__"'),
    (b'"shape":[3]', b'"shape":[3.0]'),
    (b'"shape":[3]', b'"shape":[3e0]'),
    (b'"shape":[3]', b'"shape":[3],"shape":[3]'),
    (b'"shape":[3]', b'"shape":[3],"x":1'),
    (b'"data_offsets":[0,', b'"data_offsets":[-0,'),
    (b'"data_offsets":[0,', b'"data_offsets":[false,'),
    (b'"F32"', b'"f32"'),
    (b"}   ", b"}\n  "),
    (b"}   ", b"},  "),
    (b"}   ", b"}\0  "),
    (b"}   ", b"}}  "),
]


def variants(head: bytes) -> Iterator[bytes]:
    """Yield headers of the same length: itself, each with another character, each with another part."""
    yield head
    text = head[8:].rstrip(b" ")
    for position in range(len(text) + 1):
        for character in ODD:
            changed = head[8 : 8 + position] + bytes([character]) + head[9 + position :]
            yield head[:8] + changed
    for old, new in PARTS:
        changed = head[8:].replace(old, new, 1)
        if changed != head[8:]:
            yield head[:8] + changed.rstrip(b" ").ljust(len(head) - 8)[: len(head) - 8]


def opened(path: Path) -> dict[str, bytes] | None:
    """Return the tensors that the library finds, or None if it refuses the file."""
    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        return None


@pytest.fixture
def roomy_knots() -> bytes:
    """Return the head of a file of knots, with room for a longer text."""
    head = header(LAYOUT, KNOTS)
    text = head[8:].rstrip(b" ").ljust(len(head) - 8 + 64)
    return len(text).to_bytes(8, "little") + text


def agree(tmp_path: Path, head: bytes, check: Callable[[BundleFiles], None]) -> tuple[int, int]:
    """Require that the library opens whatever `check` accepts; return how many are accepted and refused."""
    path = tmp_path / NAME
    path.write_bytes(head + VALUES)
    right = opened(path)
    assert right is not None
    counts = [0, 0]
    for changed in variants(head):
        assert len(changed) == len(head)
        path.write_bytes(changed + VALUES)
        with closing(BundleFiles(tmp_path, {NAME: path.stat().st_size}, backend="pread")) as files:
            try:
                check(files)
            except FormatError as exc:
                counts[1] += exc.reason in ("header_invalid", "header_mismatch")
                continue
        found = opened(path)
        assert found is not None, changed
        assert [found[name] for name in sorted(found)] == [right[name] for name in sorted(right)], changed
        counts[0] += 1
    assert sum(counts) == sum(1 for _ in variants(head))
    return counts[0], counts[1]


def test_accepted_knots_open_elsewhere(tmp_path: Path, roomy_knots: bytes) -> None:
    """White space and other metadata are legal, and everything else that is accepted is the same tensors."""
    data = len(roomy_knots)

    def check(files: BundleFiles) -> None:
        check_header(files, NAME, data, LAYOUT, KNOTS, ByteRange.of(LAYOUT, 0, 4))

    accepted, refused = agree(tmp_path, roomy_knots, check)
    assert accepted > 10
    assert refused > 1000


def test_accepted_buffers_open_elsewhere(tmp_path: Path) -> None:
    """The same for module buffers, whose header is the only witness of their types and shapes."""
    state = {"m": np.arange(3, dtype="<f4"), "n": np.array([[1], [2]], "<f4")}
    buffers.write(tmp_path / "b.safetensors", [(0, state), (2, state)])
    content = (tmp_path / "b.safetensors").read_bytes()
    head = content[: len(content) - len(VALUES)]
    text = head[8:].rstrip(b" ").ljust(len(head) - 8 + 64)
    roomy = len(text).to_bytes(8, "little") + text

    def check(files: BundleFiles) -> None:
        buffers.Buffers(files, NAME, (0, 2)).check()

    accepted, refused = agree(tmp_path, roomy, check)
    assert accepted > 10
    assert refused > 1000


@pytest.mark.parametrize(("old", "new"), [(b"}   ", b"}\n  "), (b'{"__metadata__"', b' {"__metadata__"')])
def test_header_is_stricter_than_the_library(
    tmp_path: Path, roomy_knots: bytes, old: bytes, new: bytes
) -> None:
    """What the text of safetensors excludes is refused, although the library takes it."""
    text = roomy_knots[8:].replace(old, new, 1)[: len(roomy_knots) - 8]
    (tmp_path / NAME).write_bytes(roomy_knots[:8] + text + VALUES)
    assert opened(tmp_path / NAME) is not None
    size = len(roomy_knots) + len(VALUES)
    with (
        closing(BundleFiles(tmp_path, {NAME: size}, backend="pread")) as files,
        pytest.raises(CorruptError, match="must begin with") as caught,
    ):
        check_header(files, NAME, len(roomy_knots), LAYOUT, KNOTS, ByteRange.of(LAYOUT, 0, 4))
    assert caught.value.reason == "header_invalid"
