"""What a distillation minimises, and its first adjoint.

Modules:
    matching: the normalised squared distance to the target (eq. 2).
"""
