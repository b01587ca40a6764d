"""The command `mct check-method`, which compares the gradients of a method with autograd."""

from __future__ import annotations

from typing import Any

import click

from . import commands, inner, options, process

__all__ = ["check_method"]


@click.command(cls=commands.Command)
@click.argument("method")
@inner.optimizer
@options.as_json
def check_method(method: str, as_json: bool, **settings: Any) -> None:
    """Compare the gradients of METHOD with autograd through its whole inner loop, in float64.

    METHOD is one of those that mct distill --method takes with --traj, or your own as package.module:name,
    whose code is run. A small network takes 1, 5 and 30 steps with DSA, batches of unequal sizes and soft
    labels. The table shows the relative errors of the gradients in images, learning rate and labels, which
    should be below 1e-10, and that of the derivative of the loss against finite differences, which should be
    below 1e-6. The exit code is 1 if one is not. The options replace the method's own inner loop.
    """
    from dataclasses import asdict

    from rich.table import Table

    from mct.methods.check import check_method as checked
    from mct.methods.finding import recipe_of
    from mct.settings.condensation import is_condensation
    from mct.settings.config import DistillConfig
    from mct.settings.presets import METHODS

    from . import failures, lines, tables

    process.settle(deterministic=False)
    recipe = recipe_of(method)
    if is_condensation(method):
        failures.fail(
            f"the method {method} has no inner loop whose gradient could be checked: autograd computes it", 2
        )
    built_in = [module.SETTINGS for name, module in METHODS.items() if name == method]
    own = {**(built_in[0] if built_in else recipe.settings)}
    given = {name: value for name, value in settings.items() if value is not None}
    config = DistillConfig(**own | given | {"gradient": "exact", "ipc": 10})  # so that a share is an image
    recipe.check(config)
    table = Table(box=None, pad_edge=False)
    for title in ("steps computed", "N", "images", "learning rate", "labels", "loss"):
        table.add_column(title, justify="left" if title == "steps computed" else "right")
    exact = True
    for each in checked(recipe, config):
        exact = exact and each.exact
        if as_json:
            lines.record(asdict(each) | {"exact": each.exact})
        errors = (each.images, each.learning_rate, each.labels, each.adjoints)
        table.add_row(each.engine, str(each.updates), *(f"{error:.1e}" for error in errors))
    if not as_json:
        tables.show(table)
    if not exact:
        failures.fail(f"the gradients of {method} are not exact: an error is above its bound", 1)
