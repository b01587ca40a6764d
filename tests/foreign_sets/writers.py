"""Writes distilled images as each codebase's own script does: names, dtypes, nesting, what is left out."""

from __future__ import annotations

import pprint
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def images_of(count: int, channels: int = 1, size: int = 8, seed: int = 0) -> Tensor:
    """Return images in the space that networks see: not in [0, 1]."""
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def classes_of(classes: int, ipc: int) -> Tensor:
    """Return `[0..0, 1..1, …]` as every script of the family makes it."""
    rows = np.array([np.ones(ipc) * i for i in range(classes)])
    return torch.tensor(rows, dtype=torch.long, requires_grad=False).view(-1)


def logits_of(count: int, classes: int, seed: int = 1) -> Tensor:
    """Return learned logits: the class stands out, and nothing sums to 1."""
    random = torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))
    return random + 6 * torch.nn.functional.one_hot(classes_of(classes, count // classes), classes)


def mtt(folder: Path, images: Tensor, labels: Tensor, its: tuple[int, ...] = (0, 100, 1000)) -> Path:
    """MTT, FTD, TESLA and ATT: every iteration by number, and the best again; the step size nowhere."""
    folder.mkdir(parents=True)
    for it in its:
        worse = images + (max(its) - it) / 1000
        torch.save(worse.cpu(), folder / f"images_{it}.pt")
        torch.save(labels.cpu(), folder / f"labels_{it}.pt")
    torch.save(images.cpu(), folder / "images_best.pt")
    torch.save(labels.cpu(), folder / "labels_best.pt")
    torch.save(images.cpu() * 0.2 + 0.5, folder / f"images_zca_{max(its)}.pt")
    return folder


def tesla(folder: Path, images: Tensor, logits: Tensor) -> Path:
    """TESLA with `--teacher_label`: probabilities, which still hang on a graph's leaf."""
    return mtt(folder, images, torch.nn.functional.softmax(logits, dim=1).detach().requires_grad_(True))


def ftd(folder: Path, images: Tensor, labels: Tensor) -> Path:
    """FTD's averages, in the folder that they have for themselves."""
    folder.mkdir(parents=True)
    for tag in ("0", "500", "best"):
        torch.save((images * 0.5 if tag == "0" else images).cpu(), folder / f"ema_images_{tag}.pt")
        torch.save(labels.cpu(), folder / f"ema_labels_{tag}.pt")
    torch.save(images.cpu() * 0.2 + 0.5, folder / "images_zca_500.pt")
    return folder


def mct_authors(folder: Path, images: Tensor, labels: Tensor, ipc: int) -> Path:
    """The MCT paper's authors: images per class in the name, one folder for all runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for tag in ("0", "best"):
        torch.save(images.cpu(), folder / f"images_ipc-{ipc}_{tag}.pt")
        torch.save(labels.cpu(), folder / f"labels_ipc-{ipc}_{tag}.pt")
    return folder


def datm(folder: Path, images: Tensor, logits: Tensor, rate: float) -> Path:
    """DATM, PAD, EDF: logits that require a gradient, and the step size without dimensions."""
    place = folder / "Normal"
    place.mkdir(parents=True)
    label_syn, syn_lr = logits.clone().requires_grad_(True), torch.tensor(rate).requires_grad_(True)
    for tag in ("0", "500", "best"):
        torch.save(images.cpu(), place / f"images_{tag}.pt")
        torch.save(label_syn.cpu(), place / f"labels_{tag}.pt")
        torch.save(syn_lr.detach().cpu(), place / f"lr_{tag}.pt")
    return place


def seqmatch(folder: Path, stages: list[tuple[Tensor, Tensor, float]]) -> Path:
    """SeqMatch: a folder a stage."""
    for number, (images, labels, rate) in enumerate(stages):
        place = folder / f"S_{number}"
        place.mkdir(parents=True)
        for tag in ("0", "best"):
            torch.save(images.cpu(), place / f"images_{tag}.pt")
            torch.save(labels.cpu(), place / f"labels_{tag}.pt")
        torch.save(torch.tensor(torch.tensor(rate).item()), place / "best_lr.pt")
    return folder


def mkdt(folder: Path, images: Tensor, labels: Tensor, rate: float, zca: bool = False) -> Path:
    """MKDT: numbered from 1, learned representations as labels, the settings pretty-printed."""
    folder.mkdir(parents=True)
    label_syn, syn_lr = labels.clone().requires_grad_(True), torch.tensor(rate).requires_grad_(True)
    for it in (1, 5000):
        torch.save(images.cpu(), folder / f"images_{it}.pt")
        torch.save(label_syn.cpu(), folder / f"labels_{it}.pt")
        torch.save(syn_lr.cpu(), folder / f"synlr_{it}.pt")
    settings = {
        "dataset": "CIFAR100",
        "device": "cuda",
        "dsa_param": object(),
        "model": "ConvNet",
        "zca": zca,
        "zca_trans": None,
    }
    (folder / "hparams.txt").write_text(pprint.pformat(settings, indent=4))
    return folder


def parts(folder: Path, images: Tensor, labels: Tensor, count: int = 5) -> Path:
    """MTT's site: a large set in five files."""
    folder.mkdir(parents=True)
    for number, (some, own) in enumerate(zip(images.chunk(count), labels.chunk(count), strict=True)):
        torch.save(some.clone(), folder / f"images_best_{number}.pt")
        torch.save(own.clone(), folder / f"labels_best_{number}.pt")
    return folder


def condensation(folder: Path, name: str, runs: list[tuple[Tensor, Tensor]]) -> Path:
    """DC, DSA, DM, CAFE: all experiments in one file, accuracies as NumPy's numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    data_save = [[images.detach().cpu(), labels.detach().cpu()] for images, labels in runs]
    accuracies = [np.sum(np.equal(np.arange(4), np.array([0, 1, 9, 3]))) / 4 for _ in runs]
    path = folder / name
    torch.save({"data": data_save, "accs_all_exps": {"ConvNet": accuracies}}, path)
    return path


def ddranking(folder: Path, images: Tensor, labels: Tensor, rate: float) -> Path:
    """DD-Ranking's triple."""
    folder.mkdir(parents=True)
    torch.save(images, folder / "images.pt")
    torch.save(labels, folder / "labels.pt")
    torch.save(torch.tensor(rate), folder / "lr.pt")
    return folder


def haba(folder: Path, images: Tensor) -> Path:
    """HaBa: images that need styles, as weights of a network."""
    folder.mkdir(parents=True)
    styles = torch.nn.Conv2d(1, 1, 1).state_dict()
    torch.save(images, folder / "images_0.pt")
    torch.save(styles, folder / "styles_0.pt")
    torch.save(images, folder / "images_best.pt")
    torch.save(styles, folder / "weights_best.pt")
    return folder


def buffer(path: Path) -> Path:
    """A replay buffer, under whatever name."""
    torch.save([[[torch.randn(4, 3), torch.randn(4)] for _ in range(3)] for _ in range(2)], path)
    return path
