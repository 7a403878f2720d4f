"""Networks: the classifiers, the VAE and the GAN; loading and saving; the zoo of trained ones."""

from robustlab.models.base import Model, Normalize, Shape
from robustlab.models.cnn import CNN
from robustlab.models.files import load_network, save_network
from robustlab.models.gan import GAN, GANNetwork
from robustlab.models.own_code import OwnCode
from robustlab.models.strided_cnn import StridedCNN
from robustlab.models.vae import VAE, VAENetwork
from robustlab.models.zoo import load_from_zoo

__all__ = [
    "CNN",
    "GAN",
    "VAE",
    "GANNetwork",
    "Model",
    "Normalize",
    "OwnCode",
    "Shape",
    "StridedCNN",
    "VAENetwork",
    "load_from_zoo",
    "load_network",
    "save_network",
]
