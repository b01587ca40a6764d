"""Evaluating synthetic images by training fresh networks on them, and comparing them with real images.

It must not import `distillation`.

Modules:
    protocol: training and testing fresh networks with MTT's protocol.
    comparison: comparing distilled images of any codebase with random real images.
"""
