"""Load adapters strictly: fail if any weight does not match.

:class:`Adapters` holds several on one model, all off until one is asked for, so that switching costs nothing.
"""

import gc
import json
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.constants import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_text
from ringfence.models.activations import adapted

_KEEP_THE_BASE = ("gaussian", "eva", "orthogonal", "mica")  # PEFT's ways to begin that leave the base's weights alone
_BECOME_PLAIN = ("pissa", "olora", "corda", "lora_ga")  # those that do not, but that PEFT can save as plain LoRA
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq")  # those that take their part out of the base's weights
_Place: TypeAlias = tuple[nn.Module, str, nn.Module]
"""a module, and under what name it has which child"""
_ADAPTED = (BaseTunerLayer, AuxiliaryTrainingWrapper)
_Forward: TypeAlias = Callable[..., torch.Tensor]


def load_adapter(
    model: PreTrainedModel | PeftModel, folder: Path, trainable: bool = False, name: str = "default"
) -> PeftModel:
    """``model`` with the adapter in ``folder`` on it; beside those it has already, if it is a ``PeftModel``.

    ``name`` is what PEFT calls it; beside others it is not made the active one.

    Raises :class:`RingfenceError` if not every weight of the adapter is in the file, if one in the file finds no place
    in the model, or if the shapes differ: then it was made for another model. Only safetensors are read: PEFT would
    take a pickle, too.
    """
    if not (folder / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise RingfenceError(f"{folder}: has no {SAFETENSORS_WEIGHTS_NAME}; save the adapter as safetensors")
    given = tensor_names(folder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys")  # said below
        try:
            if isinstance(model, PeftModel):
                peft_model = model
                peft_model.load_adapter(str(folder), name, is_trainable=trainable)
            else:
                peft_model = PeftModel.from_pretrained(model, str(folder), name, is_trainable=trainable)
        except (RuntimeError, ValueError) as error:  # shapes, and target modules that the model lacks
            raise RingfenceError(f"{folder}: does not fit the model: {' '.join(str(error).split())[:300]}") from error
    # What the file says may be a name that only a recipe knows: PEFT, when it saves, would ask the hub for it.
    peft_model.peft_config[name].base_model_name_or_path = peft_model.get_base_model().name_or_path or None
    wanted = set(get_peft_model_state_dict(peft_model, adapter_name=name, save_embedding_layers=False))
    missing, homeless = sorted(wanted - given), sorted(key for key in given - wanted if "lora_" in key)
    if missing or homeless:
        what = f"lacks {missing[0]!r}" if missing else f"has {homeless[0]!r}, which the model has no place for"
        raise RingfenceError(
            f"{folder}: {what} ({len(missing)} weights missing, {len(homeless)} without a place); the adapter is of "
            "another model, or was saved with other names"
        )
    return peft_model


def tensor_names(folder: Path) -> set[str]:
    """Names of all tensors in ``folder``. Raises :class:`RingfenceError` for a file that is cut or no safetensors."""
    return {name for file in sorted(folder.glob("*.safetensors")) for name in _names(file)}


def sort_sets(model: nn.Module, folder: Path) -> None:
    """In the ``adapter_config.json`` that ``model`` has just saved to ``folder``, sort what PEFT holds as sets.

    It writes them in the order of their hashes, which is another one in every process.
    """
    for name, config in model.peft_config.items() if isinstance(model, PeftModel) else ():
        path = (folder if name == "default" else folder / name) / CONFIG_NAME
        sets = {key for key, value in config.to_dict().items() if isinstance(value, set)}
        saved = json.loads(path.read_text(encoding="utf-8"))
        settled = {key: sorted(value) if key in sets else value for key, value in saved.items()}
        write_text(path, json.dumps(settled, indent=2, sort_keys=True))


def name_base(folder: Path, name: str | None) -> None:
    """Write ``name`` as the base model into the ``adapter_config.json`` in ``folder``.

    PEFT writes down the folder that the model was loaded from.
    """
    path = folder / CONFIG_NAME
    named = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": name}
    write_text(path, json.dumps(named, indent=2, sort_keys=True))


def require_base_kept(config: PeftConfig, who: str) -> None:
    """Raise where an adapter of ``config``, switched off, does not give back the base model."""
    if config.is_prompt_learning:
        raise RingfenceError(f"{who}: not with {config.peft_type.value}, which adds tokens of its own; use lora")
    bias = getattr(config, "bias", "none")
    if bias != "none":
        raise RingfenceError(
            f"lora.bias: {bias!r} trains the base model's own biases, so there is no reference left for {who}; "
            "set it to none, or name a `reference`"
        )
    init = getattr(config, "init_lora_weights", True)
    if isinstance(init, str) and init.startswith(_CHANGE_THE_BASE):
        raise RingfenceError(
            f"lora.init_lora_weights: {init} changes the weights under the adapter, so there is no reference left for "
            f"{who}; leave it out, or name a `reference`"
        )


class Adapters:
    """Adapters beside each other on ``base``, all off save inside :meth:`on`; gone again after :meth:`close`.

    Others who hold ``base`` meet it as it was. For inference only: parameters are frozen.
    """

    def __init__(self, base: PreTrainedModel, folders: Mapping[str, Path]) -> None:
        """``folders``: name -> adapter folder.

        Raises :class:`RingfenceError` as :func:`load_adapter` does, for a kind of adapter that changes more than
        modules beside the base's own, and where others have adapters on ``base``.
        """
        self.model: PreTrainedModel | PeftModel = base
        if not folders:
            return
        if adapted(base):
            gc.collect()  # an error that was dealt with may have held them, its frames in a circle
        if adapted(base):
            raise RingfenceError("the model has adapters on it already; load it anew, or close what has put them there")
        for folder in folders.values():
            require_beside(folder)
        places = [(parent, name, child) for parent in base.modules() for name, child in parent.named_children()]
        try:
            self._load(folders)
        except BaseException:
            _remove(base, places)
            raise
        self._parts = [module for module in self.model.modules() if isinstance(module, _ADAPTED)]
        _switch_off(self._parts, True)
        self._quick = {name: dict(_quick_forwards(self._parts, name)) for name in folders}
        self._remover = weakref.finalize(self, _remove, base, places)
        self._remover.atexit = False

    def _load(self, folders: Mapping[str, Path]) -> None:
        own = dict(self.model.named_modules())  # still the same ones with adapters around them
        before = _checksums(own)
        for name, folder in folders.items():
            self.model = load_adapter(self.model, folder, name=name)
        after = _checksums(own)
        if changed := sorted(name for name in before if after.get(name) != before[name]):
            raise RingfenceError(
                f"{', '.join(map(str, folders.values()))}: loading has changed {len(changed)} weights of the base, "
                f"{changed[0]} first; it is spoilt, so load the model anew, and merge the adapter that does this"
            )

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Inside, the model answers with that adapter."""
        assert isinstance(self.model, PeftModel)
        self.model.set_adapter(name, inference_mode=True)
        _switch_off(self._parts, False)
        quick = self._quick[name]
        for module, forward in quick.items():
            module.forward = forward
        try:
            yield
        finally:
            for module in quick:
                del module.forward
            _switch_off(self._parts, True)

    def close(self) -> None:
        """Take the adapters off; the base is then as it was, bit by bit."""
        if isinstance(self.model, PeftModel):
            base = self.model.get_base_model()
            self._remover()
            self.model = base


def require_beside(folder: Path) -> PeftConfig:
    """The adapter's settings.

    Raises :class:`RingfenceError` if the base's own outputs would change, or tokens be put before the input.
    """
    way = ""
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise RingfenceError(f"{folder}: is no adapter folder: {' '.join(str(error).split())[:200]}") from error
    if getattr(config, "bias", "none") != "none":
        what = f"trained the base's biases (bias: {config.bias})"
    elif config.is_prompt_learning or config.is_adaption_prompt or getattr(config, "alora_invocation_tokens", None):
        what = f"is of the type {config.peft_type}, which depends on the prompt"
    elif beginning := _rewrites(config):
        what = f"began as {beginning}, which rewrites weights of the base"
        if beginning.startswith(_BECOME_PLAIN):
            way = "save it as plain LoRA (PEFT's save_pretrained with path_initial_model_for_weight_conversion), or "
    else:
        return config
    raise RingfenceError(
        f"{folder}: {what}, so it cannot stand beside others; {way}merge it, and name the merged model"
    )


def _rewrites(config: PeftConfig) -> str:
    """The adapter's way to begin, if the weights that it was trained beside are not the base's; else nothing.

    When PEFT loads PiSSA, OLoRA, LoftQ or KaSA it rewrites the base, which no ``unload`` undoes; CorDA and LoRA-GA have
    done so in training. A way that is not known here is not trusted.
    """
    if getattr(config, "kasa_config", None) is not None:
        return "kasa"
    beginning = getattr(config, "init_lora_weights", True)
    return beginning.lower() if isinstance(beginning, str) and beginning.lower() not in _KEEP_THE_BASE else ""


def _checksums(modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """Name -> checksum of every weight, in case PEFT rewrites some for a kind of adapter that is not refused by name.

    One read of the weights and no copy: nothing on a GPU, seconds for 7B parameters in half precision on a CPU, where
    reading the pool takes hours.
    """
    found: dict[str, int] = {}
    seen: dict[int, int] = {}  # tied weights have two names
    for module_name, module in modules.items():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_meta or type(parameter.data) is not torch.Tensor:
                continue  # elsewhere, or packed by a quantizer
            if id(parameter) not in seen:
                seen[id(parameter)] = _checksum(parameter.data)
            found[f"{module_name}.{name}"] = seen[id(parameter)]
    return found


def _checksum(values: torch.Tensor) -> int:
    """The sum of its bits, 64 at a time as one integer, modulo 2^64."""
    raw = values.contiguous().view(-1).view(torch.uint8)
    if raw.storage_offset() % 8:
        raw = raw.clone()
    whole = len(raw) // 8 * 8
    return int(raw[:whole].view(torch.int64).sum() + raw[whole:].sum())


def _switch_off(parts: list[Any], off: bool) -> None:
    # Unlike PEFT's `enable_adapters`, leaves `requires_grad` alone.
    for module in parts:
        module._disable_adapters = off


def _remove(base: PreTrainedModel, places: Sequence[_Place]) -> None:
    """Every module where it was. Unlike PEFT's `unload`, this also mends what a failed load has left half-done."""
    for parent, name, child in places:
        setattr(parent, name, child)
    vars(base).pop("peft_config", None)


def _quick_forwards(parts: list[Any], name: str) -> Iterator[tuple[nn.Module, _Forward]]:
    """What plain LoRA on plain linear layers is replaced by: the same sum in two products and no copies.

    PEFT widens the input to the adapter's float32, multiplies by ``scaling``, adds, and rounds back: as many passes
    over memory as take most of the layer's own time in a large half-precision model. Here the update is multiplied in
    the model's own type and added within the product; to float32 models that is the same up to rounding.
    """
    for module in parts:
        if type(module) is not LoraLinear or type(module.base_layer) is not nn.Linear or name not in module.lora_A:
            continue
        down, up = module.lora_A[name], module.lora_B[name]
        if name in module.lora_variant or down.bias is not None or up.bias is not None or module.merged:
            continue  # PEFT's own way
        like = module.base_layer.weight.dtype
        scaled = (up.weight.detach() * module.scaling[name]).to(like).t()  # (r, out)
        yield module, partial(_quick_forward, module.base_layer, down.weight.detach().to(like).t(), scaled)


def _quick_forward(base: nn.Linear, down: torch.Tensor, up: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """base(x) + x A^T B^T: ``down`` (in, r), ``up`` (r, out), with the scaling in it."""
    out = base(x)
    out.view(-1, out.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]) @ down, up)  # nobody else holds what base returns
    return out


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError, ValueError) as error:  # the last for an empty file
        raise RingfenceError(
            f"{file}: is no whole safetensors file ({' '.join(str(error).split())[:100]}); save the adapter again, or "
            "fetch it whole"
        ) from error
