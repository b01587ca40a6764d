"""The field's networks, one module for each family.

Modules:
    convnet: MTT's ConvNet.
    alexnet: AlexNet.
    vgg: VGG11.
    resnet: ResNet18.
    norms: normalisation layers by name.
"""
