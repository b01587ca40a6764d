"""What a distillation minimises: a function of the student's final weights theta_N, and its first adjoint.

A new objective is one module here that implements `objective.Objective`, and one row of `table.OBJECTIVES`.

Modules:
    objective: the protocol `Objective`, and what it gives for one sample.
    matching: trajectory matching, the normalised squared distance to a target (eq. 2).
    table: every objective by name.
"""
