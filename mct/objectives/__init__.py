"""What a distillation minimises: a function of the student's final weights theta_N, and its first adjoint.

A new objective is a class that implements `Objective`; `mct.Distiller` takes it as it is. One of this package
is one module here, and one row of `table.OBJECTIVES`.

Modules:
    objective: the protocol `Objective`, and what it gives for one sample.
    matching: trajectory matching, the normalised squared distance to a target (eq. 2).
    table: every objective by name.
"""

from mct.objectives.objective import LossAndAdjoint, Objective, ObjectiveSample, Place

__all__ = ["LossAndAdjoint", "Objective", "ObjectiveSample", "Place"]
