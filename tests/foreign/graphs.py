"""Runs as SFGC and GEOM write them: a timestep every 10 epochs, the arguments in `train.log`."""

from __future__ import annotations

from pathlib import Path

import torch

from .family import Expert, Step, Written, save

GCN = ((12, 6), (6,), (6, 3), (3,))
"""Two graph convolutions, `(in, out)` and `(out,)` each (SFGC models/gcn.py:20-21, 72-77)."""


def expert(seed: int, epochs: int = 40, every: int = 10) -> Expert:
    """Return what the loop keeps (SFGC buffer_inductive.py:76-140, GEOM buffer_transduct_cl.py:88-173).

    `for e in range(epochs + 1)`, a step, then `if e % every == 0 and e > 1`: one timestep before training,
    then those of e = 10, 20, …: the first interval holds eleven steps.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters: Step = [torch.randn(shape, generator=generator) for shape in GCN]
    timestamps = [[p.detach().clone() for p in parameters]]
    for e in range(epochs + 1):
        for p in parameters:
            p -= 0.01 * torch.randn(p.shape, generator=generator)
        if e % every == 0 and e > 1:
            timestamps.append([p.detach().clone() for p in parameters])
    return timestamps


def run(folder: Path, arguments: str, experts: int = 5, interval: int = 2, every: int = 10) -> Written:
    """Train, log and save (SFGC buffer_inductive.py:24, 150-158, 286-296)."""
    folder.mkdir(parents=True)
    (folder / "train.log").write_text(
        f"2024-05-01 10:00:00,123 This is the log_dir: {folder}\n"
        f"2024-05-01 10:00:00,124 args = Namespace({arguments})\n"
        "2024-05-01 10:00:09,001 Epochs: 0 : Full graph train set results: loss= 1.9, accuracy= 0.2 \n"
    )
    (folder / "tbx_log").mkdir()
    written = Written(folder, [])
    trajectories: list[Expert] = []
    for it in range(experts):
        trajectories.append(expert(it, every=every))
        if len(trajectories) == interval:
            written.names.append(save(trajectories, folder))
            written.experts += trajectories
            trajectories = []
    return written


ARGUMENTS = (
    "dataset='flickr', device='cuda:0', teacher_epochs=40, teacher_nlayers=2, teacher_hidden=6,"
    " lr_teacher=0.001, wd_teacher=0.0005, mom_teacher=0.0, param_save_interval={every},"
    " traj_save_interval=2, save_log='logs', buffer_model_type='GCN', optim='Adam', decay=0, decay_factor=0.1"
)


def sfgc(root: Path, every: int = 10) -> Written:
    """`{save_log}/Buffer/{dataset}-{time}` (SFGC buffer_inductive.py:286-287)."""
    folder = root / "logs" / "Buffer" / "flickr-20240501-100000-123456"
    return run(folder, ARGUMENTS.format(every=every), every=every)


def geom(root: Path) -> Written:
    """The curriculum in the folder's name (GEOM buffer_transduct_cl.py:325)."""
    folder = root / "logs" / "Buffer" / "ogbn-arxiv-lam-0.8-T-500-scheduler-root"
    logged = ARGUMENTS.format(every=10).replace("flickr", "ogbn-arxiv")
    return run(folder, logged + ", lam=0.8, T=500, scheduler='root'")


def geom_inductive(root: Path) -> Written:
    """SFGC's folder; the log tells the curriculum (GEOM buffer_inductive_cl.py:308-315)."""
    folder = root / "logs" / "Buffer" / "reddit-20240501-100000-123456"
    logged = ARGUMENTS.format(every=10).replace("flickr", "reddit")
    return run(folder, logged + ", lam=0.8, T=500, scheduler='root'")
