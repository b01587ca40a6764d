"""The sources that are mutated: small files of each layout, as `torch.save` and safetensors write them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.trust.mutated.bundles import Subject, contents, walks
from benchmarks.trust.mutated.conversions import weights_of

__all__ = ["make_sources"]


def make_sources(folder: Path) -> list[Subject]:
    """Return all sources. `folder` is for writing them first."""
    found = []
    for name, write in _SOURCES.items():
        (folder / name).mkdir(parents=True)
        write(folder / name)
        known = weights_of(folder / name, folder)
        found.append(Subject(name, contents(folder / name), known))
    shutil.rmtree(folder)
    return found


def _states(count: int = 3) -> list[dict[str, Any]]:
    """Return state dicts of a network with batch norm, whose buffers move."""
    shapes = {
        "0.weight": (2, 3),
        "1.weight": (2,),
        "1.bias": (2,),
        "1.running_mean": (2,),
        "4.weight": (1, 2),
    }
    generator = torch.Generator().manual_seed(5)
    states = []
    for number in range(count):
        state: dict[str, Any] = {
            name: torch.randn(shape, generator=generator) for name, shape in shapes.items()
        }
        state["1.num_batches_tracked"] = torch.tensor(10 * number)
        states.append(state)
    return states


def _mtt(folder: Path) -> None:
    torch.save(walks(0), folder / "replay_buffer_0.pt")


def _legacy(folder: Path) -> None:
    torch.save(walks(1), folder / "replay_buffer_0.pt", _use_new_zipfile_serialization=False)


def _tesla(folder: Path) -> None:
    for number in range(2):
        torch.save(walks(number, count=1), folder / f"replay_buffer_{number}.pt")


def _views(folder: Path) -> None:
    """Write tensors that share storages, which are not read in place."""
    steps = torch.cumsum(torch.randn((4, 6), generator=torch.Generator().manual_seed(2)), 0)
    torch.save([[[step[:4].view(2, 2).t(), step[4:]] for step in steps]], folder / "replay_buffer_0.pt")


def _doubles(folder: Path) -> None:
    torch.save(walks(3, torch.float64, 1), folder / "replay_buffer_0.pt")


def _bf16(folder: Path) -> None:
    steps = [[[p.to(torch.bfloat16) for p in step] for step in path] for path in walks(4, count=1)]
    torch.save(steps, folder / "replay_buffer_0.pt")


def _pair(folder: Path) -> None:
    """Write what the authors of MCT write for two knots."""
    paths = walks(5)
    betas = [[[torch.tensor(t / 4) for _ in step] for t, step in enumerate(path)] for path in paths]
    torch.save([[path[0], path[-1]] for path in paths], folder / "waypoint_buffer_0.pt")
    torch.save(betas, folder / "step_buffer_0.pt")


def _waypoints(folder: Path) -> None:
    """Write what they write for three waypoints: betas by segment."""
    paths = walks(8)
    segments = [
        [[[torch.tensor(t / 2) for _ in step] for t, step in enumerate(path[a : a + 3])] for a in (0, 2)]
        for path in paths
    ]
    torch.save([[path[0], path[2], path[4]] for path in paths], folder / "waypoint_buffer_ip3_0.pt")
    torch.save(segments, folder / "step_buffer_ip3_0.pt")


def _dense(folder: Path) -> None:
    torch.save(walks(9), folder / "convexified_replay_buffer_0.pt")


def _resumable(folder: Path) -> None:
    """Write what EDF's script leaves behind: a checkpoint of its list beside a buffer."""
    torch.save(walks(10), folder / "replay_buffer_0.pt")
    torch.save(walks(10, count=2) + walks(11, count=1), folder / "checkpoint.pt")


def _graphs(folder: Path) -> None:
    """Write what SFGC's script leaves behind: its arguments are in a log."""
    folder = folder / "flickr-20240501-100000-123456"
    folder.mkdir()
    (folder / "train.log").write_text(
        "2024-05-01 10:00:00,124 args = Namespace(dataset='flickr', teacher_epochs=40, teacher_nlayers=2,"
        " teacher_hidden=6, lr_teacher=0.001, param_save_interval=10, traj_save_interval=2, optim='Adam')\n"
    )
    torch.save(walks(12), folder / "replay_buffer_0.pt")


def _towers(folder: Path) -> None:
    torch.save(walks(6, count=1), folder / "img_replay_buffer_0.pt")
    torch.save(walks(7, count=1), folder / "txt_replay_buffer_0.pt")


def _plain(folder: Path) -> None:
    for number, state in enumerate(_states()):
        torch.save(state, folder / f"step={number}.pt")


def _nested(folder: Path) -> None:
    for number, state in enumerate(_states()):
        optimizer = {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": state["0.weight"]}},
            "param_groups": [],
        }
        content = {"model": state, "optimizer": optimizer, "epoch": number, "args": {"lr": 0.1, "name": "x"}}
        torch.save(content, folder / f"model_{number}.pth")


def _lightning(folder: Path) -> None:
    for epoch, state in enumerate(_states()):
        content = {
            "epoch": epoch,
            "global_step": 5 * epoch + 5,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": {f"model.{name}": value for name, value in state.items()},
            "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": epoch + 1}}}},
            "optimizer_states": [],
            "hyper_parameters": {"lr": 0.01, "depth": None},
        }
        torch.save(content, folder / f"epoch={epoch}-step={5 * epoch + 5}.ckpt")


def _tensors(folder: Path) -> None:
    for number, state in enumerate(_states()):
        save_file(state, folder / f"ckpt_{number:05d}.safetensors", metadata={"format": "pt"})


def _sharded(folder: Path) -> None:
    for number, state in enumerate(_states()):
        _shards(folder / f"checkpoint-{number}", "model", "safetensors", state)


def _pickled_shards(folder: Path) -> None:
    for number, state in enumerate(_states()):
        _shards(folder / f"checkpoint-{number}", "pytorch_model", "bin", state)


def _shards(folder: Path, stem: str, ending: str, state: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "net", "torch_dtype": "float32"}))
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 1}))
    names, places = list(state), {}
    for number, part in enumerate((names[:3], names[3:]), 1):
        file = f"{stem}-{number:05d}-of-00002.{ending}"
        held = {name: state[name] for name in part}
        if ending == "bin":
            torch.save(held, folder / file)
        else:
            save_file(held, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    total = sum(value.numel() * value.element_size() for value in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index))


_SOURCES: dict[str, Callable[[Path], None]] = {
    "mtt": _mtt,
    "mtt-legacy": _legacy,
    "mtt-views": _views,
    "mtt-f64": _doubles,
    "mtt-bf16": _bf16,
    "tesla": _tesla,
    "mct-authors": _pair,
    "mct-authors-waypoints": _waypoints,
    "mct-authors-dense": _dense,
    "edf": _resumable,
    "sfgc": _graphs,
    "towers": _towers,
    "plain": _plain,
    "nested": _nested,
    "lightning": _lightning,
    "safetensors": _tensors,
    "sharded": _sharded,
    "pickled-shards": _pickled_shards,
}
