"""Networks: the study's classifier, the VAE and the GAN; loading and saving."""

from robustlab.models.base import Model, Normalize, Shape
from robustlab.models.cnn import CNN
from robustlab.models.files import load_network, save_network
from robustlab.models.gan import GAN, GANNetwork
from robustlab.models.vae import VAE, VAENetwork

__all__ = [
    "CNN",
    "GAN",
    "VAE",
    "GANNetwork",
    "Model",
    "Normalize",
    "Shape",
    "VAENetwork",
    "load_network",
    "save_network",
]
