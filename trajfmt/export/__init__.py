"""From a bundle to the files that other code reads.

It must not import `sources` or `convert`.

Modules:
    run: `export`, and the table of targets.
    base: the interface of a target.
    losses: what the files of a target have no place for.
    files: atomic writes of the target's files.
    mtt: replay buffers of MTT.
    datm: replay buffers of DATM and its relatives.
    towers: pairs of image and text towers.
    mct_authors: the MCT authors' pairs of files.
    checkpoints: one safetensors file for each timestep.
"""

from trajfmt.export.mtt import BufferWriter
from trajfmt.export.run import export

__all__ = [
    "BufferWriter",
    "export",
]
