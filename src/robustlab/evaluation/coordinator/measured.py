"""Measures a pass of the classifier: the batch size that fits into memory, and the faster precision."""

import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from robustlab.attacks import frozen
from robustlab.attacks.counted_model import input_gradient
from robustlab.core import seeding
from robustlab.core.batches import BatchSize, in_batches
from robustlab.core.calling import UserCodeError, is_out_of_memory
from robustlab.core.capacity import TensorMemory, available_memory
from robustlab.core.device import fast_bf16
from robustlab.core.own_dtype import dtype_of
from robustlab.core.progress import Progress
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.models.black_box import batch_of
from robustlab.options import EvaluationOptions
from robustlab.runs.ledger import StageRecord
from robustlab.runs.records import PassTime
from robustlab.runs.store import RunStore

_MAX_BATCH = {"cpu": 250, "mps": 250, "cuda": 1000}
"""Images per pass if the memory is large enough. 250 was the fastest size on a processor for a network of
0.3 MB per image (LOG.md, "Speed of gradients and training")."""

_CACHED = 40 << 20
"""The tensors of a pass that are still fast on a processor. Passes of a small network have more images, up to
1,000: a search in which few images are left takes the same time for any number (LOG.md, "Gradients of one
channel, and larger batches for small networks")."""

_CPU_MEMORY = 3 << 30
"""The memory of a pass on a processor, our choice: 24 images of a ResNet-50 at 224 x 224."""

_OVERHEAD = 1.5
"""The memory that a process needs per byte of its tensors, about the largest measured value (LOG.md, "bf16
where it is faster, and the batch by memory")."""

_FASTER = 0.9
"""bf16 is chosen if its time is below this part of fp32's: a clear difference, larger than noise."""

_FAR_SLOWER = 1.5
"""bf16 is not tried on a whole batch if its time on a few images is above this multiple of fp32's."""

_ONE_PASS, _ALL_PASSES, _TURNS = 0.5, 1.0, 5
"""Seconds that a pass of a few images should take; seconds after which no further turn begins; the most
turns."""


def measured(
    context: EvaluationContext,
    options: EvaluationOptions,
    store: RunStore,
    progress: Progress,
    known: PassTime | None = None,
) -> EvaluationContext:
    """Return the context with precision and batch size from a few measured passes over its images.

    The precision is kept in the run's ledger, so that the same command continues with it. ``known``: the
    times of another evaluation of the same models, on this machine.
    """

    def report(tried: int, following: int) -> None:
        progress.note(f"memory does not suffice for {tried} images at once; going on with {following}")

    if context.black_box:  # a pass may be slow or cost money, and knows no other precision
        return replace(context, batch_size=BatchSize(options.batch_size or batch_of(context.model), report))
    size = BatchSize(options.batch_size or _fitting(context, bf16=False), report)
    exact = any(dtype_of(loaded.model) != torch.float32 for loaded in (context.subject, *context.surrogates))
    context = replace(context, batch_size=size, bf16=options.precision == "bf16" and not exact)
    if options.precision == "auto" and fast_bf16(context.kind) and not exact:
        pass_time = _recorded(context, store, known)
        bf16 = pass_time is not None and pass_time.bf16 < _FASTER * pass_time.fp32
        context = replace(context, bf16=bf16, pass_time=pass_time)
    if context.bf16 and options.batch_size is None:
        size = BatchSize(min(int(size), _fitting(context, bf16=True)), report)
    return replace(context, batch_size=size)


def _recorded(context: EvaluationContext, store: RunStore, known: PassTime | None) -> PassTime | None:
    """Return the first measured times of a pass in both precisions; None if a model refuses bf16."""
    record = store.stage(context.measured_key)
    if record is None and known is not None:
        record = StageRecord(key=context.measured_key, name="pass", payload=known.model_dump(), seconds=0.0)
        store.finish_stage(record)
    if record is None:
        images = context.images.take(slice(int(context.batch_size))).to(context.device).pixels(slice(None))
        started = time.perf_counter()
        try:
            pass_time = _timed(context, images)
        except Exception as error:  # quantized layers and sparse products refuse bf16
            if is_out_of_memory(error) or (isinstance(error, UserCodeError) and error.quits):
                raise
            pass_time = None
        record = StageRecord(
            key=context.measured_key,
            name="pass",
            payload={} if pass_time is None else pass_time.model_dump(),
            seconds=time.perf_counter() - started,
        )
        store.finish_stage(record)
    return PassTime.model_validate(record.payload) if record.payload else None


def _timed(context: EvaluationContext, images: Tensor) -> PassTime | None:
    """Time passes of the attacks' batch size, or of only a few images if bf16 is far slower on these."""
    most, fp32, bf16 = len(images), _Clock(context, images, bf16=False), _Clock(context, images, bf16=True)
    count = min(2, most)
    while fp32.timed(count) < _ONE_PASS and count < most:
        count = min(most, 4 * count)
    for number in dict.fromkeys((count, most)):
        count, started = number, time.perf_counter()
        for turn in range(1, _TURNS + 1):
            bf16.timed(count)
            fp32.timed(count)
            if time.perf_counter() - started > (_ALL_PASSES if turn > 1 else 4 * _ALL_PASSES):
                break
        if bf16.best > _FAR_SLOWER * fp32.best:
            break
    if (fp32.finite & ~bf16.finite).any():
        return None
    return PassTime(images=count, fp32=fp32.best, bf16=bf16.best)


class _Clock:
    """Times passes in one precision; `best` is of the largest number of images so far."""

    def __init__(self, context: EvaluationContext, images: Tensor, *, bf16: bool) -> None:
        self._context, self._images, self._bf16 = context, images, bf16
        self._count, self.best, self.finite = 0, 0.0, torch.empty(0)

    def timed(self, count: int) -> float:
        """Send the first images forward and back through all models; return the seconds."""
        context, images = self._context, self._images[:count]

        def all_models(points: Tensor) -> Tensor:
            return torch.cat([_pass(model, points, bf16=self._bf16) for model in context.models], dim=1)

        started = time.perf_counter()
        self.finite = torch.cat(in_batches(images, context.batch_size, all_models)).cpu()  # wait for a GPU
        seconds = time.perf_counter() - started
        self.best = seconds if count > self._count else min(seconds, self.best)
        self._count = count
        return seconds


def _fitting(context: EvaluationContext, *, bf16: bool) -> int:
    """Return the batch size of the models that the memory of a forward and backward pass allows."""
    most, memory = _MAX_BATCH.get(context.kind, _MAX_BATCH["cpu"]), available_memory(context.device)
    budget = _CPU_MEMORY if memory is None else memory // 2
    budget = min(budget, _CPU_MEMORY) if context.kind == "cpu" else budget
    image = context.images.take(slice(1)).to(context.device).pixels(slice(None))
    try:
        per_image = max(_bytes_per_image(model, image, bf16=bf16) for model in context.models)
    except Exception as error:  # of code that can't be watched
        if isinstance(error, UserCodeError) and error.quits:
            raise
        return 1 if is_out_of_memory(error) else most
    if context.kind == "cpu":
        most = max(most, min(_MAX_BATCH["cuda"], _CACHED // per_image))
    return max(1, min(most, int(budget / (_OVERHEAD * per_image))))


def _bytes_per_image(model: nn.Module, image: Tensor, *, bf16: bool) -> int:
    """Return the bytes that a second image adds to the tensors of a forward and backward pass."""
    needed: list[int] = []
    for images in (image, image.expand(2, -1, -1, -1).contiguous()):
        with TensorMemory() as memory:
            _pass(model, images, bf16=bf16)
        needed.append(memory.most)
    return max(needed[1] - needed[0], image.numel() * image.element_size())


def _pass(model: nn.Module, images: Tensor, *, bf16: bool) -> Tensor:
    """Send images (N, C, H, W) forward and back; return where logits and gradients are finite."""
    with torch.enable_grad(), seeding.isolated(0), frozen(model):
        points = images.clone().requires_grad_()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = model(points)
        gradient = input_gradient(logits.float().sum(), points)
    return torch.isfinite(torch.cat([logits.detach(), gradient.flatten(1).sum(dim=1, keepdim=True)], dim=1))
