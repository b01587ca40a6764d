"""The metadata of a bundle as plain data: parameter layout, provenance and manifest.

Nothing in this folder opens a file. Of `trajfmt`, it imports `errors`, `codecs` and `notebooks` only.

Modules:
    layout: order, shapes and layers of the parameters in a weight vector.
    layers: groups of parameters that share one beta.
    arguments: numbers and arrays that programs pass, of the right types.
    provenance: the part of the manifest that describes the experts.
    entries: the parts of the manifest that describe trajectories.
    features: the names of what a reader of a bundle must know.
    canonical: JSON with one spelling for each value, by RFC 8785.
    manifest: the manifest as typed data, and its bytes.
    keys: which keys of a manifest are known, and what becomes of the others.
    pieces: the pieces of weights that have digests of their own.
    regions: the regions of files that a manifest claims, which must not overlap.
    consistency: checks across the fields of a manifest.
    checksum: the checksum that a manifest carries of its own bytes.
    text: JSON texts, decoded strictly.
    weight: how much memory a JSON text can need.
    parse: decode and check the bytes of a manifest.
    part: which trajectories of a larger bundle are in this one.
    facts: whether facts about experts may hold for all trajectories of a bundle.
    doubts: remarks on facts that do not fit each other.
    models: recognise MTT's networks from shapes, names and folder names.
"""

from trajfmt.schema import models
from trajfmt.schema.facts import OWN_DATASET
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import numbered
from trajfmt.schema.part import Part
from trajfmt.schema.provenance import FACTORY, MAX_FACTORY

__all__ = [
    "FACTORY",
    "MAX_FACTORY",
    "OWN_DATASET",
    "ParamLayout",
    "Part",
    "models",
    "numbered",
]
