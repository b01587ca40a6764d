"""Settings of every command, published presets, and the defaults for a dataset.

Modules:
    config: the settings, each with its meaning and its checks.
    presets: published settings by name.
    defaults: the settings for a dataset, where the user gives none.
"""
