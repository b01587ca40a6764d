"""From a bundle to the files that other code reads.

It must not import `sources` or `convert`.

Modules:
    run: `export`, and the table of targets.
    base: what a target offers.
    files: writing the target's files.
    mtt: MTT's replay buffers.
    datm: those of DATM and its relatives.
    towers: pairs of towers.
    mct_authors: the MCT authors' pairs of files.
    checkpoints: one safetensors file for each timestep.
"""

from trajfmt.export.mtt import BufferWriter
from trajfmt.export.run import export

__all__ = [
    "BufferWriter",
    "export",
]
