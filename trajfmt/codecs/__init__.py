"""Codecs of full trajectories: how one chunk of a timestep becomes bytes, and is read again.

A new codec is a module with a `Codec` called CODEC, and a row in `table`. Nothing here knows files, and
nothing of `trajfmt` is imported but `errors`.

Modules:
    codec: what every codec offers: `Codec`.
    none: timesteps as they are, contiguous, so that they can be mapped.
    zstd: shuffled bytes in zstd frames.
    archive: integer differences of neighbouring timesteps in zstd frames.
    table: every codec by its name in the manifest.
"""
