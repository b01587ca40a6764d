"""The settings of expert training, distillation and evaluation, published presets, and defaults.

Modules:
    config: dataclasses of settings, with their meaning and their checks.
    published: published experiments, one module for each method.
    presets: all of them by name.
    defaults: the settings that are used for a dataset if the user gives none.
    ranking: the settings of an evaluation by DD-Ranking's protocol.
"""
