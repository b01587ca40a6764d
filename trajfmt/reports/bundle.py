"""The facts of a bundle, as the page shows them and as `traj report -o NAME.json` writes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from trajfmt.bundle import open as open_bundle
from trajfmt.bundle.report import Summary, summary_of
from trajfmt.errors import UsageError
from trajfmt.reports.curves import Curves, curves_of, most_common
from trajfmt.reports.shape import Shape, shape_of, tables_of
from trajfmt.storage.address import Address

__all__ = ["SCHEMA", "BundleReport", "LayerFacts", "describe", "to_json"]

SCHEMA: Final = "trajfmt.report/1"
"""Version of the JSON output. Within a version, fields may be added, but not changed or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """A layer of the parameter layout."""

    name: str
    parameters: tuple[str, ...]
    """Names of its parameters."""

    shapes: tuple[tuple[int, ...], ...]
    """Shapes of its parameters."""

    elements: int
    share: float
    """`elements` divided by P."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReport:
    """The facts of a bundle."""

    summary: Summary
    verified: bool
    """Whether every file was compared with its sha256. If not, only what was read was compared."""

    shown: int | None
    """Number of the trajectory that `shape` describes; None if no trajectory can be read."""

    gram: bool
    """Whether the Gram matrix of this trajectory is stored, or follows from its timesteps."""

    shape: Shape | None
    curves: Curves | None
    layers: tuple[LayerFacts, ...]


def describe(
    path: str | os.PathLike[str] | Address, *, trajectory: int | None = None, verify: bool = False
) -> BundleReport:
    """Describe a bundle.

    Reads the manifest, the tables of the trajectories, and the knots of one of them; of a full bundle, all
    timesteps of one trajectory. What is read is compared with its sha256 first.

    Args:
        path: folder of the bundle, or its address.
        trajectory: number of the trajectory whose shape is described; None for the first one with as many
            timesteps and the knots of most.
        verify: compare every file with its sha256.

    Raises:
        MissingError: there is nothing at `path`.
        FormatError: not a bundle that this library can read, or a damaged one.
        UsageError: there is no such trajectory.
        RemoteError: the address cannot be reached.
    """
    with open_bundle(path, verify="read") as bundle:
        if verify:
            bundle.verify()
        summary = summary_of(bundle)
        if trajectory is not None and trajectory >= len(bundle):
            raise UsageError(
                f"{bundle.place}: `trajectory` must lie in [0, {len(bundle) - 1}], got {trajectory}"
            )
        shown = most_common(bundle) if trajectory is None else trajectory
        shape = curves = None
        if shown is not None:
            smoothed = bool(summary.smoothed)
            tables = tables_of(bundle, bundle[shown])
            shape = shape_of(bundle, bundle[shown], tables, smoothed=smoothed)
            curves = curves_of(bundle, shown, tables, smoothed=smoothed)
        layout = bundle.layout
        members = [[layout.parameters[i] for i in layer.parameters] for layer in layout.layers]
        sizes = [sum(parameter.size for parameter in own) for own in members]
        return BundleReport(
            summary=summary,
            verified=verify,
            shown=shown,
            gram=shape is not None and shape.path == "original",
            shape=shape,
            curves=curves,
            layers=tuple(
                LayerFacts(
                    name=layer.name,
                    parameters=tuple(parameter.name for parameter in own),
                    shapes=tuple(parameter.shape for parameter in own),
                    elements=size,
                    share=size / layout.size,
                )
                for layer, own, size in zip(layout.layers, members, sizes, strict=True)
            ),
        )


def to_json(reports: list[BundleReport]) -> bytes:
    """Return reports as one JSON object. Numbers that are not finite are null."""
    facts: dict[str, Any] = {"schema": SCHEMA, "bundles": reports}
    return msgspec.json.format(msgspec.json.encode(facts, order="sorted"), indent=1) + b"\n"
