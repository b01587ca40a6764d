"""Reading datasets from disk; every reader is a function from a path to a `Raw`.

Modules:
    raw: `Raw`, the return type of every reader.
    cifar: CIFAR-10 and CIFAR-100.
    tiny: Tiny-ImageNet.
    idx: MNIST and FashionMNIST.
    folder: folders of images.
    arrays: `.npz` and `.safetensors` files of arrays.
    digits: the digits of scikit-learn.
    decode: decoding image files into one array.
    files: finding the files of a published dataset.
    unpickle: loading a pickled dictionary of arrays without executing code from the file.
"""
