"""Folders as MTT's family writes them, restated from what each writer does: kinds, numbers, names, bugs.

Every function writes what one run of one script leaves behind, and returns the folder and the trajectories
that are in it, in the order of its files. Networks are small; a real script's are no different in kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

Step = list[torch.Tensor]
Expert = list[Step]

CONVNET = ((8, 3, 3, 3), (8,), (8,), (8,), (10, 8 * 16 * 16), (10,))
"""MTT's ConvNet of depth 1 and width 8, for 32 x 32 images; of whatever norm has a weight per channel."""

CONVNET3D = ((4, 3, 3, 7, 7), (4,), (4,), (4,), (5, 16), (5,))
"""A network for video; five dimensions are nobody else's."""

EPOCHS = 3


@dataclass
class Written:
    """What a script left behind."""

    folder: Path
    experts: list[Expert]
    """In the order of the files, without what the script lost."""

    names: list[str] = field(default_factory=list)
    """Of the files, in order."""


def expert(seed: int, shapes: Sequence[tuple[int, ...]] = CONVNET, frozen: int = 0) -> Expert:
    """Return `EPOCHS + 1` timesteps, as `[p.detach().cpu() for p in net.parameters()]` gives on a GPU.

    The first `frozen` tensors do not train. Every timestep is a copy: only a CPU run aliases them.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = [torch.randn(shape, generator=generator) for shape in shapes]
    timestamps = [[p.detach().clone() for p in parameters]]
    for _ in range(EPOCHS):
        for p in parameters[frozen:]:
            p -= 0.1 * torch.randn(p.shape, generator=generator)
        timestamps.append([p.detach().clone() for p in parameters])
    return timestamps


def save(trajectories: list[Expert], folder: Path) -> str:
    """Save under the first free number (mtt-distillation buffer.py:101-107)."""
    n = 0
    while (folder / f"replay_buffer_{n}.pt").exists():
        n += 1
    torch.save(trajectories, folder / f"replay_buffer_{n}.pt")
    return f"replay_buffer_{n}.pt"


def run(
    folder: Path,
    experts: int = 5,
    interval: int = 2,
    *,
    seed: int = 0,
    shapes: Sequence[tuple[int, ...]] = CONVNET,
    frozen: int = 0,
) -> Written:
    """Train and save as MTT's loop does (buffer.py:59-107): what does not fill a file is lost.

    The same loop: tesla buffer.py:47-95, FTD-distillation buffer/buffer_FTD.py:74-124, DATM
    buffer/buffer_FTD.py:70-119, ATT buffer_ATT.py:60-107, DatasetFactorization buffer.py:60-107, SelMatch
    buffer.py:48-84, FYI MTT/buffer.py:60-107, glad buffer_mtt.py:170-222, video_distillation
    buffer.py:66-104, no-distillation train_expert/buffer.py:80-140.
    """
    folder.mkdir(parents=True)
    trajectories: list[Expert] = []
    written = Written(folder, [])
    for it in range(experts):
        trajectories.append(expert(seed + it, shapes, frozen))
        if len(trajectories) == interval:
            written.names.append(save(trajectories, folder))
            written.experts += trajectories
            trajectories = []
    return written


def mtt(root: Path) -> Written:
    """`{dataset}[_NO_ZCA]/{model}` (mtt-distillation buffer.py:24-31); the fifth expert is lost."""
    return run(root / "CIFAR10_NO_ZCA" / "ConvNet")


def mtt_imagenet(root: Path) -> Written:
    """`ImageNet/{subset}/{res}/{model}` (mtt-distillation buffer.py:25-26)."""
    return run(root / "ImageNet" / "imagenette" / "128" / "ConvNetD5")


def tesla(root: Path) -> Written:
    """One trajectory a file (tesla buffer.py:117, `--save_interval` 1), directory of :28-33."""
    return run(root / "CIFAR100" / "ConvNet", 3, 1)


def tesla_imagenet(root: Path) -> Written:
    """ImageNet-1K without subset and resolution (tesla buffer.py:29-30)."""
    return run(root / "ImageNet" / "ConvNetD4", 2, 1)


def ftd(root: Path) -> Written:
    """MTT's directory (FTD-distillation buffer/buffer_FTD.py:26-31); rho and alpha are in no name."""
    return run(root / "CIFAR100" / "ConvNet")


def datm(root: Path) -> Written:
    """FTD's writer (DATM buffer/buffer_FTD.py:26-31, 115-119)."""
    return run(root / "Tiny" / "ConvNetD4")


def pad(root: Path) -> Written:
    """A file a process, numbered by it and overwritten (PAD buffer/buffer_CL.py:94-100).

    With `--save_interval` 2 each process saves twice under one name: the first two are lost. Two of the
    processes began in one millisecond, so that they drew one seed (utils' `get_network`) and are equal.
    """
    folder = root / "CIFAR10" / "ConvNet"
    folder.mkdir(parents=True)
    written = Written(folder, [])
    for pid, seed in enumerate((0, 10, 10)):
        trajectories: list[Expert] = []
        for it in range(4):
            trajectories.append(expert(seed + it))
            if len(trajectories) == 2:
                torch.save(trajectories, folder / f"replay_buffer_{pid}.pt")
                last, trajectories = trajectories, []
        written.names.append(f"replay_buffer_{pid}.pt")
        if pid < 2:
            written.experts += last
    return written


def edf(root: Path, killed: bool = True) -> Written:
    """`checkpoint.pt` after every expert, never removed (EDF buffer/buffer_with_ckpt.py:26-29, 70-80).

    Killed after it had saved a buffer, the script begins again with the two experts of `checkpoint.pt`: its
    list is longer than the interval from then on, and nothing is ever saved but the checkpoint.
    """
    folder, interval = root / "CIFAR10" / "ConvNet", 2
    folder.mkdir(parents=True)
    written = Written(folder, [], ["replay_buffer_0.pt", "checkpoint.pt"])
    seed = 0
    for _ in range(2 if killed else 1):
        checkpoint = folder / "checkpoint.pt"
        trajectories: list[Expert] = torch.load(checkpoint) if checkpoint.exists() else []
        for _ in range(2 if not written.experts else 3):
            trajectories.append(expert(seed))
            written.experts.append(trajectories[-1])
            seed += 1
            torch.save(trajectories, checkpoint)
            if len(trajectories) == interval:
                save(trajectories, folder)
                trajectories = []
    return written


def att(root: Path) -> Written:
    """MTT's directory (ATT buffer_ATT.py:24-29)."""
    return run(root / "CIFAR10" / "ConvNet")


def haba(root: Path) -> Written:
    """MTT's directory (DatasetFactorization buffer.py:24-29)."""
    return run(root / "CIFAR10_NO_ZCA" / "ConvNet")


def selmatch(root: Path) -> Written:
    """`{dataset}/{model}` whatever was done to the images (SelMatch buffer.py:23)."""
    return run(root / "CIFAR100" / "ConvNetBN")


def fyi(root: Path) -> Written:
    """ImageNet subsets without resolution (FYI MTT/buffer.py:24-29)."""
    return run(root / "ImageNet" / "imagewoof" / "ConvNet")


def seqmatch(root: Path) -> Written:
    """Beside the subset it continues from (seqmatch seqmatch-mtt/buffer.py:80-86, 137-143)."""
    return run(root / "logged_files" / "CIFAR10" / "run7" / "S_1" / "buffer_NO_ZCA" / "ConvNet")


def seqmatch_imagenet(root: Path) -> Written:
    """The subset of ImageNet comes between, and no suffix (seqmatch seqmatch-mtt/buffer.py:82-85)."""
    return run(root / "logged_files" / "ImageNet" / "run7" / "S_0" / "buffer" / "imagenette" / "ConvNet")


def glad(root: Path) -> Written:
    """Depth, width and norm as folders, `_ZCA` where it was done (glad buffer_mtt.py:122-135)."""
    return run(root / "CIFAR10_ZCA" / "ConvNet" / "depth-1" / "width-8" / "batchnorm")


def glad_tanh(root: Path) -> Written:
    """Images in [-1, 1] are below `tanh`; subsets of ImageNet are data sets (glad buffer_mtt.py:123-129)."""
    return run(root / "tanh" / "imagenet-b" / "ConvNet" / "depth-1" / "width-8" / "instancenorm")


def mkdt(root: Path) -> Written:
    """One trajectory a file, `{dataset}[_NO_ZCA]_{run}` (mkdt-data-distill-ssl src/mkdt/buffer.py:27-35)."""
    return run(root / "cifar100_NO_ZCA_run-3" / "ConvNet", 3, 1)


def nodistill(root: Path) -> Written:
    """Numbers from 1 on, as its reader wants them (no-distillation softlabel/nodistill.py:202)."""
    written = run(root / "Tiny" / "imagenette" / "ConvNetD4")
    files = sorted(written.folder.iterdir(), reverse=True)
    for file in files:
        n = int(file.stem.rpartition("_")[2])
        file.rename(file.with_name(f"replay_buffer_{n + 1}.pt"))
    written.names = [f"replay_buffer_{n + 1}.pt" for n in range(len(files))]
    return written


def ltdd(root: Path) -> Written:
    """In any folder (LTDD buffer/buffer_FTD.py:140); the second stage trains the classifier (:214-222)."""
    return run(root / "second_stage", frozen=4)


def ltdd_first(root: Path) -> Written:
    """The first stage leaves state dicts beside its buffers (LTDD buffer/buffer_FTD.py:264-272)."""
    written = run(root / "first_stage")
    (written.folder / "ckpt").mkdir()
    for it in range(5):
        torch.save({"classifier.bias": expert(it)[-1][-1]}, written.folder / "ckpt" / f"ckpt_{it}.pt")
    return written


def videodd(root: Path) -> Written:
    """Directly in `--buffer_path` (video_distillation buffer.py:55-57)."""
    return run(root / "logs", shapes=CONVNET3D)
