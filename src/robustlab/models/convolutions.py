"""The convolutional halves of the autoencoders: two strided convolutions down, two convolutions up."""

from torch import nn

from robustlab.models.base import Shape


def halved(size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width behind a convolution of stride 2; odd sizes are rounded up."""
    return -(-size[0] // 2), -(-size[1] // 2)


def encoder(shape: Shape, channels: int) -> list[nn.Module]:
    """Return layers from images (N, C, H, W) to maps (N, 2 * channels, H/4, W/4), values >= 0."""
    return [
        nn.Conv2d(shape.channels, channels, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
    ]


def decoder(shape: Shape, channels: int) -> list[nn.Module]:
    """Return layers from the encoder's maps to logits of pixels (N, C, H, W)."""
    size = shape.height, shape.width
    # Copied pixels and a convolution: a transposed one of stride 2 leaves a checkerboard.
    return [
        nn.Upsample(size=halved(size)),
        nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Upsample(size=size),
        nn.Conv2d(channels, shape.channels, kernel_size=3, padding=1),
    ]
