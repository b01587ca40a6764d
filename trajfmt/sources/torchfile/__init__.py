"""Files that `torch.save` wrote: read in place where they are plain, and by torch where they are not.

Modules:
    members: where the members of the zip file lie.
    instructions: the pickle's instructions, executed without calling anything.
    placement: where the bytes of a tensor lie.
    zipped: a replay buffer read in place.
    pickled: a checkpoint read in place.
    stored: the named tensors of a checkpoint, wherever they lie.
    unpickle: the call of torch's weights-only unpickler, for files that are not plain.
    tensors: a trajectory of torch tensors.
    nesting: what an unpickled file is if it is not a buffer.
"""
