"""Parity with the code of DC, DSA, DM and CAFE: their scripts beside our losses, on the same draws.

Get the references beside this repository, they are not part of it:

    git clone https://github.com/VICO-UoE/DatasetCondensation
    git clone https://github.com/kaiwang960112/CAFE

    python benchmarks/parity/condense.py [--dc DatasetCondensation] [--cafe CAFE]

Each script's file runs as it is, from its first line to its last, in float64 on a CPU; `condense_child.py`
says what it finds around it. For every update of the images, our loss and its gradient are computed at the
same images with the same network, real images and random numbers. Then the images are updated, and the
network is trained, as we do it, and compared with what the script has at its next update. Errors are relative
to the largest expected value; a line has the largest error of all updates.

With one image per class, the augmentation of the references ends with an error in this version of PyTorch,
which does not copy a tensor to itself. Augmented cases have two.

Takes about two minutes of CPU time. The exit code is 1 if a line fails.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import condense_child
import reference
import torch
from table import Line, relative

from mct.condensation import siamese, students
from mct.condensation.method import Scene
from mct.condensation.real import ClassImages
from mct.condensation.table import TABLE
from mct.data.augment import CROP, CUTOUT, DSA, STRATEGY, Draws
from mct.learned.updates import Sgd
from mct.models import networks
from mct.runtime.clock import Clock
from mct.settings.condensation import LOOPS, Condensation

BATCH, NET_BATCH, SIZE = 5, 8, 32


@dataclass(frozen=True, kw_only=True)
class Case:
    """A script with options, and the same settings of ours."""

    what: str
    method: str
    script: str
    ipc: int
    iterations: int
    options: tuple[str, ...] = ()
    lr_img: float = 0.1
    augment: str = "none"
    loops: tuple[int, int] = (1, 1)
    """Updates of the images for each network, and passes between them, in place of those of their table."""


def dc(method: str, ipc: int, iterations: int, augment: str = "none") -> Case:
    """Return a case of `main.py`, with few updates and passes for each network."""
    options = (f"--method={method.upper()}", f"--dsa_strategy={augment}", "--init=noise")
    return Case(what=f"{method.upper()}, ipc {ipc}", method=method, script="main.py", ipc=ipc,
                iterations=iterations, options=options, augment=augment, loops=(3, 2))  # fmt: skip


DC = (dc("dc", 1, 1), dc("dc", 4, 2), dc("dsa", 2, 2, STRATEGY))
DM = tuple(
    Case(
        what=f"DM, ipc {ipc}, {augment}", method="dm", script="main_DM.py", ipc=ipc, iterations=iterations,
        options=(f"--dsa_strategy={augment}",), lr_img=1.0, augment=augment,
    )
    for ipc, augment, iterations in ((2, STRATEGY, 4), (1, "none", 2))
)  # fmt: skip
CAFE = tuple(
    Case(
        what=f"CAFE, ipc {ipc}, {augment}", method="cafe", script="distill.py", ipc=ipc, iterations=1,
        options=(f"--method={'DC' if augment == 'none' else 'DSA'}", f"--dsa_strategy={augment}",
                 "--lambda_1=9", "--lambda_2=-1"), augment=augment,
    )
    for ipc, augment in ((1, "none"), (2, STRATEGY))
)  # fmt: skip
"""With these bounds, the accuracies end a network after ten updates, and its training after ten passes."""


def run(case: Case, checkout: Path, folder: Path) -> list[dict[str, Any]]:
    """Run a script in a folder, and return what every update of the images saw."""
    script = checkout / case.script
    if not script.is_file():
        sys.exit(f"{checkout}: no {case.script}; expected a checkout with the script of {case.what}")
    arguments = (
        *case.options, "--dataset=CIFAR10", "--model=ConvNetW32", f"--ipc={case.ipc}", "--num_exp=1",
        "--num_eval=0", f"--Iteration={case.iterations - 1}", f"--batch_real={BATCH}",
        f"--batch_train={NET_BATCH}", f"--lr_img={case.lr_img}",
    )  # fmt: skip
    job = {
        "checkout": str(checkout.resolve()),
        "script": str(script.resolve()),
        "folder": str(folder),
        "arguments": arguments,
        "record": str(folder / "seen.pt"),
        "loops": case.loops,
    }
    (folder / "job.json").write_text(json.dumps(job))
    child = Path(__file__).with_name("condense_child.py")
    command = [sys.executable, "-W", "ignore", str(child), str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{case.what} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: list[dict[str, Any]] = torch.load(folder / "seen.pt")
    return found


class Replayed(ClassImages):
    """Real images that come in the order in which the script drew them."""

    def __init__(self, orders: list[list[int]]) -> None:
        pixels, labels = condense_child.images()
        super().__init__(pixels, labels, condense_child.CLASSES)
        self._orders = orders

    def draw(self, label: int, count: int, random: torch.Generator) -> torch.Tensor:  # noqa: ARG002
        """Return the first images of the order of a class."""
        return self.images[self._orders[label][:count]]


def draws_of(seed: int, strategy: str) -> Draws:
    """Return the numbers that their `DiffAugment` draws with a seed, for the first image of a batch."""

    def uniform(step: int) -> torch.Tensor:
        return torch.rand(1, generator=torch.Generator().manual_seed(seed + step), dtype=torch.float64)

    def whole(step: int, low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high, (1,), generator=torch.Generator().manual_seed(seed + step))

    families = strategy.split("_")
    family = families[int(whole(0, 0, len(families)))]
    reach, hole = int(SIZE * CROP + 0.5), int(SIZE * CUTOUT + 0.5)
    match family:
        case "crop":
            values = (whole(1, -reach, reach + 1), whole(2, -reach, reach + 1))
        case "cutout":
            values = (whole(1, 0, SIZE + 1 - hole % 2), whole(2, 0, SIZE + 1 - hole % 2))
        case "color":
            values = (uniform(1), uniform(2), uniform(3))
        case "scale":
            values = (uniform(1), uniform(2))
        case _:
            values = (uniform(1),)
    return Draws(family=family, values=values)


def scene_of(case: Case, seen: dict[str, Any]) -> Scene:
    """Return what an update of ours has."""
    return Scene(
        real=Replayed(seen["orders"]),
        ipc=case.ipc,
        fresh=lambda _random: network_of(seen),
        augment=None if case.augment == "none" else DSA(case.augment, aligned=False),
        settings=Condensation(class_batch=BATCH, net_batch=NET_BATCH),
        clock=Clock(),
    )


def network_of(seen: dict[str, Any]) -> torch.nn.Module:
    """Return the network of the script as ours."""
    model = networks.parse("ConvNetD3W32", channels=3, image_size=SIZE, classes=condense_child.CLASSES)
    network = networks.build(model, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for own, theirs in zip(network.parameters(), seen["network"], strict=True):
            own.copy_(theirs)
    return network.train()


def gradient(case: Case, seen: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return our loss and gradient at an update of the script."""
    seeds = seen["seeds"][::2]
    assert seen["seeds"][1::2] == seeds  # one for the real and the synthetic images of a class
    draws = iter([draws_of(seed, case.augment) for seed in seeds] if case.augment != "none" else [])
    with mock.patch.object(siamese, "draw", mock.Mock(side_effect=draws)):
        method: Any = TABLE[case.method]
        found = method.gradient(scene_of(case, seen), network_of(seen), seen["images"], torch.Generator())
    assert next(draws, None) is None
    return found


def trained(case: Case, seen: dict[str, Any], later: dict[str, Any]) -> float:
    """Return how far our training of the network is from theirs, up to the next update of the images."""
    network, shuffles = network_of(seen), iter(later["shuffles"][::2])  # PyTorch draws two a pass
    orders = mock.Mock(side_effect=lambda *_, **__: torch.tensor(next(shuffles)))
    with mock.patch.object(torch, "randperm", orders):
        training = students.train(scene_of(case, seen), network, later["images"], torch.Generator())
        list(islice(training, later["passes"]))
    pairs = zip(network.parameters(), later["network"], strict=True)
    return max(relative(own, theirs) for own, theirs in pairs)


def check(case: Case, checkout: Path) -> Iterator[Line]:
    """Compare one script with ours."""
    with tempfile.TemporaryDirectory() as folder:
        updates = run(case, checkout, Path(folder))
    losses, slopes, steps, nets = [], [], [], [0.0]
    rule = Sgd(case.lr_img, 0.5)
    memory: Any = rule.start(updates[0]["images"])
    families = set[str]()
    for number, seen in enumerate(updates):
        if case.augment != "none":
            families |= {draws_of(seed, case.augment).family for seed in seen["seeds"]}
        loss, slope = gradient(case, seen)
        losses.append(relative(loss, seen["loss"]))
        slopes.append(relative(slope, seen["gradient"]))
        images, memory = rule(seen["images"], slope, memory, number)
        if number + 1 < len(updates):
            steps.append(relative(images, updates[number + 1]["images"]))
    plain = case.augment == "none"
    for seen, later in pairwise(updates):
        if plain and seen["iteration"] == later["iteration"]:
            nets.append(trained(case, seen, later))
    count = f"{len(updates)} updates"
    if not plain:
        count += f", {len(families)} families"
    yield Line(f"{case.what}, {count}: loss", max(losses), 1e-9)
    yield Line(f"{case.what}, {count}: image gradient", max(slopes), 1e-9)
    if steps:
        yield Line(f"{case.what}, {count}: images after each update", max(steps), 1e-9)
    if plain and len(nets) > 1:
        yield Line(f"{case.what}, {count}: network after its training in between", max(nets), 1e-9)
    if case.method in ("dc", "dsa"):
        counts = [len(list(own)) for _, own in itertools.groupby(updates, lambda seen: seen["iteration"])]
        passes = {
            later["passes"] for seen, later in pairwise(updates) if seen["iteration"] == later["iteration"]
        }
        same = set(counts) == {case.loops[0]} and passes <= {case.loops[1]}
        what = f"{case.loops[0]} updates with a network, {case.loops[1]} passes in between"
        yield Line(f"{case.what}: {what}", float(not same))


def table(checkout: Path) -> Iterator[Line]:
    """Compare our table of updates and passes with theirs."""
    (utilities,) = reference.load(checkout, "utils")
    theirs = {ipc: utilities.get_loops(ipc) for ipc in LOOPS}
    yield Line(
        f"updates and passes for {', '.join(map(str, LOOPS))} images per class", float(theirs != LOOPS)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dc", type=Path, metavar="PATH", help="checkout of DatasetCondensation")
    parser.add_argument("--cafe", type=Path, metavar="PATH", help="checkout of CAFE")
    options = parser.parse_args()
    if not (options.dc or options.cafe):
        parser.error("give at least one of --dc and --cafe")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}")
    counts = {"failed": 0, "passed": 0}
    files = {"dc": ("main.py", "main_DM.py", "utils.py", "networks.py"),
             "cafe": ("distill.py", "utils.py", "networks.py")}  # fmt: skip
    for name, cases in (("dc", DC + DM), ("cafe", CAFE)):
        checkout = getattr(options, name)
        if checkout is None:
            continue
        print(name.upper(), reference.fingerprint(checkout, *files[name]))
        if name == "dc":
            print(*table(checkout), sep="\n")
        for line in itertools.chain(*(check(case, checkout) for case in cases)):
            print(line, flush=True)
            counts["failed" if line.failed else "passed"] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
