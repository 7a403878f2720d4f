"""Networks: classifiers, autoencoders, the diffusion model, the GAN; loading, saving; the zoo."""

from robustlab.models.base import Model, Normalize, Shape
from robustlab.models.black_box import BlackBox
from robustlab.models.cnn import CNN
from robustlab.models.conv_vae import ConvVAE, ConvVAENetwork
from robustlab.models.deep_cnn import DeepCNN
from robustlab.models.denoising_autoencoder import DenoisingAutoencoder
from robustlab.models.diffusion import Diffusion, DiffusionNetwork
from robustlab.models.files import load_network, save_network
from robustlab.models.gan import GAN, GANNetwork
from robustlab.models.own_code import OwnCode
from robustlab.models.prototypes import PrototypeClassifier, Prototypes
from robustlab.models.purifier import PurifiedClassifier, PurifierModel
from robustlab.models.reformer import Reformer
from robustlab.models.strided_cnn import StridedCNN
from robustlab.models.thresholded import Threshold, ThresholdedModel
from robustlab.models.vae import VAE, VAENetwork, VariationalAutoencoder
from robustlab.models.zoo import load_from_zoo

__all__ = [
    "CNN",
    "GAN",
    "VAE",
    "BlackBox",
    "ConvVAE",
    "ConvVAENetwork",
    "DeepCNN",
    "DenoisingAutoencoder",
    "Diffusion",
    "DiffusionNetwork",
    "GANNetwork",
    "Model",
    "Normalize",
    "OwnCode",
    "PrototypeClassifier",
    "Prototypes",
    "PurifiedClassifier",
    "PurifierModel",
    "Reformer",
    "Shape",
    "StridedCNN",
    "Threshold",
    "ThresholdedModel",
    "VAENetwork",
    "VariationalAutoencoder",
    "load_from_zoo",
    "load_network",
    "save_network",
]
