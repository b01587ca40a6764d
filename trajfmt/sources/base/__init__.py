"""What every file layout is made of.

It must not import any other folder of `sources`.

Modules:
    collection: what a file layout offers to the converter: `FileLayout`, `Collection`, `Part`.
    beside: what lies beside the files that are used, and why it is left out.
"""
