"""Mutated bundles and sources, for the campaign of `../mutations.py`.

Modules:
    places: trees of files, and a folder that holds one after the other.
    bundles: the bundles that are mutated, one of every kind.
    sources: the sources that are mutated, one of every file layout.
    documents: mutations of JSON.
    manifests: mutations of a manifest that keep it plausible.
    headers: mutations of safetensors files.
    metadata: mutations of the metadata of HDF5 files.
    frames: mutations of compressed chunks.
    marks: the places of marks in the bytes of a file.
    arrays: mutations of weights and tables.
    folders: files that are swapped, cut, linked, missing or something else.
    archives: mutations of the zip archives that `torch.save` writes.
    pickles: mutations of pickles.
    seals: sizes, hashes, digests and checksums that fit a mutated bundle.
    trials: one mutation of a bundle and its verdict, from a seed.
    source_trials: one mutation of a source and its verdict, from a seed.
    verdicts: what a reader may make of a mutated bundle.
    conversions: what a converter may make of a mutated source.
    copies: a mutated bundle as the source of a conversion.
    decoding: the weights of a bundle by the program of the test vectors.
    javascript: the verdicts of the reader in JavaScript.
    batches: trials in processes of their own, so that each crash has a cause.
    tallies: what came out, added up over instalments.
"""
