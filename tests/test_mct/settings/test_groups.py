"""Settings by name."""

from mct.settings.condensation import Condensation
from mct.settings.config import DistillConfig
from mct.settings.groups import GROUPS, configured, flat, unused


def test_no_two_settings_have_one_name() -> None:
    """Neither with the other settings, nor with another group."""
    whole = flat(DistillConfig(condensation=Condensation()))
    assert len(whole) == len(DistillConfig.__dataclass_fields__) - 1 + len(Condensation.__dataclass_fields__)
    assert not set(GROUPS) & set(whole)


def test_changes_reach_the_group_and_leave_the_rest() -> None:
    """What is not named stays; settings outside of the group do not create it."""
    before = configured(None, {"ipc": 3, "class_batch": 7, "lr_net": 0.5})
    after = configured(before, {"class_batch": 8})
    assert after.condensation == Condensation(class_batch=8, lr_net=0.5)
    assert configured(before, {"ipc": 4}) == configured(None, {"ipc": 4, "class_batch": 7, "lr_net": 0.5})
    assert configured(None, {"ipc": 4}) == DistillConfig(ipc=4)


def test_methods_read_no_settings_of_trajectories() -> None:
    """But those of images, evaluations and files."""
    found = unused(configured(None, {"method": "dc", "class_batch": 7}))
    assert {"expert_steps", "inner_steps", "lr_lr", "augment", "late_weight", "samples"} <= found.keys()
    assert not {"ipc", "lr_img", "seed", "matches", "select"} & found.keys()
    assert "augment" not in unused(configured(None, {"method": "dsa", "class_batch": 7}))
