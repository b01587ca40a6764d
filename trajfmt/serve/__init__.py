"""Bundles inside the scripts of other codebases; `trajfmt.torch` is the public face.

It must not import `sources` or `convert`.

Modules:
    stub: a small file that replaces a replay buffer and refers to a bundle.
    buffer: `load_buffer` and `load`, which return a bundle as the list that `torch.load` would return.
"""
