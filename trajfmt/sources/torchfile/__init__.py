"""Files that `torch.save` wrote. Plain ones are read in place without torch, and others by torch.

Modules:
    members: the members of the zip file, and their byte ranges.
    instructions: an interpreter for the pickle that calls and imports nothing.
    placement: the byte range of a tensor, from its description in the pickle.
    zipped: a replay buffer read in place.
    pickled: a checkpoint read in place.
    stored: the named tensors of a checkpoint: in their file, or loaded by torch.
    unpickle: torch's weights-only unpickler, for files that are not plain.
    tensors: a trajectory of torch tensors.
    nesting: checks that an unpickled file is a replay buffer, and that its timesteps are a trajectory.
"""
