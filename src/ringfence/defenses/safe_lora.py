"""Safe LoRA: projection of the LoRA update after training (Hsu et al. 2024), as a comparator.

    V = W_aligned - W_base,    C = V V^T / |V|_F,    dW = scaling * B A,    s = cos(C dW, dW)

for every weight matrix with a LoRA adapter ("layer" here). W_aligned is the weight under the adapter, W_base that of
the model from before alignment, found by NAME. Where s is below ``threshold``, or s is among the ``top_k`` lowest:

    B <- C B

Nothing happens while training runs, and checkpoints hold the adapter as it was trained: this is not an in-training
defense but what those are compared with. What it found and did at each layer is in the trainer's ``result()``, and so
in ``result.json``.

Departures from the published code, which pairs parameters in the order of their listing: layers are matched by name, so
adapters on some layers only (``layers_to_transform``) work; ``top_k`` takes exactly k; at equality with the threshold a
layer stays as it is. Its defaults are the 10 lowest layers, or a threshold of 0.5; here there is no default.

C is not an orthogonal projector: its eigenvalues are sigma^2 / |V|_F, with sigma the singular values of V. An update
within the alignment subspace is scaled, too, mostly down to a small part (``Projection.kept``). C is positive
semidefinite, so s is never negative: a threshold of 0 or less measures and changes nothing.

Source: Hsu et al. 2024, https://arxiv.org/abs/2405.16833
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from peft import PeftModel, PeftType
from peft.tuners.lora import LoraConfig, LoraLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from pydantic import Field, model_validator
from torch import nn
from transformers import PreTrainedModel

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import DEFENSES, Defense, DefenseHook, RecipePart, TrainerContext
from ringfence.models.activations import Model, bare
from ringfence.models.load import DTYPES, load
from ringfence.models.quantised import is_packed
from ringfence.models.sharded import overwrite, whole

logger = logging.getLogger(__name__)
_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# These start from base weights as they are; the others (pissa, olora, ...) subtract B A from them.
_INITS = (True, False, "gaussian", "eva", "orthogonal")


@DEFENSES.register("safe_lora")
class SafeLoRA(Defense):
    """Which base model, and which layers."""

    base: str = Field(min_length=1)
    """the model from before alignment: a folder or a hub id; of the same architecture and vocabulary"""
    threshold: float | None = Field(None, ge=-1, le=1)
    """layers whose cosine is below are projected; -1 is plain fine-tuning"""
    top_k: int | None = Field(None, ge=1)
    """instead of ``threshold``: so many layers, those of lowest cosine"""
    trust_remote_code: bool = False
    """whether code that comes with a hub model may run, for ``base``"""

    @model_validator(mode="before")
    @classmethod
    def _base_given(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("base") is None:
            raise ValueError("base is missing: name the model from before alignment, a folder or a hub id")
        return value

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.threshold is None) == (self.top_k is None):
            raise ValueError("give either threshold (a cosine) or top_k (a number of layers)")
        return self

    def inputs(self) -> Sequence[str]:
        """The base model, if it is a folder."""
        return (self.base,)

    def require_compatible(self, part: RecipePart) -> None:
        """Only with a plain LoRA adapter on weights that are not quantised."""
        super().require_compatible(part)
        if part.bits is not None:
            raise RingfenceError(
                f"model.load_in_{part.bits}bit: of quantised weights safe_lora cannot tell what alignment changed in "
                "them; leave one of them out"
            )
        lora = part.lora_config()
        if lora is None:
            raise RingfenceError("lora: safe_lora projects a LoRA adapter and there is none; add lora to the recipe")
        require_plain(lora)

    def needs_model_here(self) -> str | None:
        """The trained weights."""
        return "it projects the trained weights, which stay at the server"

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """Raises :class:`RingfenceError` for a model without a plain LoRA adapter, and for a base that does not fit."""
        if setup.model is None:
            return None
        guard, layers = SafeLoRAHook(self), lora_layers(setup.model)
        if self.top_k is not None and self.top_k > len(layers):
            raise RingfenceError(f"safe_lora.top_k: {self.top_k} is out of range, {len(layers)} layers have an adapter")
        # All of them are looked at: a base that does not fit is to be known now, not after hours of training.
        if not any([bool(direction.any()) for _, direction in guard.directions(setup.model, layers)]):
            raise RingfenceError(
                f"safe_lora.base: {self.base} has the same weights as the model that is trained, so there is no "
                "alignment to keep; name the model from before alignment"
            )
        kept = [name for name, part in bare(setup.model).named_modules() if isinstance(part, AuxiliaryTrainingWrapper)]
        if kept:
            logger.warning("safe_lora: %s: trained whole, so it is not projected", ", ".join(kept))
        return guard


@dataclass(frozen=True)
class Projection:
    """What was found and done at one layer."""

    layer: str
    """its name in the model, e.g. ``model.layers.0.self_attn.q_proj``"""
    cosine: float
    """of C dW and dW, 0 to 1; NaN for a layer whose update or V is zero, which is never projected"""
    kept: float
    """|C dW| / |dW|, the length that a projection leaves; NaN as above"""
    projected: bool


class SafeLoRAHook(DefenseHook):
    """The projection of one run."""

    def __init__(self, config: SafeLoRA) -> None:
        self.config = config
        self.report: tuple[Projection, ...] = ()

    def directions(self, model: Model, layers: Mapping[str, LoraLayer]) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and V, (out, in) in float32, of one of ``layers`` of ``model`` at a time.

        Loads the base model afresh, so that it takes no memory while training runs. Raises :class:`RingfenceError` if
        it cannot be loaded, is of another architecture or vocabulary, lacks a layer, or has it in another shape.
        """
        name = self.config.base
        # In the type of the trained model, so that equal weights are equal and not off by a rounding.
        dtype = _DTYPE_NAMES.get(_weight(next(iter(layers.values()))).dtype, "float32")
        try:
            base = load(name, dtype=dtype, trust_remote_code=self.config.trust_remote_code).model
        except RingfenceError as error:
            raise RingfenceError(f"safe_lora.base: {error}") from error
        _require_same_architecture(name, base, model)
        for key, layer in layers.items():
            aligned, own = _weight(layer), _parameter(base, f"{key}.weight")
            if own is None or own.shape != aligned.shape:
                found = "nothing" if own is None else f"shape {tuple(own.shape)}"
                raise RingfenceError(
                    f"safe_lora.base: {name} has {found} at {key}.weight, and the model that is trained has shape "
                    f"{tuple(aligned.shape)}; name the model that it was made from"
                )
            yield key, aligned.detach().float() - own.detach().to(aligned.device).float()

    @torch.no_grad()
    def after_training(self, model: Model) -> None:
        """Project the chosen layers of ``model`` in place."""
        layers = lora_layers(model)
        found = {name: _project(v, *_factors(model, layers[name])) for name, v in self.directions(model, layers)}
        chosen = self._chosen({name: one.cosine for name, one in found.items()})
        for name in chosen:
            overwrite(layers[name].lora_B[model.active_adapter].weight, found[name].factor)
        self.report = tuple(Projection(name, one.cosine, one.kept, name in chosen) for name, one in found.items())
        logger.info("safe_lora: %d of %d layers projected\n%s", len(chosen), len(found), _table(self.report))

    def summary(self) -> list[dict[str, Any]] | None:
        """The fields of :class:`Projection`, one dictionary a layer; None before ``after_training``."""
        return [asdict(one) for one in self.report] or None

    def _chosen(self, cosines: Mapping[str, float]) -> frozenset[str]:
        defined = [name for name, cosine in cosines.items() if not math.isnan(cosine)]
        if self.config.threshold is None:
            return frozenset(sorted(defined, key=lambda name: cosines[name])[: self.config.top_k])
        return frozenset(name for name in defined if cosines[name] < self.config.threshold)


@dataclass(frozen=True)
class _Projected:
    factor: torch.Tensor
    """C B, (out, r)"""
    cosine: float
    kept: float


def _project(direction: torch.Tensor, b: torch.Tensor, a: torch.Tensor) -> _Projected:
    """C B, and how C B A compares with B A; neither C (out, out) nor B A (out, in) is built.

    Shapes: ``direction`` = V (out, in), ``b`` (out, r), ``a`` (r, in). <X A, Y A> = sum((X^T Y) * (A A^T)).
    """
    factor = direction @ (direction.t() @ b.float()) / direction.norm()  # NaN where V is zero
    gram, exact, moved = a.double() @ a.double().t(), b.double(), factor.double()

    def inner(first: torch.Tensor, second: torch.Tensor) -> float:
        return ((first.t() @ second) * gram).sum().item()

    length, left = (math.sqrt(max(inner(one, one), 0)) if one.isfinite().all() else math.nan for one in (exact, moved))
    if length == 0 or math.isnan(left):
        return _Projected(factor, math.nan, math.nan)
    cosine = inner(moved, exact) / (length * left) if left else 0.0
    return _Projected(factor, min(max(cosine, 0.0), 1.0), left / length)


def _require_same_architecture(name: str, base: PreTrainedModel, model: Model) -> None:
    """Names alone do not tell: a base with more layers, or of another vocabulary, has all that are looked up."""
    trained = _architecture(bare(model))
    for what, found in _architecture(base).items():
        if found != trained[what]:
            raise RingfenceError(
                f"safe_lora.base: {name} has {what} {found}, and the model that is trained has {trained[what]}; "
                "name the model that it was made from"
            )


def _architecture(model: PreTrainedModel) -> dict[str, str | int]:
    config = model.config.get_text_config()
    return {
        "model type": config.model_type,
        "number of layers": config.num_hidden_layers,
        "hidden size": config.hidden_size,
        "vocabulary size": model.get_input_embeddings().weight.shape[0],
    }


def lora_layers(model: Model) -> dict[str, LoraLayer]:
    """The layers with the active adapter, by their names without PEFT's wrappers.

    Raises :class:`RingfenceError`, naming the recipe's key, where the update is not scaling * B A on a linear layer.
    """
    if not isinstance(model, PeftModel):
        raise RingfenceError("lora: safe_lora projects a LoRA adapter and there is none; add lora to the recipe")
    config = model.peft_config[model.active_adapter]
    if config.peft_type != PeftType.LORA or not isinstance(config, LoraConfig):
        raise RingfenceError(f"safe_lora: not with {config.peft_type.value}, only with a LoRA adapter; use lora")
    require_plain(config)
    layers = {name: part for name, part in bare(model).named_modules() if isinstance(part, LoraLayer)}
    found = {}
    for name, layer in layers.items():
        if model.active_adapter in (*layer.lora_A, *layer.lora_embedding_A):
            _require_linear(name, layer, model.active_adapter)
            found[name] = layer
    if not found:
        raise RingfenceError(f"lora: the adapter {model.active_adapter} is on no layer; safe_lora needs one")
    return found


def require_plain(config: LoraConfig) -> None:
    """Raise :class:`RingfenceError`, naming the recipe's key, where the update of ``config`` is not scaling * B A."""
    if config.use_dora:
        raise RingfenceError(
            "lora.use_dora: DoRA rescales the whole weight, so its update is not B A and safe_lora cannot project it; "
            "set it to false"
        )
    if config.bias != "none":
        raise RingfenceError(
            f"lora.bias: {config.bias!r} trains biases, which safe_lora cannot project; set it to none"
        )
    if config.lora_bias:
        raise RingfenceError("lora.lora_bias: trains biases, which safe_lora does not project; set it to false")
    if config.init_lora_weights not in _INITS:
        raise RingfenceError(
            f"lora.init_lora_weights: {config.init_lora_weights!r} changes the weights under the adapter, so safe_lora "
            "finds no alignment in them; leave it out"
        )


def _require_linear(name: str, layer: LoraLayer, adapter: str) -> None:
    base = layer.get_base_layer()
    if layer.merged:
        raise RingfenceError(f"safe_lora: the adapter is merged into {name}, so it cannot be projected; unmerge it")
    if is_packed(base):
        raise RingfenceError(
            f"model: {name} is quantised, so safe_lora cannot tell what alignment changed in it; load it in bfloat16"
        )
    if not isinstance(base, nn.Linear):
        raise RingfenceError(
            f"lora.target_modules: {name} is a {type(base).__name__} and no plain linear layer, so safe_lora cannot "
            "project it; leave it out"
        )
    if adapter in layer.lora_variant:
        variant = type(layer.lora_variant[adapter]).__name__
        raise RingfenceError(
            f"lora: {variant} on {name} is an update other than B A, which safe_lora cannot project; "
            "use plain LoRA or rsLoRA"
        )


def _weight(layer: LoraLayer) -> torch.Tensor:
    """(out, in), under the adapter."""
    return whole(layer.get_base_layer().weight)


def _factors(model: Model, layer: LoraLayer) -> tuple[torch.Tensor, torch.Tensor]:
    """B, (out, r), and A, (r, in)."""
    adapter = model.active_adapter
    return whole(layer.lora_B[adapter].weight), whole(layer.lora_A[adapter].weight)


def _parameter(model: nn.Module, name: str) -> torch.Tensor | None:
    try:
        return model.get_parameter(name)
    except AttributeError:
        return None


def _table(report: tuple[Projection, ...]) -> str:
    width = max(len(one.layer) for one in report)
    rows = [
        f"{one.layer:<{width}}  {one.cosine:6.3f}  {one.kept:6.3f}  {'yes' if one.projected else 'no'}"
        for one in report
    ]
    return "\n".join([f"{'layer':<{width}}  cosine    kept  projected", *rows])
