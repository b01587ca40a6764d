"""What a bundle says about itself: parameter layout, provenance and manifest.

Pure data. Nothing in this folder opens a file, and it imports nothing of `trajfmt` but `errors`.

Modules:
    layout: order, shapes and layers of the parameters in a flat vector.
    provenance: what is known about the experts, as a part of the manifest.
    manifest: the manifest's model and its canonical JSON.
    consistency: how the parts of a manifest must fit together.
    parse: bytes to a checked manifest.
    models: names and shapes of the ConvNet family, and what MTT's folder names say.
"""

from trajfmt.schema import models
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.provenance import FACTORY, MAX_FACTORY

__all__ = [
    "FACTORY",
    "MAX_FACTORY",
    "ParamLayout",
    "models",
]
