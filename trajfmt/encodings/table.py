"""All encodings, and functions that find one by its name, by the suffix of a path, or by a manifest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from trajfmt.encodings.convex import encoding as convex
from trajfmt.encodings.full import encoding as full
from trajfmt.encodings.parts.encoding import Encoder, Encoding, Options
from trajfmt.errors import UsageError, display
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import Manifest

__all__ = ["ENCODINGS", "encoder_for", "encoding_of_manifest", "encoding_of_path"]

ENCODINGS: Final[dict[str, Encoding]] = {
    encoding.name: encoding for encoding in (convex.ENCODING, full.ENCODING)
}


def encoding_of_manifest(manifest: Manifest) -> Encoding:
    """Return the encoding of a manifest."""
    return ENCODINGS[str(manifest.__struct_config__.tag)]


def encoding_of_path(path: Path) -> Encoding:
    """Return the encoding for the suffix of a path: `convex` for `.mct`, and `full` for `.mtt`.

    Raises:
        UsageError: the path has another suffix.
    """
    for encoding in ENCODINGS.values():
        if path.suffix == encoding.suffix:
            return encoding
    raise UsageError(
        f"{display(path)}: the destination must end in .mct (convexified) or .mtt (every timestep)"
    )


def encoder_for(name: str, options: Options, layout: ParamLayout) -> Encoder:
    """Return the settings for a new bundle.

    Args:
        name: name of the encoding.
        options: the options. Those that do not apply to the encoding must have their default values.
        layout: the parameter layout.

    Raises:
        UsageError: there is no such encoding, or the options are invalid for it.
    """
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise UsageError(f"`encoding` must be {' or '.join(ENCODINGS)}, got {name!r}")
    for other in ENCODINGS.values():
        foreign = other.options - encoding.options
        if any(getattr(options, option) != _DEFAULTS[option] for option in foreign):
            named = [f"`{field.name}`" for field in dataclasses.fields(Options) if field.name in foreign]
            verb = "is" if len(named) == 1 else "are"
            listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
            raise UsageError(f"{listed} {verb} for {other.kind} bundles ({other.suffix}) only")
    return encoding.encoder(options, layout)


_DEFAULTS: Final = {field.name: field.default for field in dataclasses.fields(Options)}
