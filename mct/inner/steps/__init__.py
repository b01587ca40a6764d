"""The gradient of one inner update, and the exact adjoint of that update.

Modules:
    step: what the unroll asks of a network: the protocol `Step`.
    table: the choice of a step for a network.
    autograd: any network, by autograd.
    closed: any network, by `torch.func`.
    convnet: the ConvNet family, derivatives written out.
    blocks: one block of the ConvNet family.
    norms: its normalisation layers.
    poolings: its poolings.
    compiled: closed functions, compiled.
    narrow: bfloat16.
"""
