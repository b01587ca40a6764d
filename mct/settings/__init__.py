"""The settings of expert training, distillation and evaluation, published presets, and defaults.

Modules:
    config: the settings of distillation and evaluation, with their meaning and their checks.
    expert: the settings of expert training.
    real: those of distillations that minimise the loss on real images.
    condensation: the settings of methods that need no trajectories.
    groups: settings by name, whatever group they are in.
    checks: checks of the values of settings.
    inner: the settings of the inner loop besides its length.
    published: published experiments, one module for each method.
    presets: all of them by name.
    defaults: the settings that are used for a dataset if the user gives none.
    ranking: the settings of an evaluation by DD-Ranking's protocol.
"""
