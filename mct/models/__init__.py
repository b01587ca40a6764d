"""The network families of MTT, networks built by user code, and their evaluation at given weights.

Modules:
    networks: parsing the name of a network, building it, and comparing it with a bundle.
    architectures: the network families of MTT.
    factory: networks built by user code, named `package.module:factory`.
    el2n: how difficult images are for networks early in their training.
    functional: a network as a function of a flat weight vector.
    idle: which parameters do not change the output of a network.
"""
