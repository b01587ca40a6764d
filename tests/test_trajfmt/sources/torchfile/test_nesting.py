"""Files that torch loads, and that are no buffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import family  # noqa: E402  # the generators need torch
from tests.helpers.replay import refused, save  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import CorruptError  # noqa: E402


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"a": 1}, id="dictionary"),
        pytest.param([[[1.0, 2.0], [3.0, 4.0]]], id="numbers"),
        pytest.param([[{"w": torch.ones(2)}, {"w": torch.zeros(2)}]], id="state_dicts"),
        pytest.param(torch.ones(2, 2, 2), id="tensor"),
        pytest.param([torch.ones(2), torch.zeros(2)], id="list of tensors"),
        pytest.param([[torch.ones(2), torch.zeros(2)]], id="one level less"),
        pytest.param([[[[torch.ones(2)]], [[torch.zeros(2)]]]], id="one level more"),
        pytest.param(["ab", "cd"], id="strings"),
        pytest.param(None, id="nothing"),
        pytest.param(3, id="number"),
        pytest.param([None], id="list of nothing"),
    ],
)
def test_wrong_nesting_is_refused(tmp_path: Path, content: Any) -> None:
    """What torch loads but is no buffer is told as such, not crashed on."""
    assert refused(save(tmp_path / "src", content), "source_invalid").exit_code == 4


IMAGES = torch.zeros(20, 3, 32, 32)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (IMAGES, "images of shape"),
        ([IMAGES, IMAGES], "images of shape"),
        ((IMAGES, torch.zeros(20)), "images of shape"),
        ({"images": IMAGES, "labels": torch.zeros(20)}, "images of shape"),
        (torch.zeros(5), "one tensor"),
        ({"weight": torch.zeros(5, 5)}, "a dict"),
        ([torch.zeros(5), torch.zeros(4)], "a list of tensors"),
        (family.expert(0), "one trajectory"),
        ("text", "str"),
    ],
    ids=["tensor", "list", "tuple", "dict", "vector", "state dict", "one step", "one level short", "text"],
)
@pytest.mark.parametrize("name", ["images_best.pt", "replay_buffer_0.pt"])
def test_what_is_no_buffer_is_named(tmp_path: Path, content: Any, words: str, name: str) -> None:
    """A distilled set, a checkpoint or a trajectory without its list says what it is, in one line."""
    torch.save(content, tmp_path / name)
    with pytest.raises(CorruptError) as caught:
        convert(tmp_path / name, tmp_path / "out.mct")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.reason == "source_invalid"
