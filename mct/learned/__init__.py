"""What a distillation learns, and how each learned value is updated.

Images, the learning rate of the student, and labels are learned. Each is a named value with an update of its
own, which may keep a memory between outer steps. It must not import `inner`, `objectives` or `distillation`.

Modules:
    value: the types of values, and the protocol `Update`.
    updates: SGD with momentum, Adam, and what changes another update, such as an average.
    limits: gradients that are clipped, and values that stay non-negative, on top of another update.
    labels: labels as logits, and the gradient in them.
"""
