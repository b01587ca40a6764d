"""Bundles inside the scripts of other codebases; `trajfmt.torch` is the public face.

It must not import `sources` or `convert`.

Modules:
    stub: a small file in the place of a buffer's, which names a bundle.
    buffer: `load_buffer` and `load`: a bundle as the list that `torch.load` would return.
"""
