"""Several experiments in one file, and numbers of NumPy beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, opened  # noqa: E402


def test_experiments_of_one_file(tmp_path: Path) -> None:
    """One is taken as it is; of several the user chooses; NumPy's numbers beside them do no harm."""
    runs = [(IMAGES + number, HARD) for number in range(3)]
    path = writers.condensation(tmp_path, "res_DSA_CIFAR10_ResNet18_AP_2ipc.pt", runs)
    with pytest.raises(ConfigError, match="contains 3 experiments; choose one with --experiment 0 to 2"):
        opened(path)
    found, notes = opened(tmp_path, experiment=2)
    assert torch.equal(found.found.images, IMAGES + 2)
    assert (found.found.dataset, found.found.model) == ("CIFAR10", "ResNet18_AP")
    assert set(found.found.known_from.values()) == {"file name"}
    assert "experiment 2 of 3" in notes[0]
    with pytest.raises(ConfigError, match="experiments 0 to 2, got --experiment 3"):
        opened(path, experiment=3)
    writers.condensation(tmp_path, "res_DC_SVHN_ConvNet_2ipc.pt", runs[:1])
    with pytest.raises(ConfigError, match="contains 2 files of distilled images"):
        opened(tmp_path)
    assert opened(tmp_path / "res_DC_SVHN_ConvNet_2ipc.pt")[0].found.dataset is None


def test_numbers_of_numpy_run_no_code_of_numpy(tmp_path: Path) -> None:
    """Only the three names that a float needs are answered; anything else in the file is refused."""
    path = tmp_path / "res_DC_CIFAR10_ConvNet_1ipc.pt"
    torch.save({"data": [], "accs_all_exps": np.zeros(2)}, path)
    with pytest.raises(trajfmt.UnsafeError, match="_reconstruct"):
        opened(path)


def test_another_number_of_images_than_in_the_name_is_told(tmp_path: Path) -> None:
    """The name states the images per class, and the file may hold fewer; equal ones get no note."""
    own = len(HARD) // len(set(HARD.tolist()))
    for count in (own, 10):
        path = writers.condensation(tmp_path, f"res_DM_CIFAR10_ConvNet_{count}ipc.pt", [(IMAGES, HARD)])
        told = f"the name of the file says {count} images per class, but it holds {own}" in opened(path)[1][0]
        assert told == (count != own)
