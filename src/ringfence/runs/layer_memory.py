"""What a dense decoder keeps in memory for its backward pass, from its shapes alone.

The formula is that of decoders of the Llama kind (Qwen, Mistral, SmolLM, Gemma, ...): attention of four matrices, a
gated MLP of three, norms. docs/scale.md has it in words. Tests compare it with the bytes that autograd saves.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from ringfence.models.activations import Model, bare

_GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
"""matrices that have one input"""
_NORMED = (0, 2)
"""groups whose input is a norm's output, in the type of the residual stream; others' is in that of products"""


@dataclass(frozen=True)
class Bytes:
    """Bytes an element."""

    weight: int
    """of the base weights, and so of the residual stream"""
    product: int
    """of what matrices are multiplied in: of autocast, or else of the weights"""
    adapter: int
    """of an adapter's weights"""
    autocast: bool

    @property
    def adapter_product(self) -> int:
        """What an adapter's matrices are multiplied in."""
        return self.product if self.autocast else self.adapter

    def copies(self, normed: bool) -> bool:
        """Whether each adapter casts its input, and keeps a copy of its own."""
        return not (self.weight if normed else self.product) == self.adapter == self.adapter_product


@dataclass
class Matrix:
    """One linear layer."""

    inputs: int = 0
    outputs: int = 0
    rank: int = 0
    """of its adapter; 0 without one"""
    trained: bool = False
    """itself"""


@dataclass(frozen=True)
class Layer:
    """One decoder layer."""

    matrices: dict[str, Matrix]
    norms: tuple[int, ...]
    """widths, each norm applied to one vector a token"""
    norms_trained: bool

    @classmethod
    def of(cls, layer: nn.Module) -> "Layer | None":
        """None for a layer of another kind, e.g. a mixture of experts, or an adapter that is no plain LoRA."""
        matrices = {name: Matrix() for group in _GROUPS for name in group}
        norms, norms_trained = dict[str, int](), False
        for path, weight in layer.named_parameters():
            parts = path.split(".")
            matrix = next((matrices[part] for part in parts if part in matrices), None)
            if parts[-1] == "bias" or "lora_B" in parts:
                continue
            if matrix is not None and "lora_A" in parts:
                matrix.rank = weight.shape[0]
            elif matrix is not None and weight.dim() == 2 and parts[-1] == "weight":
                matrix.outputs, matrix.inputs = weight.shape
                matrix.trained = weight.requires_grad
            elif matrix is None and weight.dim() == 1 and "norm" in path:
                norms[path] = weight.numel()
                norms_trained |= weight.requires_grad
            else:
                return None
        if not all(matrix.inputs for matrix in matrices.values()):
            return None
        of_heads = {"q_norm": "q_proj", "k_norm": "k_proj"}  # once a head
        widths = [
            next((matrices[of_heads[part]].outputs for part in path.split(".") if part in of_heads), width)
            for path, width in norms.items()
        ]
        return cls(matrices, tuple(widths), norms_trained)

    @property
    def adapted(self) -> bool:
        """Whether anything in it is trained."""
        return self.norms_trained or any(one.rank or one.trained for one in self.matrices.values())

    @property
    def weights(self) -> int:
        """Elements of its matrices, without adapters."""
        return sum(one.inputs * one.outputs for one in self.matrices.values())

    @property
    def adapter_weights(self) -> int:
        """Elements of the adapters."""
        return sum(one.rank * (one.inputs + one.outputs) for one in self.matrices.values())

    @property
    def attention_width(self) -> int:
        """Of all query heads together."""
        return self.matrices["q_proj"].outputs

    @property
    def widest(self) -> int:
        """Of the MLP."""
        return self.matrices["gate_proj"].outputs

    def saved_a_token(self, size: Bytes, dropout: bool) -> float:
        """Bytes that one token keeps for the backward pass."""
        norms = sum(self.norms) * (4 + (size.weight if self.norms_trained else 0))
        # Queries, keys and values (theirs as often as there are query heads), and what attention gives.
        attention = 4 * self.attention_width * size.product
        mlp = 3 * self.widest * size.product  # gate, its activation, up
        inputs = sum(self._inputs(group, index in _NORMED, size, dropout) for index, group in enumerate(_GROUPS))
        return norms + attention + mlp + inputs

    def saved_at_once(self, size: Bytes) -> float:
        """Bytes that do not grow with tokens: weights that are cast before a product are kept as cast."""
        base = self.weights * size.product if size.weight != size.product else 0
        adapter = self.adapter_weights * size.adapter_product if size.adapter != size.adapter_product else 0
        return base + adapter

    def _inputs(self, names: Iterable[str], normed: bool, size: Bytes, dropout: bool) -> float:
        """Inputs of one group that are kept for the gradients of weights, and what is between an adapter's two."""
        group = [self.matrices[name] for name in names]
        adapters = [one for one in group if one.rank]
        own = size.copies(normed) or dropout
        kept = sum((one.inputs if own else 0) + one.rank for one in adapters) * size.adapter_product
        kept += sum(one.inputs for one in adapters) if dropout else 0  # the mask
        shared = any(one.trained for one in group) or (bool(adapters) and not own)
        if any(one.trained for one in group) and (size.weight if normed else size.product) != size.product:
            return kept + sum(one.inputs for one in group if one.trained) * size.product
        # What attention gives is kept in any case.
        return kept + (group[0].inputs * size.product if shared and list(names) != ["o_proj"] else 0)


def layers_of(model: Model) -> list[Layer | None]:
    """The decoder's layers; None in it for one of another kind, and alone where there are none to be found."""
    layers = getattr(bare(model).get_decoder(), "layers", None)
    return [Layer.of(one) for one in layers] if isinstance(layers, nn.ModuleList) else [None]
