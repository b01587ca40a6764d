"""The field's networks, and a network as a function of a flat vector of weights.

Modules:
    networks: networks by name.
    architectures: one module for each family.
    factory: networks that the user's code builds.
    functional: a network as a function of its weights.
"""
