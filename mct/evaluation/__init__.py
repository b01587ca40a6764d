"""Evaluating synthetic images by training fresh networks on them, and comparing them with real images.

It must not import `experts` or `distillation`.

Modules:
    protocols: how one network is trained, and when it is tested; one module each.
    protocol: training and testing fresh networks by one of the protocols.
    comparison: comparing distilled images of any codebase with random real images.
    scores: DD-Ranking's four scores, as functions of accuracies.
    students: training one network with DD-Ranking's losses and schedules.
    reference: the network that is trained on all real images, and its file.
    ranking: evaluating distilled images by DD-Ranking's protocol.
"""
