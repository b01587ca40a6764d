"""What a distillation minimises: a function of the student's weights theta_1 … theta_N, and its adjoints.

A new objective is a class that implements `Objective`; `mct.Distiller` takes it as it is. One of this package
is one module here, and one row of `table.OBJECTIVES`.

Modules:
    objective: the protocol `Objective`, and what it gives for one sample.
    scene: what an objective is made from.
    matching: trajectory matching, the normalised squared distance to a target (eq. 2).
    nearest: matching where the student comes nearest to the target (ATT).
    dropped: matching on a part of the parameters (PAD).
    real: the loss on real images (RaT-BPTT).
    guarded: an objective of a user's own code, whose mistakes are one line each.
    own: objectives from a loss function in plain torch.
    table: every objective by name, and that of some settings.
"""

from mct.objectives.objective import LossAndAdjoint, Objective, ObjectiveSample, Place

__all__ = ["LossAndAdjoint", "Objective", "ObjectiveSample", "Place"]
