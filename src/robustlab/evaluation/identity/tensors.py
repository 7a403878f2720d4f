"""Hashes of tensors, and of graphs with tensors."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def hash_tensors(model: nn.Module) -> str:
    """Return the hash of all parameters and buffers, also of those that are not saved."""
    return hash_of(dict(model.named_parameters()) | dict(model.named_buffers()) | model.state_dict())


def hash_of(tensors: Mapping[str, Any]) -> str:
    """Return the hash of named tensors, by their type, shape and values."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        if isinstance(value, Tensor) and value.is_nested:
            value = value.unbind()
        if isinstance(value, Tensor) and value.is_meta:
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} without values".encode())
        elif isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            plain = value.detach().resolve_conj().resolve_neg().cpu()
            plain = plain.dequantize() if plain.is_quantized else plain.to_dense()
            digest.update(plain.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, list | tuple):  # a nested tensor's parts, a quantized layer's weight and bias
            digest.update(
                f"{name} {hash_of({str(place): item for place, item in enumerate(value)})}".encode()
            )
        else:
            digest.update(f"{name} {value!r}".encode())
    return digest.hexdigest()


def graph_of(module: torch.jit.ScriptModule) -> str:
    """Describe the computation of a TorchScript module."""
    graph: Any = module.inlined_graph
    # Without source lines, and without the numbers that distinguish classes of the same name.
    text = re.sub(r" # \S+:\d+:\d+$", "", str(graph), flags=re.MULTILINE)
    nodes = [node for node in graph.findAllNodes("prim::Constant") if node.hasAttribute("value")]
    tensors = {str(place): node.t("value") for place, node in enumerate(nodes) if node.kindOf("value") == "t"}
    return f"{re.sub(r'___torch_mangle_[0-9]+[.]', '', text)} {hash_of(tensors)}"


def digest(content: bytes) -> str:
    """Return a hash in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
