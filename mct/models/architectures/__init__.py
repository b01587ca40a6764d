"""The network families of MTT, with the same layers, parameter names and parameter order.

Modules:
    convnet: ConvNet.
    alexnet: AlexNet.
    vgg: VGG11.
    resnet: ResNet18 and ResNet18AP.
    norms: the normalisation layers that the families share.
"""
