"""Datasets on disk, each module a function from a folder to a `raw.Raw`.

Modules:
    raw: what every reader returns.
    cifar: CIFAR-10 and CIFAR-100.
    tiny: Tiny-ImageNet.
    idx: MNIST and FashionMNIST.
    folder: folders of images.
    arrays: arrays in one file.
    digits: scikit-learn's digits.
    decode: image files to arrays.
    files: finding the files of a published dataset.
    unpickle: pickled dictionaries of arrays, without running pickle.
"""
