"""Checkpoint folders as training scripts leave them: what is in a file, its name, and what lies beside it.

Each function follows one writer: a plain `torch.save`, torchvision's reference script (whose names NoDistill
has), Lightning, and Hugging Face's trainer with whole, sharded or pickled weights. The weights are those of a
network with batch norm that is really trained, so that its buffers move.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

State = dict[str, Tensor]

INDEX = "model.safetensors.index.json"


def network() -> nn.Module:
    """Return a small network with batch norm: 6 parameters, 3 buffers, 95 elements."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def training(count: int, seed: int = 0) -> tuple[list[State], list[dict[str, Any]]]:
    """Return `count` states of a network in training, and of its optimizer."""
    torch.manual_seed(seed)
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    states, optimizers = [], []
    for _ in range(count):
        loss = nn.functional.cross_entropy(net(torch.randn(8, 1, 4, 4)), torch.randint(3, (8,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        optimizers.append(json_free(optimizer.state_dict()))
    return states, optimizers


def json_free(value: Any) -> Any:
    """Return a copy of nested dictionaries and lists with tensors of their own."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: json_free(item) for key, item in value.items()}
    return [json_free(item) for item in value] if isinstance(value, list) else value


def plain(
    folder: Path, states: Mapping[int, State], name: str = "step={}.pt", key: str | None = None
) -> Path:
    """Save state dicts with `torch.save`, at the top of the file or under a key."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, state in states.items():
        torch.save({key: state} if key else state, folder / name.format(number))
    return folder


def torchvision(folder: Path, states: Sequence[State], optimizers: Sequence[Any]) -> Path:
    """Save `model_{epoch}.pth` and `checkpoint.pth` as torchvision's reference script does."""
    folder.mkdir(parents=True)
    for epoch, (state, optimizer) in enumerate(zip(states, optimizers, strict=True)):
        scheduler = {"step_size": 30, "gamma": 0.1, "last_epoch": epoch, "_last_lr": [0.1]}
        content = {"model": state, "optimizer": optimizer, "lr_scheduler": scheduler, "epoch": epoch}
        torch.save(content, folder / f"model_{epoch}.pth")
        torch.save(content, folder / "checkpoint.pth")
    return folder


def lightning(
    folder: Path, states: Iterable[State], optimizers: Iterable[Any], *, hyper_parameters: Any = None
) -> Path:
    """Save `epoch={e}-step={s}.ckpt` and `last.ckpt` as Lightning's ModelCheckpoint does."""
    folder.mkdir(parents=True)
    for epoch, (state, optimizer) in enumerate(zip(states, optimizers, strict=True)):
        step = (epoch + 1) * 500
        content = {
            "epoch": epoch,
            "global_step": step,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": {f"model.{name}": value for name, value in state.items()},
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": epoch + 1}}}},
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [optimizer],
            "lr_schedulers": [],
            "hparams_name": "kwargs",
            "hyper_parameters": hyper_parameters
            if hyper_parameters is not None
            else {"lr": 0.01, "depth": None},
        }
        torch.save(content, folder / f"epoch={epoch}-step={step}.ckpt")
        torch.save(content, folder / "last.ckpt")
    return folder


def tensors(folder: Path, states: Mapping[int, State], name: str = "ckpt_{:05d}.safetensors") -> Path:
    """Save safetensors files with the library, which sorts tensors by dtype and name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, state in states.items():
        save_file(state, folder / name.format(number), metadata={"format": "pt"})
    return folder


def huggingface(folder: Path, states: Mapping[int, State], *, shards: int = 1, pickled: bool = False) -> Path:
    """Save `checkpoint-{step}` folders as transformers' Trainer does, with what it puts beside them."""
    for number, state in states.items():
        inner = folder / f"checkpoint-{number}"
        inner.mkdir(parents=True)
        kind = "float32" if all(x.dtype != torch.bfloat16 for x in state.values()) else "bfloat16"
        config = {"_name_or_path": "tiny/net", "model_type": "net", "torch_dtype": kind, "layers": 2}
        (inner / "config.json").write_text(json.dumps(config, indent=2))
        (inner / "trainer_state.json").write_text(json.dumps({"global_step": number}))
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
            torch.save({"state": {}}, inner / name)
        _weights(inner, state, shards, pickled)
    return folder


def _weights(folder: Path, state: State, shards: int, pickled: bool) -> None:
    stem, ending = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    if shards == 1:
        _save(state, folder / f"{stem}.{ending}", pickled)
        return
    names = list(state)
    size = -(-len(names) // shards)
    places = {}
    for number in range(shards):
        part = names[number * size : (number + 1) * size]
        file = f"{stem}-{number + 1:05d}-of-{shards:05d}.{ending}"
        _save({name: state[name] for name in part}, folder / file, pickled)
        places |= dict.fromkeys(part, file)
    total = sum(value.numel() * value.element_size() for value in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _save(state: State, path: Path, pickled: bool) -> None:
    if pickled:
        torch.save(state, path)
    else:
        save_file(state, path, metadata={"format": "pt"})
