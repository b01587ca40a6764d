"""Families of networks. Those of MTT have its layers, parameter names and parameter order.

Modules:
    norms: the normalisation layers that the families share.
    *: a family of networks each.
"""
