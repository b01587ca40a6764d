"""The file with the result of a run, and its pixels."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.errors import CorruptError, MissingError  # noqa: E402
from mct.results import files, synthetic  # noqa: E402
from mct.runtime import tensorfile  # noqa: E402


def test_best_images_come_before_the_last_ones(tmp_path: Path) -> None:
    """A file is taken as it is; a folder without a result, and a path without anything, are told apart."""
    with pytest.raises(MissingError, match=r"contains no synthetic\.safetensors"):
        files.result_file(tmp_path)
    with pytest.raises(MissingError, match="no such file or folder"):
        files.result_file(tmp_path / "absent")
    for name in ("synthetic.safetensors", "best.safetensors"):
        (tmp_path / name).touch()
        assert files.result_file(tmp_path) == tmp_path / name
    assert files.result_file(tmp_path / "synthetic.safetensors").name == "synthetic.safetensors"


def test_pixels_are_those_that_were_saved(saved_result: Path, digits) -> None:
    """They are the images with the preprocessing inverted, and a file without them is damaged."""
    found, pixels = files.load_pixels(saved_result)
    torch.testing.assert_close(pixels, digits.pixels(found.images))
    tensors, facts = tensorfile.load(saved_result, kind=synthetic.KIND, version=1)
    for wrong, message in (({}, "found none"), ({"pixels": pixels[:1]}, r"found \(1, 1, 8, 8\)")):
        rest = {name: tensor for name, tensor in tensors.items() if name != "pixels"} | wrong
        tensorfile.save(saved_result, rest, facts)
        with pytest.raises(CorruptError, match=message):
            files.load_pixels(saved_result)
