"""The jobs behind one number of a table: images, experts, bundle, distillation and test.

Distillations of equal seeds begin with the same images and draw the same random numbers, whatever the method,
so that they are compared in pairs. Every job states its settings in full, not by the name of a preset: if a
later version changes the preset, its jobs are other jobs.
"""

from dataclasses import asdict
from typing import Any, Final, get_args

from mct.reproduce.job import Job
from mct.reproduce.scale import DataSize, Scale
from mct.settings import groups, presets
from mct.settings.config import DropBy

MATCHING: Final = ("MTT", "MCT", "PP")
"""Methods that match trajectories, by their names in the paper."""

CONDENSATION: Final = ("DC", "DSA", "CAFE", "DM")
"""Methods without trajectories."""

PP_DROP: Final = "dissimilar"
"""The rule by which PP leaves parameters out."""

_UNWHITENED: Final = "normalize"
"""Preprocessing of the methods without trajectories, whose code whitens no images."""

_CURVE: Final = 2
"""Evaluations during a run of such a method, whose result is the images of its last step."""

_TEST_SEEDS: Final = 1000
"""The seed of a test is that of the run plus this."""


def lacking(size: DataSize, method: str, ipc: int) -> str | None:
    """Return why there is no number for a method; None if there is."""
    if method == "PP" and PP_DROP not in get_args(DropBy):
        return f"this version has no --drop-by {PP_DROP}"
    if method in CONDENSATION and method.lower() not in presets.METHODS:
        return f"this version has no --method {method.lower()}"
    if method not in CONDENSATION or size.condensation.get(method):
        return None
    if presets.presets_for(size.dataset, ipc, method=method.lower()):  # type: ignore[arg-type]
        return None
    return f"no settings are published for {size.paper} with ipc {ipc}"


def images(size: DataSize) -> tuple[Job, ...]:
    """Return the job that writes a smaller data set, if the scale has one."""
    if size.first is None:
        return ()
    settings = {"dataset": size.dataset, "first": size.first}
    return (Job(name=f"{size.name}-images", kind="images", settings=settings),)


def experts(size: DataSize) -> Job:
    """Return the job that trains the experts, which all methods share."""
    settings = {**_facts(size), **size.experts}
    return Job(name=f"{size.name}-experts", kind="experts", settings=settings, needs=images(size))


def convexified(size: DataSize) -> Job:
    """Return the job that convexifies the experts' trajectories."""
    words = "-".join(map(str, size.knots)) or "none"
    return Job(
        name=f"{size.name}-knots-{words}",
        kind="convert",
        settings={"knots": list(size.knots)},
        needs=(experts(size),),
    )


def distilled(
    scale: Scale, size: DataSize, method: str, ipc: int, seed: int, *, note: str = "", **changes: Any
) -> Job:
    """Return the job of one distillation.

    Args:
        scale: The scale.
        size: The data set.
        method: Name of the method in the paper's table 1.
        ipc: Images per class.
        seed: Seed of the run.
        note: What `changes` means, for the name of the job.
        changes: Settings that differ from those of the method.
    """
    protocol = size.evaluation[ipc]
    settings = {
        **_facts(size),
        "eval_every": protocol["every"],
        **method_settings(size, method, ipc),
        "eval_networks": protocol["networks"],
        "eval_epochs": protocol["epochs"],
        "select": scale.select,
        **changes,
        "seed": seed,
        "ipc": ipc,
    }
    if method in CONDENSATION:
        needs = images(size)
    else:
        needs = (*images(size), experts(size) if method in ("MTT", "PP") else convexified(size))
    words = f"{size.name}-ipc{ipc}-{method.lower()}{f'-{note}' if note else ''}-seed{seed}"
    return Job(name=words, kind="distill", settings=settings, needs=needs)


def tested(scale: Scale, size: DataSize, run: Job) -> Job:
    """Return the job that tests the best and the last images of a distillation."""
    settings = {
        "networks": scale.networks,
        "epochs": size.evaluation[run.settings["ipc"]]["epochs"],
        "seed": _TEST_SEEDS + run.settings["seed"],
    }
    return Job(name=f"{run.name}-test", kind="test", settings=settings, needs=(run,))


def random_images(scale: Scale, size: DataSize, ipc: int, seed: int) -> Job:
    """Return the job that trains networks on random real images, the baseline of table 1."""
    settings = {
        **_facts(size),
        "ipc": ipc,
        "networks": scale.networks,
        "epochs": size.evaluation[ipc]["epochs"],
        "seed": _TEST_SEEDS + seed,
    }
    return Job(
        name=f"{size.name}-ipc{ipc}-random-seed{seed}", kind="random", settings=settings, needs=images(size)
    )


def along(scale: Scale, size: DataSize) -> Job:
    """Return the job that tests the networks along the trajectory of the first expert."""
    return Job(
        name=f"{size.name}-along",
        kind="along",
        settings={"points": scale.points},
        needs=(*images(size), experts(size), convexified(size)),
    )


def method_settings(size: DataSize, method: str, ipc: int) -> dict[str, Any]:
    """Return the settings of a method: those of the scale, or the published ones."""
    if method in CONDENSATION:
        return _condensation(size, method, ipc)
    found = dict(size.settings.get(ipc) or _published(size, "mct" if method == "MCT" else "mtt", ipc))
    if method == "PP":
        found |= {"drop": 0.1, "drop_by": PP_DROP}
    return found | {"sampling": "continuous" if method == "MCT" else "discrete"}


def _condensation(size: DataSize, method: str, ipc: int) -> dict[str, Any]:
    """Return the settings of a method without trajectories that it reads, and its preprocessing."""
    name = method.lower()
    assert name in presets.METHODS
    preset = presets.default_preset(size.dataset, ipc, _UNWHITENED, method=name)  # type: ignore[arg-type]
    known = preset.settings if preset else presets.METHODS[name].SETTINGS  # type: ignore[index]
    own = size.condensation.get(method, {}).get(ipc, {})
    said = {key: value for key, value in {**known, **own}.items() if value is not None}
    idle = groups.unused(groups.configured(None, {**said, "method": name}))
    steps = int(said["outer_steps"])
    found = {key: value for key, value in said.items() if key not in idle}
    return {**found, "method": name, "preprocessing": _UNWHITENED, "eval_every": max(1, steps // _CURVE)}


def guesses(scale: Scale) -> list[str]:
    """Return which settings are published for another preprocessing, as sentences."""
    found = []
    for size in scale.data:
        for ipc in size.ipcs:
            preset = presets.default_preset(size.dataset, ipc, size.preprocessing, method="mtt")
            if not size.settings.get(ipc) and preset and preset.preprocessing != size.preprocessing:
                found.append(
                    f"MTT and PP, {size.paper} ipc {ipc}: the settings of {preset.name}, as none are "
                    f"published for {size.preprocessing} images."
                )
    return found


def _published(size: DataSize, method: presets.Method, ipc: int) -> dict[str, Any]:
    """Return the published settings of a method, without those that are None."""
    found = presets.default_preset(size.dataset, ipc, size.preprocessing, method=method)
    assert found is not None, f"{method} has no preset for {size.dataset}"
    return {name: value for name, value in found.settings.items() if value is not None and name != "ipc"}


def _facts(size: DataSize) -> dict[str, Any]:
    """Return what decides which images and which network a job uses."""
    named = {} if size.first else {"dataset": size.dataset}
    return {**named, "model": size.model, "preprocessing": size.preprocessing}


def described(size: DataSize) -> dict[str, Any]:
    """Return a data set and its sizes as plain values."""
    return {name: value for name, value in asdict(size).items() if value not in (None, {}, ())}
