"""Folders of steps: where the weights lie in them, and what lies beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import CASES, STEPS, assert_same, opened, refused  # noqa: E402
from trajfmt.sources.discovery import open_source  # noqa: E402


def test_config_tells_the_recipe(tmp_path: Path, trained: Any) -> None:
    """What config.json says of the network is kept, as said by a file."""
    provenance = open_source(CASES["hf"].write(tmp_path / "hf", *trained)).provenance
    assert provenance.recipe == {"_name_or_path": "tiny/net", "model_type": "net", "torch_dtype": "float32"}
    assert provenance.known_from == {"recipe": "file", "timestep": "layout"}


@pytest.mark.parametrize(
    ("changed", "config", "said"),
    [
        (
            "b/checkpoint-3",
            {"model_type": "other"},
            "`model_type` {}: net (a/checkpoint-1), other (b/checkpoint-3)",
        ),
        (
            "a/checkpoint-2",
            {"model_type": "other"},
            "`model_type` {}: net (a/checkpoint-1), other (a/checkpoint-2)",
        ),
        ("a/checkpoint-1", {}, "`model_type` {}: unknown (a/checkpoint-1), net (a/checkpoint-2)"),
    ],
    ids=["run", "step", "missing"],
)
def test_a_config_that_differs_is_not_recorded_for_all(
    tmp_path: Path, trained: Any, changed: str, config: dict[str, str], said: str
) -> None:
    """One recipe holds for all runs and steps, so facts that differ between them are left out and named."""
    for steps, run in (((1, 2), "a"), ((3, 4), "b")):
        foreign.huggingface(tmp_path / run, {step: trained[0][step - 1] for step in steps})
    for path in tmp_path.glob("*/checkpoint-*"):
        mine = config if path == tmp_path / changed else {"model_type": "net"}
        (path / "config.json").write_text(json.dumps({"torch_dtype": "float32", **mine}))
    collection = open_source(tmp_path)
    assert collection.provenance.recipe == {"torch_dtype": "float32"}
    wanted = said.format("in config.json is not the same in all checkpoints, so it is not recorded")
    assert wanted in collection.notices


def test_the_final_weights_of_a_trainer_are_no_checkpoint(tmp_path: Path, trained: Any) -> None:
    """model.safetensors in the run's own folder neither hides its checkpoints nor is one."""
    folder = CASES["hf"].write(tmp_path / "runs/a", *trained)
    (folder / "model.safetensors").write_bytes((folder / "checkpoint-10000/model.safetensors").read_bytes())
    for path in (folder, folder.parent):
        _, (trajectory,) = opened(path)
        assert trajectory.numbers == STEPS


def test_a_checkpoint_folder_without_weights_is_named(tmp_path: Path, trained: Any) -> None:
    """One whose index is gone is left out, and said to be."""
    folder = foreign.huggingface(tmp_path / "run", dict(enumerate(trained[0], 1)), shards=3)
    (folder / "checkpoint-2" / foreign.INDEX).unlink()
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == (1, 3, 4)
    assert any(
        text.startswith("left out: checkpoint-2: weights that are split") for text in collection.notices
    )


def _save(folder: Path, states: list[foreign.State], place: str) -> Path:
    """Save states at a path with the step in it, whose ending says how."""
    for step, state in enumerate(states, 1):
        path = folder / place.format(step)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({"model": state}, path)
    return folder


@pytest.mark.parametrize(
    "place",
    [
        "checkpoints/0{}0000/pretrained_model/model.safetensors",
        "checkpoint-{}00/unet/diffusion_pytorch_model.safetensors",
        "checkpoint-{}00/adapter_model.safetensors",
        "checkpoint_{}/pytorch_model.bin",
        "iter_0000{}00/mp_rank_00/model_optim_rng.pt",
        "global_step{}00/mp_rank_00_model_states.pt",
        "step_{}/consolidated.00.pth",
        "epoch_{}/weights.pt",
        "ckpt-{}/net.safetensors",
    ],
)
def test_folders_of_steps_are_converted(tmp_path: Path, trained: Any, place: str) -> None:
    """The weights may lie in a folder inside that of the step, and the step is in its name."""
    folder = _save(tmp_path / "run", trained[0], place)
    _, (trajectory,) = opened(folder)
    assert trajectory.timesteps == 4
    assert [int(str(number).rstrip("0")) for number in trajectory.numbers or ()] == [1, 2, 3, 4]


def test_folders_of_plain_numbers_are_said_to_be_steps(tmp_path: Path, trained: Any) -> None:
    """They might be seeds, whose order means nothing."""
    folder = _save(tmp_path / "run", trained[0], "{}/model.safetensors")
    said = "the numbers in the names, such as 1, are taken for the steps of one run"
    assert said in open_source(folder).notices


def test_seeds_with_one_file_each_are_no_run(tmp_path: Path, trained: Any) -> None:
    """Files of other names in folders of plain numbers are put in their order only if the user says so."""
    folder = _save(tmp_path / "run", trained[0], "{}/final.pt")
    assert "--select '{step}/final.pt'" in refused(folder, "too_few_timesteps")
    assert "--select '{step}/final.pt'" in refused(folder, "nothing_to_convert", select="final.pt")
    assert opened(folder, select="{step}/final.pt")[1][0].numbers == (1, 2, 3, 4)


def test_an_adapter_alone_is_said_to_be_one(tmp_path: Path, trained: Any) -> None:
    """Its weights are a trajectory, and not that of the network."""
    folder = _save(tmp_path / "run", trained[0], "checkpoint-{}00/adapter_model.safetensors")
    assert any("an adapter alone" in text for text in open_source(folder).notices)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("checkpoint_{}/model.safetensors", "checkpoint_{}/model_1.safetensors"),
        (
            "checkpoint-{}/unet/diffusion_pytorch_model.safetensors",
            "checkpoint-{}/unet_ema/diffusion_pytorch_model.safetensors",
        ),
        ("checkpoint-{}/unet/model.safetensors", "checkpoint-{}/text_encoder_2/model.safetensors"),
        ("checkpoint-{}/model.safetensors", "checkpoint-{}/adapter_model.safetensors"),
        ("checkpoint-{}/model.safetensors", "checkpoint-{}/model.fp16.safetensors"),
    ],
)
def test_two_models_in_the_folder_of_a_step_are_a_question(
    tmp_path: Path, trained: Any, one: str, other: str
) -> None:
    """Both are named, and `--select` chooses either of them."""
    later = foreign.training(4, seed=3)[0]
    folder = _save(_save(tmp_path / "run", trained[0], one), later, other)
    line = refused(folder, "nothing_to_convert")
    assert "2 sets of weights" in line
    for place in (one, other):
        assert place.partition("/")[2] in line
    for place, states in ((one, trained[0]), (other, later)):
        collection, (trajectory,) = opened(folder, select=f"*/{place.partition('/')[2]}")
        assert_same(collection, trajectory, states)
        assert trajectory.numbers == (1, 2, 3, 4)


@pytest.mark.parametrize("inner", ["ema", "2_Dense"])
def test_weights_inside_and_beside_are_a_question(tmp_path: Path, trained: Any, inner: str) -> None:
    """The pattern in the line chooses those beside, and not those inside."""
    folder = _save(tmp_path / "run", trained[0], "checkpoint-{}/model.safetensors")
    _save(folder, foreign.training(4, seed=3)[0], f"checkpoint-{{}}/{inner}/model.safetensors")
    line = refused(folder, "nothing_to_convert")
    assert f"{inner}/model.safetensors" in line
    collection, (trajectory,) = opened(folder, select=line.partition("--select '")[2].partition("'")[0])
    assert_same(collection, trajectory, trained[0])


def test_the_ranks_of_deepspeed_inside_are_no_further_weights(tmp_path: Path, trained: Any) -> None:
    """A trainer saves both, and the ranks hold the same weights."""
    folder = _save(tmp_path / "run", trained[0], "checkpoint-{}/model.safetensors")
    for step in range(1, 5):
        inner = folder / f"checkpoint-{step}" / f"global_step{step}"
        inner.mkdir()
        torch.save({"module": trained[0][0]}, inner / "mp_rank_00_model_states.pt")
    collection, (trajectory,) = opened(folder)
    assert_same(collection, trajectory, trained[0])


def test_the_same_weights_in_two_formats_are_named(tmp_path: Path, trained: Any) -> None:
    """The safetensors file is read, as the libraries do, and the other one is said not to be."""
    folder = _save(tmp_path / "run", trained[0], "checkpoint-{}/model.safetensors")
    _save(folder, trained[0], "checkpoint-{}/pytorch_model.bin")
    assert "left out: pytorch_model.bin: model.safetensors beside it is used" in open_source(folder).notices


def test_a_whole_file_beside_an_index_is_a_question(tmp_path: Path, trained: Any) -> None:
    """One of them is a leftover, and which one is not known."""
    folder = foreign.huggingface(tmp_path / "run", dict(enumerate(trained[0], 1)), shards=2)
    _save(folder, trained[0], "checkpoint-{}/model.safetensors")
    line = refused(folder, "nothing_to_convert")
    assert "model.safetensors, model.safetensors.index.json" in line
    _, (trajectory,) = opened(folder, select="*/model.safetensors.index.json")
    assert trajectory.numbers == (1, 2, 3, 4)


@pytest.mark.parametrize("name", ["tmp-checkpoint-9", "checkpoint-9.tmp", "checkpoint-9.incomplete"])
def test_an_unfinished_folder_is_left_out(tmp_path: Path, trained: Any, name: str) -> None:
    """Its name tells; it is said, and no timestep."""
    folder = _save(tmp_path / "run", trained[0], "checkpoint-{}/model.safetensors")
    (folder / name).mkdir()
    save_file(trained[0][0], folder / name / "model.safetensors")
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == (1, 2, 3, 4)
    assert any(text.startswith(f"left out: {name}: unfinished") for text in collection.notices)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["mp_rank_00/model_optim_rng.pt", "mp_rank_01/model_optim_rng.pt"], "Megatron"),
        (["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"], "DeepSpeed"),
        (["zero_pp_rank_0_mp_rank_00_model_states.pt"], "DeepSpeed"),
        (["pytorch_model_fsdp_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata"], "DCP"),
    ],
)
def test_weights_that_are_split_over_ranks_are_named(tmp_path: Path, files: list[str], what: str) -> None:
    """The line says which program has written them, and what merges them."""
    for file in files:
        for step in range(2):
            path = tmp_path / "run" / f"iter_{step}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    line = refused(tmp_path / "run", "nothing_to_convert")
    assert what in line
    assert "merge" in line


@pytest.mark.parametrize(
    ("whole", "rest"),
    [
        ("epoch_{}/model.pt", "epoch_{}/ema.pt"),
        ("step_{}/model.safetensors", "step_{}/model_1.safetensors"),
        ("checkpoint-{}/model.safetensors", "checkpoint-{}/adapter_model.safetensors"),
        ("checkpoint-{}/unet/model.safetensors", "checkpoint-{}/unet_ema/model.safetensors"),
    ],
)
def test_a_step_with_another_set_of_weights_is_no_step(
    tmp_path: Path, trained: Any, whole: str, rest: str
) -> None:
    """A writer that was interrupted may have left only the average of a step."""
    folder = _save(tmp_path / "run", trained[0][:3], whole)
    last = folder / rest.format(4)
    last.parent.mkdir(parents=True)
    if last.suffix == ".pt":
        torch.save(trained[0][3], last)
    else:
        save_file(trained[0][3], last)
    assert "other weights, or an unfinished checkpoint" in refused(folder, "mixed_architectures")


def test_a_run_of_files_beside_folders_is_named(tmp_path: Path, trained: Any) -> None:
    """The other run is converted by itself, and what lies beside the steps is named, too."""
    folder = _save(tmp_path / "runs/b", trained[0], "checkpoint-{}/model.safetensors")
    save_file(trained[0][3], folder / "model.safetensors")
    foreign.plain(tmp_path / "runs/a", dict(enumerate(trained[0])))
    notices = open_source(tmp_path / "runs").notices
    assert [text for text in notices if text.startswith("left out: a: a run of checkpoints")]
    assert [
        text for text in notices if text.startswith("left out: model.safetensors: no checkpoint of this run")
    ]


@pytest.mark.parametrize("name", ["seed_{}", "run{}", "fold_{}", "gpt2-{}"])
def test_the_last_weights_of_several_runs_are_no_run(tmp_path: Path, trained: Any, name: str) -> None:
    """Folders whose names do not say that they are steps are not put in an order."""
    folder = _save(tmp_path / "runs", trained[0], name + "/model.safetensors")
    refused(folder, "too_few_timesteps")


@pytest.mark.parametrize(
    "place",
    [
        "checkpoint-1/ema/weights.pt",
        "checkpoint-1/a/b/model.safetensors",
        "checkpoint-1/ema.pth.tar",
        "checkpoint-1/custom_checkpoint_0.pkl",
        "checkpoint-1/model_ema",
        "merged/model.safetensors",
        "swa/w.pt",
    ],
)
def test_whatever_is_as_large_as_the_weights_is_named(tmp_path: Path, trained: Any, place: str) -> None:
    """Wherever it lies beside or inside the folders of steps, and whatever its name."""
    folder = _save(tmp_path / "run", trained[0], "checkpoint-{}/model.safetensors")
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((folder / "checkpoint-1/model.safetensors").read_bytes())
    notices = open_source(folder).notices
    assert [text for text in notices if text.startswith("left out: ") and path.name in text]


def test_small_and_deep_weights_beside_those_of_a_step_are_named(tmp_path: Path, trained: Any) -> None:
    """The ending tells, whatever the size and the level; the state of training is not among them."""
    folder = foreign.huggingface(tmp_path / "run", dict(enumerate(trained[0], 1)))
    for name in (
        "value_head.safetensors",
        "model_head.pkl",
        "mm_projector.bin",
        "a/b/c/d/heads.pt",
        "z.pth",
        *("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin", "dl_state_dict.bin"),
    ):
        (folder / "checkpoint-2" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint-2" / name).write_bytes(b"small")
    told = [text for text in open_source(folder).notices if text.startswith("left out")]
    assert told == [
        "left out: mm_projector.bin, model_head.pkl, value_head.safetensors, z.pth and 1 more:"
        " model.safetensors beside it is used"
    ]


def test_steps_inside_the_folders_of_steps_are_chosen_as_the_message_says(
    tmp_path: Path, trained: Any
) -> None:
    """DeepSpeed writes the number once more below those of a trainer."""
    for step, state in enumerate(trained[0], 1):
        path = tmp_path / f"run/checkpoint-{step}/global_step{step}/mp_rank_00_model_states.pt"
        path.parent.mkdir(parents=True)
        torch.save({"module": state}, path)
    select = "checkpoint-{step}/{any}/mp_rank_00_model_states.pt"
    assert f"the same weights of another step, say so: --select '{select}'" in refused(
        tmp_path / "run", "mixed_architectures"
    )
    collection, (trajectory,) = opened(tmp_path / "run", select=select)
    assert trajectory.numbers == (1, 2, 3, 4)
    assert_same(collection, trajectory, trained[0])
