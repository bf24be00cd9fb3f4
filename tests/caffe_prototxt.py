"""Prototxt files of the nets for OpenCV's Caffe runtime, written from the layer tables of the papers."""

from fcnxs.caffe import VGG16_CONVOLUTIONS


def vgg16(blobs: dict, height: int, width: int, pad: int = 1, fully_convolutional: bool = False) -> str:
    """VGG-16 with the channels that `blobs` has, up to relu7."""
    text = f'input: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: {height}\ninput_dim: {width}\n'
    bottom = "data"

    def layer(name: str, kind: str, settings: str, in_place: bool = False) -> None:
        nonlocal text, bottom
        top = bottom if in_place else name
        text += f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}\n'
        bottom = top

    def relu(name: str) -> None:
        layer(name, "ReLU", "", in_place=True)

    for name in VGG16_CONVOLUTIONS:
        first = pad if name == "conv1_1" else 1
        outputs = len(blobs[name][1])
        layer(name, "Convolution", f"convolution_param {{ num_output: {outputs} pad: {first} kernel_size: 3 }}")
        relu(name.replace("conv", "relu"))
        if name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"):
            layer(f"pool{name[4]}", "Pooling", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        outputs = len(blobs[name][1])
        if fully_convolutional:
            layer(name, "Convolution", f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} }}")
        else:
            layer(name, "InnerProduct", f"inner_product_param {{ num_output: {outputs} }}")
        relu(name.replace("fc", "relu"))
    return text
