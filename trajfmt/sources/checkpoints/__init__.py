"""Numbered checkpoints of one training run. Each checkpoint is a timestep.

Modules:
    pytorch: one file of `torch.save`, Lightning or safetensors for each step.
    folders: one folder for each step.
    elsewhere: checkpoints that are recognised and not converted.
    search: finding the training runs below a folder.
    walk: the folders below a folder, level by level.
    beside: what lies beside the checkpoints and is not used.
    opening: which checkpoints of the runs are used, and what is said about the others.
    questions: what the places of runs leave open.
    selected: the checkpoints that a pattern selects.
    facts: what the names and the first checkpoint tell.
    roles: what the name of a file says about it.
    names: the name of a checkpoint, split into texts and numbers.
    labels: the closed lists of words that say what a number is.
    numbering: the training step in the name of a checkpoint.
    stated: a pattern in which the user says what the number is.
    survey: a look at the checkpoints of a source.
    kind: kinds of checkpoint on disk, and the checkpoints of one run.
    run: one training run as a trajectory.
    schema: which tensors are parameters, and which are module buffers.
    statedict: the state dict in the file of a checkpoint.
    leaves: the values in nested dictionaries.
    averages: moving averages and other copies of a network inside one state dict.
    parts: what a file says about being one of several parts of the weights.
    unwritten: parts of files that were never written and read as zeros.
    mixture: signs that checkpoints of one folder come from different runs.
    progress: the epochs and steps that checkpoints store, compared with the order of their names.
    quantised: weights that are packed into whole numbers.
    sharded: weights that are split over several files.
"""
