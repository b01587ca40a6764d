"""Real datasets on disk: one module per layout, each a function from a folder to a `raw.Raw`.

What a layout is called and which names are known stands in `mct.data`.
"""
