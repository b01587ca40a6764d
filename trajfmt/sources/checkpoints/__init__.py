"""Numbered checkpoints of one training run, each file a timestep.

Modules:
    pytorch: files of `torch.save`, Lightning and safetensors.
    huggingface: folders of Hugging Face's trainer.
    search: finding the training runs below a folder.
    numbering: the training step in a file's name.
    run: one training run as a trajectory.
    statedict: the state dict inside a file.
"""
