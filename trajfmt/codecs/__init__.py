"""Codecs of full trajectories, which encode and decode the chunks of a timestep.

To add a codec, write a module that defines a `Codec` named CODEC, and list it in `table`. Codecs work on
arrays and bytes and never open files. Of `trajfmt`, this folder imports `errors` only.

Modules:
    codec: `Codec`, the interface of every codec.
    none: uncompressed, contiguous timesteps, which can be memory-mapped.
    zstd: byte-shuffled chunks in zstd frames.
    archive: integer differences from weights predicted by the timesteps before, in zstd frames.
    table: all codecs by their names in the manifest.
"""
