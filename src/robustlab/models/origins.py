"""Remembers from which text robustlab loaded a network, for the command that repeats an evaluation."""

from weakref import WeakKeyDictionary

from torch import nn

_texts: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def remember(network: nn.Module, text: str) -> nn.Module:
    """Note the text that names a network on the command line, and return the network."""
    _texts[network] = text
    return network


def remembered(network: nn.Module) -> str | None:
    """Return the text from which a network was loaded; its weights and settings may have changed since."""
    return _texts.get(network)
