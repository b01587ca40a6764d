"""One inner update: its gradient, and the products with second derivatives that its adjoint needs.

Modules:
    step: the protocol `InnerStep`.
    table: networks to their compiled steps, and the choice between compiled and eager.
    autograd: any network, by autograd.
    closed: any network, by `torch.func`.
    convnet: the ConvNet family, derivatives written out.
    blocks: one block of the ConvNet family.
    norms: its normalisation layers.
    poolings: its poolings.
    compiled: closed functions, compiled.
    narrow: bfloat16.
"""
