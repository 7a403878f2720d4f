"""What identifies code: its source, or what it was compiled to where it was typed into a console."""

import importlib.util
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, Restarts
from robustlab.core import seeding
from robustlab.evaluation.jobs.context import program, source_of
from robustlab.evaluation.jobs.stages import AttackStage
from robustlab.evaluation.subject import load_classifier
from robustlab.threats import Linf

CONSOLE = """
class Net(nn.Module):
    scale = 2

    def forward(self, images):
        '''A comment.'''
        return [images.flatten(1) * self.scale for _ in range(3)][-1]
"""


@pytest.mark.parametrize(
    "change", [("* self", "/ self"), ("range(3)", "range(4)"), ("scale = 2", "scale = 3")]
)
def test_a_class_typed_into_a_console_is_its_code(change: tuple[str, str]) -> None:
    def identity(source: str) -> str:
        scope: dict[str, Any] = {"__name__": "console", "nn": nn}
        exec(source, scope)
        return load_classifier(scope["Net"]()).code

    assert identity(CONSOLE) == identity(CONSOLE)
    assert identity(CONSOLE) != identity(CONSOLE.replace(*change))


MODULE = """
from torch import nn

SCALE = 1.0
SETTINGS = {"shift": 0.5}
STEPS = (lambda x: x + 7, abs)


def inner(x):
    return STEPS[0](x) - SETTINGS["shift"]


def normalise(x):
    return SCALE * inner(x)


class Net(nn.Module):
    def forward(self, images):
        return [normalise(image) for image in images]
"""


@pytest.mark.parametrize(
    "change",
    [("SCALE = 1.0", "SCALE = -1.0"), ("(x) - SET", "(x) + SET"), ("x + 7", "x + 8"), ("0.5}", "0.6}")],
)
def test_what_a_forward_pass_calls_in_its_module_belongs_to_it(
    change: tuple[str, str], tmp_path: Path
) -> None:
    def identity(source: str, name: str) -> str:
        file = tmp_path / f"{name}.py"
        file.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("net", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return load_classifier(module.Net()).code

    assert identity(MODULE, "one") == identity(MODULE, "two")
    assert identity(MODULE, "one") != identity(MODULE.replace(*change), "three")


@pytest.mark.parametrize(
    ("forward", "belongs"),
    [
        ("images.mean()", False),
        ("[images - mean for _ in range(2)]", True),
        ("images - globals()['mean']", True),
    ],
)
def test_a_variable_belongs_to_a_model_that_reads_it(forward: str, belongs: bool) -> None:
    def identity(mean: float) -> str:
        scope: dict[str, Any] = {"__name__": "console", "nn": nn, "mean": mean}
        exec(f"class Net(nn.Module):\n    def forward(self, images):\n        return {forward}", scope)
        return load_classifier(scope["Net"]()).code

    assert (identity(0.1) != identity(0.2)) == belongs


HOLDERS = {
    "argparse": "from argparse import Namespace as N\nCFG = N(factor=FACTOR)\nget = lambda net: CFG.factor",
    "namespace": "from types import SimpleNamespace as N\nCFG = N(a=N(b=FACTOR))\nget = lambda net: CFG.a.b",
    "deque": "from collections import deque\nCFG = deque([FACTOR])\nget = lambda net: CFG[0]",
    "fraction": "from fractions import Fraction\nCFG = Fraction(FACTOR, 7)\nget = lambda net: float(CFG)",
    "nested": "class Own: pass\nCFG = Own()\nCFG.a = Own()\nCFG.a.b = Own()\nCFG.a.b.c = FACTOR\n"
    "get = lambda net: net.cfg.a.b.c",
    "dict of functions": "CFG = {'f': lambda x: x + FACTOR}\nget = lambda net: CFG['f'](0)",
    "list of functions": "CFG = [lambda x: x, lambda x: x + FACTOR]\nget = lambda net: CFG[1](0)",
    "namespace of functions": "from types import SimpleNamespace as N\nCFG = N(f=lambda x: x + FACTOR)\n"
    "get = lambda net: net.own.f(0)",
    "mapping": "from collections import ChainMap\nCFG = ChainMap({}, {'a': FACTOR})\n"
    "get = lambda net: CFG['a']",
    "descriptor": "class Own:\n    def __init__(self): self.a = FACTOR\n"
    "    def __get__(self, net, kind=None): return self.a\nCFG = Own()\nget = lambda net: net.own",
    "private slots": "class Own:\n    __slots__ = ('__a',)\n    def __init__(self): self.__a = FACTOR\n"
    "    def get(self): return self.__a\nCFG = Own()\nget = lambda net: CFG.get()",
    "partialmethod": "from functools import partialmethod\ndef own(net, factor): return factor\n"
    "CFG = partialmethod(own, FACTOR)\nget = lambda net: net.own()",
    "methodcaller": "import operator\nCFG = operator.methodcaller('__add__', FACTOR)\n"
    "get = lambda net: CFG(1)",
    "itemgetter": "import operator\nCFG = operator.itemgetter(FACTOR)\nget = lambda net: CFG([1, 2, 3])",
    "cached": "import functools\ndef made(factor):\n    @functools.lru_cache\n    def get(): return factor\n"
    "    return get\nCFG = made(FACTOR)\nget = lambda net: CFG()",
    "single dispatch": "import functools\nCFG = functools.singledispatch(lambda x: x)\n"
    "CFG.register(int, lambda x: x + FACTOR)\nget = lambda net: CFG(0)",
    "function's attribute": "def CFG(): return CFG.a\nCFG.a = FACTOR\nget = lambda net: CFG()",
    "environment": "import os\nCFG = os.environ\nCFG['ROBUSTLAB_TEST'] = 'FACTOR'\n"
    "get = lambda net: float(os.environ['ROBUSTLAB_TEST'])",
    "class": "class Own: factor = 0\nCFG = Own()\nCFG.factor = FACTOR\nget = lambda net: net.own.factor",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_an_object_that_holds_a_setting_belongs_to_the_model(
    holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROBUSTLAB_TEST", raising=False)

    def identity(factor: int) -> str:
        scope: dict[str, Any] = {"__name__": "console", "nn": nn}
        source = HOLDERS[holder].replace("FACTOR", str(factor))
        source += (
            "\nclass Net(nn.Module):\n    own = CFG\n    def __init__(self):\n        super().__init__()\n"
        )
        source += "        self.cfg = CFG\n    def forward(self, images):\n        "
        exec(source + "return images * get(self)", scope)
        return load_classifier(scope["Net"]()).code

    assert identity(1) == identity(1) != identity(2)


def test_what_changes_by_itself_is_no_setting() -> None:
    """Else a model that draws its own random numbers would never go on where it stopped."""

    def identity(seed: int) -> str:
        model = nn.Sequential(nn.Flatten())
        model.draws = [torch.Generator().manual_seed(seed), np.random.default_rng(seed), random.Random(seed)]  # type: ignore[assignment]
        return load_classifier(model).code

    assert identity(1) == identity(2)


def test_backward_hooks_belong_to_the_model() -> None:
    def identity(factor: float, *, full: bool) -> str:
        model = nn.Sequential(nn.Flatten())

        def scaled(gradients: Any) -> Any:
            return (gradients[0] * factor,)

        if full:
            model[0].register_full_backward_hook(lambda _module, _before, after: scaled(after))
        else:
            model[0].register_full_backward_pre_hook(lambda _module, after: scaled(after))
        return load_classifier(model).code

    for full in (True, False):
        assert identity(0.0, full=full) == identity(0.0, full=full) != identity(1.0, full=full)


MASK = torch.fft.fft(torch.arange(4.0)).conj()
ODD = {"meta": torch.empty(2, device="meta"), "objects": np.array([object()]), object(): 1}
NAMES = {"b", "a"}


class Masked(nn.Module):
    def forward(self, images: torch.Tensor) -> Any:
        return images * MASK.real, ODD, NAMES


def test_tensors_of_a_module_belong_to_it_and_odd_things_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_classifier(Masked()).code
    before = ODD
    monkeypatch.setitem(globals(), "ODD", {**before, object(): object(), "mask": MASK})
    odd = load_classifier(Masked()).code
    monkeypatch.setitem(globals(), "ODD", {**before, object(): object(), "mask": MASK})
    assert load_classifier(Masked()).code == odd != first
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "NAMES", {"a", "b"})
    assert load_classifier(Masked()).code == first
    monkeypatch.setitem(globals(), "MASK", 2 * MASK)
    assert load_classifier(Masked()).code != first


@pytest.mark.filterwarnings("ignore:.*quantize")  # torch is about to drop them
def test_quantized_weights_differ_by_their_scale() -> None:
    class Quantized(nn.Module):
        weight: torch.Tensor

        def __init__(self, scale: float) -> None:
            super().__init__()
            levels = torch.arange(4, dtype=torch.int8)
            self.register_buffer("weight", torch._make_per_tensor_quantized_tensor(levels, scale, 0))

    one, same, other = (load_classifier(Quantized(scale)).sha256() for scale in (1.0, 1.0, 5.0))
    assert one == same != other


def test_a_script_is_its_graph() -> None:
    class Net(nn.Module):
        def __init__(self, sign: int) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) * self.sign

    def identity(sign: int) -> str:
        script = torch.jit.trace(Net(sign), torch.rand(1, 1, 2, 2))  # type: ignore[no-untyped-call]
        return load_classifier(script).code

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather export
        assert identity(1) == identity(1)
        assert identity(1) != identity(-1)


def test_what_torch_compiles_is_the_module_itself() -> None:
    def identity(size: int) -> str:
        with seeding.isolated(0):
            compiled: Any = torch.compile(nn.Linear(size, 2), backend="eager")
        return load_classifier(compiled).code

    assert identity(3) == identity(3)
    assert identity(3) != identity(4)


def test_modules_that_hold_each_other_have_an_identity() -> None:
    one, two = nn.Linear(1, 1), nn.Linear(1, 1)
    one.held, two.held = [two], [one]  # type: ignore[assignment]
    assert load_classifier(one).code


BASE = """
class Base(Attack):
    def search(self, session):
        session.propose(session.clean + 0.02)
"""


def test_a_base_class_or_a_wrapper_typed_into_a_console_decides_what_is_kept() -> None:
    def code(source: str, wrapper: type[Restarts] = Restarts) -> str:
        scope: dict[str, Any] = {"__name__": "console", "Attack": Attack}
        exec(source, scope)
        attack = wrapper(attack=type("Derived", (scope["Base"],), {})(), times=2)
        return AttackStage(attack=attack, threat=Linf(eps=0.1)).code

    class Wrapper(Restarts):
        """A wrapper that is not robustlab's."""

    assert code(BASE) == code(BASE)
    assert code(BASE) != code(BASE.replace("+", "-"))
    assert code(BASE) != code(BASE, Wrapper)


def test_the_code_that_draws_random_numbers_belongs_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _program_with(monkeypatch, "")
    for name in (
        "seeding.py",
        "pgd.py",
        "interval.py",
        "linf.py",
        "stages.py",
        "eight_bit.py",
        "classify.py",
        "models/cnn.py",
        "bit_depth.py",
    ):
        assert _program_with(monkeypatch, name) != before, name


def test_engines_and_the_cascade_do_not_belong_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _program_with(monkeypatch, "")
    for name in ("serial.py", "cascade.py", "assemble.py", "store.py", "coordinator/run.py"):
        assert _program_with(monkeypatch, name) == before, name


def _program_with(monkeypatch: pytest.MonkeyPatch, changed: str) -> str:
    """Return the hash of the program as if a file of that name were another one."""
    read = Path.read_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * str(path).endswith(f"/{changed}"))
        source_of.cache_clear()
        found = program()
    source_of.cache_clear()
    return found
