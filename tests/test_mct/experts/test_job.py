"""What a run says about its experts, and where MTT looks for them."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

import trajfmt
from mct.data.datasets import Dataset
from mct.data.preprocessing import hash_images
from mct.experts.job import buffer_folder, job_of, provenance
from mct.models import networks
from mct.settings.expert import ExpertConfig


def test_record_says_how_many_steps_a_timestep_has(digits: Dataset, model: trajfmt.Model) -> None:
    """What a bundle keeps of a run that records every 2 steps."""
    config = ExpertConfig(experts=1, epochs=2, batch_size=500, steps_per_timestep=2)
    record = provenance(digits, model, config)
    assert (record.timestep.kind, record.timestep.every) == ("step", 2)


def test_record_names_the_file_of_a_set_that_is_called_like_a_published_one(digits: Dataset, model) -> None:
    """Nothing else tells the experts of a user's CIFAR10.npz from those of CIFAR-10."""
    config = ExpertConfig(experts=1, epochs=2, batch_size=500)
    own = provenance(replace(digits, name="CIFAR10", file="CIFAR10.npz"), model, config)
    assert own.recipe["dataset_file"] == "CIFAR10.npz"
    assert "dataset_file" not in provenance(digits, model, config).recipe


@pytest.mark.parametrize(
    ("model", "kind", "folder"),
    [
        ("ConvNet", "none", "CIFAR10_NO_ZCA/ConvNet"),
        ("ConvNetD4", "zca", "CIFAR10/ConvNetD4"),
        ("ConvNetW64BN", "none", "Tiny/ConvNetW64BN"),
        ("ConvNetD2W32", "none", "digits_NO_ZCA/ConvNetD2W32"),
        ("ResNet18", "normalize", "CIFAR100_NO_ZCA/ResNet18"),
    ],
)
def test_folder_is_where_mtt_looks(model: str, kind: str, folder: str) -> None:
    """MTT's names leave out what is its default, and only CIFAR has the suffix there."""
    parsed = networks.parse(model, channels=3, image_size=32, classes=10)
    record = trajfmt.Preprocessing(kind=kind)  # type: ignore[arg-type]
    dataset = SimpleNamespace(name=folder.split("/")[0].removesuffix("_NO_ZCA"),
                              transform=SimpleNamespace(record=record))  # fmt: skip
    assert buffer_folder(Path("b"), dataset, parsed) == Path("b", folder)  # type: ignore[arg-type]


def test_identity_is_of_all_that_an_expert_depends_on(digits: Dataset, model: trajfmt.Model) -> None:
    """And not of the number of experts."""
    rules: dict = {"knots": (1,), "smooth": False}
    one = job_of(digits, model, ExpertConfig(experts=3), **rules).identity
    assert job_of(digits, model, ExpertConfig(experts=4), **rules).identity == one
    assert job_of(digits, model, ExpertConfig(experts=3, seed=1), **rules).identity != one
    assert job_of(digits, model, ExpertConfig(experts=3), **rules | {"knots": (2,)}).identity != one
    assert job_of(digits, model, ExpertConfig(experts=3), **rules, average=3).identity != one
    assert job_of(digits, model, ExpertConfig(experts=3), **rules, average=1).identity == one
    assert job_of(digits, model, ExpertConfig(experts=3, sharpness=0.1), **rules).identity != one


def test_plain_runs_are_those_of_earlier_versions(digits: Dataset, model: trajfmt.Model) -> None:
    """Their identity has not changed, so what an earlier version has begun can be continued."""
    job = job_of(digits, model, ExpertConfig(experts=3), knots=(1,), smooth=False)
    assert "sharpness" not in (job.provenance.recipe or {})
    facts = [
        {"epochs": 50, "lr": 0.01, "lr_decay": False, "augment": "dsa", "momentum": 0.0, "weight_decay": 0.0,
         "batch_size": 256, "steps_per_timestep": None, "seed": 0},
        "ConvNetD2W4", hash_images(digits.train_images), digits.labels_sha256, (1,), False,
    ]  # fmt: skip
    assert job.identity == hashlib.sha256(json.dumps(facts).encode()).hexdigest().encode()
