"""Evaluations of linear classifiers, whose robust accuracy is known in closed form."""

from collections.abc import Callable

import pytest
import torch
from conftest import Batch
from engine_helpers import Evaluate, split_of, states
from torch import Tensor, nn
