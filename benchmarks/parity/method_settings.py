"""Start windows and settings: lines of DATM's and PAD's loop, and their files, against our presets."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from table import Line, Lines

from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig
from mct.settings.defaults import distill_config
from mct.settings.published.preset import Preset
from mct.trajectories.starts import Window

Settings = Mapping[str, Any]

NAMES = {
    "ipc": "ipc",
    "syn_steps": "inner_steps",
    "expert_epochs": "expert_steps",
    "lr_img": "lr_img",
    "lr_lr": "lr_lr",
    "lr_teacher": "lr_init",
    "lr_y": "lr_label",
    "Momentum_y": "label_momentum",
    "threshold": "loss_threshold",
    "Iteration": "outer_steps",
    "min_start_epoch": "min_start",
    "max_start_epoch": "max_start",
    "loss_ratio": "drop",
}
"""Their settings and ours."""

DRAWS = 1000
"""Starts that are drawn from a window of at most 60 timesteps, so that none of its ends is missed."""


def defaults(checkout: Path) -> dict[str, Any]:
    """Return the assignments of `utils/cfg.py`, as literals."""
    found = {}
    for node in ast.parse((checkout / "utils" / "cfg.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            found[node.targets[0].attr] = ast.literal_eval(node.value)
    return found


def window_lines(script: Path) -> tuple[Any, list[int]]:
    """Return what sets the bound and draws the start, compiled, and the numbers of its first and last line.

    These are the statement `if args.Sequential_Generation:` of the loop, and the assignment to `start_epoch`.
    """
    wanted = []
    for node in ast.walk(ast.parse(script.read_text())):
        bound = isinstance(node, ast.If) and ast.unparse(node.test) == "args.Sequential_Generation"
        start = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "start_epoch"
        if bound or start:
            wanted.append(node)
    assert len(wanted) == 2, f"{script}: expected one window of starts"
    lines = [wanted[0].lineno, wanted[1].end_lineno or 0]
    return compile(ast.Module(wanted, []), str(script), "exec"), lines


def their_window(code: Any, settings: Settings, iteration: int) -> tuple[int, int]:
    """Return the arguments with which their lines call `np.random.randint` in an iteration."""
    calls: list[tuple[int, int]] = []
    random = SimpleNamespace(randint=lambda low, high: calls.append((low, high)))
    names = {"args": SimpleNamespace(**settings), "it": iteration, "np": SimpleNamespace(random=random)}
    exec(code, names)
    return calls[0]


def config_of(entry: Preset) -> DistillConfig:
    """Return the settings of a preset."""
    return distill_config(entry.dataset, preset=entry.name, preprocessing=entry.preprocessing)


def check(name: str, checkout: Path, script: str, presets: tuple[Preset, ...]) -> Lines:
    """Compare every iteration up to twice the ramp, and some settings, for the file of each preset."""
    code, (first, last) = window_lines(checkout / script)
    base = defaults(checkout)
    what = f"{name} {script}:{first}-{last}, run alone"
    wrong = drawn = iterations = 0
    for entry in presets:
        settings = base | yaml.safe_load((checkout / entry.source).read_text())
        config = config_of(entry)
        window = Window.of(config, float(config.max_start or 0))
        end = int(settings["expansion_end_epoch"])
        for it in range(2 * end + 1):
            low, high = their_window(code, settings, it)
            ours = math.ceil(window.first), window.bound(it, discrete=True)
            wrong += ours != (low, high)
            iterations += 1
        for it in (0, 1, end // 2, end, 2 * end):
            low, high = their_window(code, settings, it)
            random = generator(it)
            starts = {window.draw(random, it, discrete=True) for _ in range(DRAWS)}
            drawn += (min(starts), max(starts)) != (low, high - 1)
    yield Line(
        f"{what}: randint(low, high) at every it from 0 to 2 e, {len(presets)} presets, {iterations} "
        "iterations; those that differ",
        float(wrong),
    )
    yield Line(
        f"{what}: first and last of our starts at it 0, 1, e/2, e, 2 e; windows that differ", float(drawn)
    )
    yield from table(name, code, base, checkout, presets)
    for entry in presets:
        yield from differing(name, entry, base | yaml.safe_load((checkout / entry.source).read_text()))


def table(name: str, code: Any, base: Settings, checkout: Path, presets: tuple[Preset, ...]) -> Lines:
    """Print the bounds of three presets whose windows grow."""
    for entry in [entry for entry in presets if entry.ramp_from is not None][1:4]:
        settings = base | yaml.safe_load((checkout / entry.source).read_text())
        config, end = config_of(entry), int(settings["expansion_end_epoch"])
        window = Window.of(config, float(config.max_start or 0))
        its = (0, 1, end // 2, end, 2 * end)
        theirs = [their_window(code, settings, it)[1] for it in its]
        ours = [window.bound(it, discrete=True) for it in its]
        error = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
        bounds = ", ".join(map(str, theirs))
        yield Line(f"{name} {entry.source}: U(it) at it {', '.join(map(str, its))} is {bounds}", float(error))


def differing(name: str, entry: Preset, settings: Settings) -> Lines:
    """Compare the settings of one preset with those of its file."""
    config = config_of(entry)
    pairs = [(theirs, settings.get(theirs), getattr(config, ours)) for theirs, ours in NAMES.items()]
    classes = {"CIFAR10": 10, "CIFAR100": 100, "Tiny": 200}[entry.dataset]
    whole = entry.ipc * classes
    pairs.append(("batch_syn", min(settings["batch_syn"] or whole, whole), config.batch_syn or whole))
    wrong = [
        f"{theirs} {one}, ours {two:g}"
        for theirs, one, two in pairs
        if one is not None and two is not None and float(one) != float(two)
    ]
    yield Line(
        f"{name} {entry.source}: {len(pairs)} settings of {entry.name}{': ' if wrong else ''}"
        + "; ".join(wrong),
        float(len(wrong)),
    )
