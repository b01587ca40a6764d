"""Files that `torch.save` wrote. They are read in place without torch, and by torch if they are unusual.

Whatever is read has been compared with its CRC-32 before, if the file has one: a tensor when it is read, a
storage that several tensors share before the first of them, and a whole file before torch opens it.

Modules:
    members: the members of the zip file, their byte ranges and checksums.
    instructions: an interpreter for the pickle that calls and imports nothing.
    placement: the byte range of a tensor, from its description in the pickle.
    calls: what the names in a pickle stand for, and the value of the pickle.
    zipped: a replay buffer of plain tensors read in place, with few bytes of memory for each.
    pickled: any other file read in place.
    stored: the named tensors of a checkpoint: in their file, or loaded by torch.
    screen: what torch is about to unpickle, looked through before.
    unpickle: torch's weights-only unpickler, for files that cannot be read in place.
    tensors: a trajectory of tensors.
    nesting: checks that an unpickled file is a replay buffer, and that its timesteps are a trajectory.
"""
