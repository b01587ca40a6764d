"""Numbered checkpoints of one training run. Each checkpoint is a timestep.

Modules:
    pytorch: files of `torch.save`, Lightning and safetensors.
    huggingface: folders of Hugging Face's trainers.
    search: finding the training runs below a folder.
    numbering: the training step in the name of a checkpoint.
    run: one training run as a trajectory.
    statedict: the state dict in the file of a checkpoint.
"""
