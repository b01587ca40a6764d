"""Fresh networks trained on synthetic images, and the comparison with real ones.

It must not import `distillation`.

Modules:
    protocol: training and testing fresh networks by MTT's protocol.
    comparison: a synthetic set of any origin against random real images.
"""
