"""Settings for a data set, and the published presets."""

import json

import pytest

pytest.importorskip("torch")

from mct.errors import ConfigError
from mct.models import networks
from mct.settings import defaults, presets
from mct.settings.condensation import LOOPS, USED
from mct.settings.config import DistillConfig, EvaluateConfig
from mct.settings.expert import ExpertConfig
from mct.settings.groups import configured
from mct.settings.published import rat

SIZES = {"CIFAR10": (32, 10), "CIFAR100": (32, 100), "Tiny": (64, 200), "ImageNet": (128, 10),
         "MNIST": (28, 10), "FashionMNIST": (28, 10), "SVHN": (32, 10)}  # fmt: skip

ROWS = [  # N, M, max_start, lr_img, lr_lr, lr_init, batch_syn
    ("mtt-cifar10-zca-ipc1", (50, 2, 2, 1e2, 1e-7, 0.01, None)),
    ("mtt-cifar10-zca-ipc10", (30, 2, 20, 1e2, 1e-5, 0.001, None)),
    ("mtt-cifar10-ipc50", (30, 2, 40, 1e3, 1e-5, 0.001, None)),
    ("mtt-cifar100-zca-ipc1", (20, 3, 20, 1e3, 1e-5, 0.01, None)),
    ("mtt-cifar100-ipc10", (20, 2, 20, 1e3, 1e-5, 0.01, None)),
    ("mtt-cifar100-zca-ipc50", (80, 2, 40, 1e3, 1e-5, 0.01, 125)),
    ("mtt-tiny-ipc1", (10, 2, 10, 1e4, 1e-4, 0.01, None)),
    ("mtt-tiny-ipc10", (20, 2, 40, 1e4, 1e-4, 0.01, 200)),
    ("mtt-tiny-ipc50", (20, 2, 40, 1e4, 1e-4, 0.01, 300)),
    ("mtt-imagenet-ipc10", (20, 2, 10, 1e5, 1e-6, 0.01, 20)),
    ("mct-cifar10-ipc1", (60, 6, 4, 1e3, 1e-7, 0.01, None)),
    ("mct-cifar10-ipc10", (30, 15, 8, 1e3, 1e-5, 0.01, None)),
    ("mct-cifar10-ipc50", (30, 2, 40, 1e3, 1e-5, 0.001, None)),
    ("mct-cifar10-zca-ipc1", (50, 5, 3, 1e2, 1e-7, 0.01, None)),
    ("mct-cifar100-zca-ipc1", (40, 8, 20, 1e3, 1e-5, 0.01, None)),
    ("mct-cifar100-zca-ipc50", (50, 3, 40, 1e3, 1e-5, 0.01, 125)),
    ("ftd-cifar10-zca-ipc10", (30, 2, 20, 1e2, 1e-5, 0.001, None)),
    ("att-cifar100-zca-ipc50", (80, 2, 40, 1e3, 1e-5, 0.01, 1200)),
    ("datm-tiny-zca-ipc10", (40, 2, 50, 1e2, 1e-4, 0.01, 500)),
    ("pad-cifar10-zca-ipc50", (80, 3, 40, 1e3, 1e-5, 0.01, None)),
]


@pytest.mark.parametrize(("name", "expected"), ROWS, ids=[name for name, _ in ROWS])
def test_published_row(name: str, expected: tuple[float, ...]) -> None:
    """The numbers are those of the published tables and commands."""
    found = presets.preset(name)
    assert expected == (found.inner_steps, found.expert_steps, found.max_start, found.lr_img, found.lr_lr,
                        found.lr_init, found.batch_syn)  # fmt: skip


def test_settings_of_datm_and_pad_are_those_of_their_files() -> None:
    """Labels, window, threshold and initial images; PAD drops parameters, and starts later with 500
    images."""
    datm, pad = (presets.preset(f"{name}-cifar10-zca-ipc500") for name in ("datm", "pad"))
    for found, ramp, last in ((datm, None, 60), (pad, 60, 70)):
        assert (found.labels, found.lr_label, found.initial, found.loss_threshold) == (
            "learned",
            10,
            "correct",
            1,
        )
        assert (found.min_start, found.ramp_from, found.max_start) == (40, ramp, last)
        assert found.evaluation == {"batch_size": 128}
    assert (datm.drop, pad.drop, pad.ramp_steps) == (0, 0.5, 2000)
    ramp = presets.preset("datm-cifar10-zca-ipc10")
    assert (ramp.ramp_from, ramp.max_start, ramp.ramp_steps, ramp.lr_label) == (10, 20, 1000, 2)


@pytest.mark.parametrize(
    ("name", "learned", "real", "skipped"),
    [("cifar10-ipc250", 150, 100, 125), ("cifar10-ipc1500", 150, 1350, 300), ("cifar100-ipc25", 20, 5, 20),
     ("cifar100-ipc150", 30, 120, 60), ("tiny-ipc100", 50, 50, 70)],
)  # fmt: skip
def test_selmatch_counts_are_those_of_its_code(name: str, learned: int, real: int, skipped: int) -> None:
    """cpc = int(alpha ipc), spc = ipc - cpc and ths = int(beta ipc), and the protocol is its own."""
    found = presets.preset(f"selmatch-{name}")
    config = DistillConfig(**found.settings)
    assert (config.ipc - config.real_images, config.real_images, config.skipped) == (learned, real, skipped)
    assert EvaluateConfig(**found.evaluation).protocol == "selmatch"


def test_method_without_a_preset_still_is_that_method() -> None:
    """For the digits, DATM's labels and initial images come on top of the defaults for the digits."""
    plain, datm = (defaults.distill_config("digits", settings_of=method) for method in ("mct", "datm"))
    assert (datm.labels, datm.initial, datm.loss_threshold) == ("learned", "correct", 1.0)
    assert datm.outer_steps == plain.outer_steps == 200
    assert defaults.evaluation_of("digits", 1, method="datm") == {}
    assert defaults.evaluation_of("Tiny", 10, preset="datm-tiny-zca-ipc10") == {"batch_size": 128}


def test_settings_of_rat_without_a_preset_are_those_of_its_presets() -> None:
    """The command for CIFAR-10 is what the method is elsewhere, and its protocol evaluates the images."""
    cifar = defaults.distill_config("CIFAR10", ipc=10, settings_of="rat")
    digits = defaults.distill_config("digits", ipc=10, settings_of="rat")
    for name, value in rat.SETTINGS.items():
        assert getattr(cifar, name) == getattr(digits, name) == value, name
    assert (cifar.inner_steps, cifar.min_steps, cifar.window, cifar.real_batch) == (200, 60, 60, 5000)
    assert defaults.evaluation_of("CIFAR10", 10, method="rat")["batch_size"] == 100
    assert defaults.evaluation_of("digits", 10, method="rat") == {"protocol": "rat"}
    late = presets.preset("rat-cifar100-unit-zca-ipc1").settings
    assert (late["inner_steps"], late["window"], late.get("min_steps")) == (130, 90, None)


def test_stages_have_presets_of_their_own() -> None:
    """Two stages add equally many images, so that the number of the stage decides; all add 50."""
    found = {
        stage: presets.default_preset("CIFAR10", ipc, "zca", method="seqmatch", stage=stage)
        for stage, ipc in ((1, 17), (2, 17), (3, 16))
    }
    names = [f"seqmatch-cifar10-zca-ipc50-stage{stage}" for stage in found]
    assert [one.name for one in found.values()] == names
    assert [(one.lr_init, one.max_start) for one in found.values()] == [(0.001, 18), (0.01, 18), (0.01, 8)]
    assert sum(one.ipc for one in found.values()) == 50
    assert all(one.batch_syn == 10 * one.ipc for one in found.values())
    assert presets.default_preset("CIFAR10", 16, "zca", method="seqmatch", stage=1) is None
    config = defaults.distill_config("CIFAR10", ipc=17, settings_of="seqmatch", stage=2)
    assert (config.lr_init, config.earlier_images) == (0.01, "joint")


@pytest.mark.parametrize(("ipc", "steps"), [(1, 5), (10, 6), (50, 6)])
def test_whitened_cifar10_is_the_best_of_table_3(ipc: int, steps: int) -> None:
    """N is 50 and M the best one of the paper's table 3."""
    found = presets.preset(f"mct-cifar10-zca-ipc{ipc}")
    assert (found.inner_steps, found.expert_steps, found.knots) == (50, steps, (6, 25))


@pytest.mark.parametrize("name", presets.PRESETS)
def test_preset_can_be_used(name: str) -> None:
    """Its settings are valid, its model exists for its images, and 50 epochs are enough for it."""
    found = presets.preset(name)
    config = defaults.distill_config(found.dataset, preset=name)
    assert config == configured(None, found.settings)
    assert (config.ipc, config.outer_steps) == (found.ipc, found.outer_steps)
    assert found.outer_steps == 5000 or found.method in ("att", "datm", "pad", "selmatch", "rat", *USED)
    protocol = EvaluateConfig(**found.evaluation)
    ExpertConfig(**found.experts)
    size, classes = SIZES[found.dataset]
    model = networks.parse(found.model, channels=3, image_size=size, classes=classes)
    assert model.image_size == size
    assert (size + 4 if size == 28 else size) >> model.depth >= 4
    assert found.source
    assert "\n" not in found.source
    assert (config.condensation is not None) == (presets.trajectories_of(found.method) == "unused")
    if config.condensation is not None:
        assert (config.augment == "none") == (found.method in ("dc", "cafe"))
        assert found.method == "dc" or config.augment == protocol.augment
        assert (config.momentum, config.lr_init) == (0.5, 0.01)
        return
    assert config.augment == ("flip_rotate" if found.method == "rat" else "dsa")
    assert found.max_start + found.expert_steps <= found.experts.get("epochs", 50)
    assert bool(found.knots) == (found.method == "mct")
    assert list(found.knots) == sorted(set(found.knots) & set(range(1, 50)))
    assert config.batch_syn is None or config.batch_syn <= found.ipc * classes


def test_condensation_is_published_for_its_numbers_of_images() -> None:
    """Matches and passes of DC and DSA are those of their table; DM's step size grows; CAFE's halves."""
    for name, found in presets.PRESETS.items():
        if found.method in ("dc", "dsa"):
            config = defaults.distill_config(found.dataset, preset=name).condensation
            assert config is not None
            assert (config.matches, config.passes) == LOOPS[found.ipc]
    steps = [presets.preset(f"dm-cifar10-ipc{ipc}").lr_img for ipc in (50, 100, 1250)]
    assert steps == [1, 10, 10]
    cafe = defaults.distill_config("CIFAR10", preset="cafe-cifar10-ipc10").condensation
    assert cafe is not None
    assert cafe.halve_at == (1200, 1600, 1800)


def test_every_cell_of_the_tables_has_a_preset() -> None:
    """Both methods, three data sets, three numbers of images per class, with the published accuracy."""
    for method in ("mtt", "mct"):
        for dataset in ("CIFAR10", "CIFAR100", "Tiny"):
            for ipc in (1, 10, 50):
                found = presets.presets_for(dataset, ipc, method=method)
                assert len([entry for entry in found if entry.accuracy]) == 1, (method, dataset, ipc)


def test_tiny_experts_are_deeper() -> None:
    """Presets and the default for experts agree on the model of every data set."""
    for found in presets.PRESETS.values():
        if found.dataset != "ImageNet":
            batch_norm = "BN" * (found.method == "selmatch")
            assert found.model.removesuffix(batch_norm) == defaults.MODELS.get(found.dataset, "ConvNet")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "mct-cifar10-ipc10"),
        ({"preprocessing": "normalize"}, "mct-cifar10-ipc10"),
        ({"preprocessing": "zca"}, "mct-cifar10-zca-ipc10"),
        ({"preprocessing": "zca", "settings_of": "mtt"}, "mtt-cifar10-zca-ipc10"),
        ({"preprocessing": "none", "settings_of": "mtt"}, "mtt-cifar10-ipc10"),
        ({"preprocessing": "zca", "preset": "mtt-tiny-ipc10"}, "mtt-tiny-ipc10"),
    ],
    ids=str,
)
def test_which_preset_is_taken(given: dict[str, str], expected: str) -> None:
    """A named preset wins; else data set, images per class, preprocessing and method choose."""
    found = defaults.distill_config("CIFAR10", ipc=10, **given)
    assert found == DistillConfig(**presets.preset(expected).settings)


def test_other_preprocessing_is_better_than_nothing() -> None:
    """Where only the other preprocessing was published, its settings are taken."""
    assert presets.default_preset("CIFAR10", 50, "zca", method="mtt").name == "mtt-cifar10-ipc50"
    assert presets.default_preset("CIFAR100", 1, "normalize").name == "mct-cifar100-zca-ipc1"


def test_unknown_preset_like_none_lists_all() -> None:
    """Without a neighbour every name is in the message."""
    with pytest.raises(ConfigError) as caught:
        presets.preset("?")
    assert all(name in str(caught.value) for name in presets.PRESETS)


def test_rows_are_plain() -> None:
    """The table survives JSON, one row for each preset, in its order."""
    rows = presets.rows()
    assert json.loads(json.dumps(rows)) == rows
    assert [row["name"] for row in rows] == list(presets.PRESETS)
    tiny = [row for row in rows if (row["dataset"], row["ipc"]) == ("Tiny", 1)]
    assert presets.rows(presets.presets_for("Tiny", 1)) == tiny
