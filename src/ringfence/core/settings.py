"""Settings from YAML: read safely, changed by ``key=value``; each error of a pydantic model is one line."""

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, ValidationInfo, field_validator

from ringfence.core.errors import SECRET, RingfenceError, did_you_mean, shown
from ringfence.core.plain import DEEPEST, LONG_INTEGER, refuse_pointer_at, require_plain


class StrictConfig(BaseModel):
    """Base of settings in which a number is a finite one, and neither true nor false, which pydantic takes for 1, 0."""

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        refuse_boolean(value, cls.model_fields[info.field_name or ""].annotation)
        return value


def refuse_other(settings: BaseModel, keys: Sequence[str], beside: str) -> None:
    """Raise ``ValueError`` for one of ``keys`` that is not at its default, since it does nothing ``beside``."""
    for key in keys:
        if getattr(settings, key) != type(settings).model_fields[key].default:
            raise ValueError(f"{key}: without effect with {beside}; leave it out")


def refuse_boolean(value: Any, hint: Any) -> None:
    """Raise ``ValueError`` for true or false, also in a list, where the type ``hint`` has numbers and no booleans."""
    kinds = _kinds(hint)
    if bool in kinds or not {int, float} & kinds:
        return
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, bool):
            raise ValueError(f"Input should be a number, got {str(item).lower()}")


def _kinds(hint: Any) -> set[Any]:
    """The types that a type hint is made of."""
    arguments = get_args(hint)
    return {hint}.union(*map(_kinds, arguments)) if arguments else {hint}


def check_fields(config: str, known: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` checked against the fields of TRL's or PEFT's dataclass ``config``, by name and by type.

    ``known`` is :func:`ringfence.core.source_fields.fields_in`. Raises ``ValueError`` that begins with a dot and the
    field's name.
    """
    checked = dict(values)
    for key, value in values.items():
        if key not in known:
            raise ValueError(f".{key}: {config} has no such field.{did_you_mean(key, known)}")
        if known[key] is None:
            continue  # types of the library's own, checked when the config is built
        try:
            refuse_boolean(value, known[key])
            checked[key] = TypeAdapter(known[key]).validate_python(value)  # "1e-4" in quotes is a number, too
        except ValidationError as error:
            raise ValueError(f".{key}: {error.errors()[0]['msg']}, got {shown(value)}") from None
        except ValueError as error:
            raise ValueError(f".{key}: {error}") from None
    return checked


def read_plain(path: Path, overrides: Sequence[str] = (), names: Collection[str] = ("model",)) -> dict[str, Any]:
    """A recipe's YAML as plain data with ``overrides`` in it; its keys are not checked yet.

    Its key ``base`` names another recipe, relative to it, whose keys it changes and adds to, mappings key by key. The
    top-level keys ``names`` may be written as a bare string, the ``name`` of the mapping that overrides reach into.

    Raises :class:`RingfenceError` with the file and the line for what is no YAML mapping, and for a bad override.
    """
    return override(_over_its_base(path, ()), overrides, names)


def _over_its_base(path: Path, within: tuple[Path, ...]) -> dict[str, Any]:
    data = _read(path)
    if "base" not in data:
        return data
    base, here = data.pop("base"), path.resolve()
    if not isinstance(base, str) or not base:
        raise RingfenceError(f"{path}: base: give the path of another recipe, relative to this one")
    there = path.parent / base
    if there.resolve() in (*within, here):
        raise RingfenceError(f"{path}: base: {base} leads back to this recipe; leave it out")
    return merged(_over_its_base(there, (*within, here)), data)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``: mappings key by key, anything else is replaced whole."""
    both = {key for key in changes if isinstance(base.get(key), dict) and isinstance(changes[key], dict)}
    return {**base, **changes, **{key: merged(base[key], changes[key]) for key in both}}


def _read(path: Path) -> dict[str, Any]:
    try:
        refuse_pointer_at(path)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RingfenceError(f"{path}: cannot read the recipe ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise RingfenceError(f"{path}: cannot read the recipe: byte {error.start} is not UTF-8") from None
    try:
        data = _load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RingfenceError(f"{path}{where}: not valid YAML: {problem}") from None
    except RingfenceError as error:
        raise RingfenceError(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise RingfenceError(f"{path}: a recipe is a mapping of keys such as model, data and defenses")
    return data


def _load(text: str) -> Any:
    """The plain data in YAML. Raises :class:`RingfenceError` for endless depth and endless integers."""
    open_brackets = itertools.accumulate({"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0) for character in text)
    try:
        if max(open_brackets, default=0) > DEEPEST:  # which the parser would need minutes for
            raise RecursionError
        data = yaml.load(text, _Loader)
    except RecursionError:
        raise RingfenceError("the YAML is nested too deep to be read: make it flatter") from None
    except ValueError as error:
        if "integer string conversion" in str(error):  # of int(), which takes 4,300 digits
            raise RingfenceError(LONG_INTEGER) from None
        # A date that is none.
        raise RingfenceError(f"a value cannot be read: {' '.join(str(error).split())}; quote it") from None
    require_plain(data)
    return data


class _Loader(yaml.SafeLoader):
    """Safe YAML with 1e-4 as a number, as YAML 1.2 has it, and without doubled keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`, which keys beside it may override
                continue
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {shown(key)} stands twice", problem_mark=key_node.start_mark
                )
            keys.append(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def override(data: dict[str, Any], overrides: Sequence[str], names: Collection[str] = ("model",)) -> dict[str, Any]:
    """Set ``overrides``, each ``dotted.key=value``, in ``data`` and return it; ``names`` as in :func:`read_plain`."""
    for one in overrides:
        _set(data, one, names)
    return data


def _set(data: dict[str, Any], one: str, names: Collection[str]) -> None:
    key, equals, text = one.partition("=")
    if not equals or not key:
        raise RingfenceError(f"{shown(one)}: an override is key=value, e.g. training.learning_rate=1e-4")
    try:
        value = _load(text)
    except yaml.YAMLError:
        given = "" if SECRET.search(key) else f"{shown(text)} "
        raise RingfenceError(f"{key}: {given}is not a YAML value; quote it") from None
    except RingfenceError as error:
        raise RingfenceError(f"{key}: {error}") from None
    assign(data, key, value, names)


def assign(data: dict[str, Any], key: str, value: Any, names: Collection[str] = ("model",)) -> None:
    """Set ``value``, plain data, at the dotted ``key`` in ``data``; ``names`` as in :func:`read_plain`.

    Raises :class:`RingfenceError` that begins with the key.
    """
    keys = key.split(".")
    *path, last = keys
    if path and path[0] in names and isinstance(data.get(path[0]), str):
        data[path[0]] = {"name": data[path[0]]}
    place: Any = data
    for depth, name in enumerate(path):
        index = _index(place, name, key)
        if isinstance(place, dict) and place.get(index) is None:
            if depth + 1 < len(keys) and keys[depth + 1].isdecimal():
                raise RingfenceError(f"{key}: the recipe has no list {name}; set it whole, e.g. '{name}=[...]'")
            place[index] = {}
        place = place[index]
    place[_index(place, last, key)] = value


def _index(place: Any, name: str, key: str) -> str | int:
    """``name`` as a key of a mapping or an index of a list; raises :class:`RingfenceError` if it cannot be."""
    if isinstance(place, list):
        if not name.isdecimal() or int(name) >= len(place):
            raise RingfenceError(f"{key}: {shown(name)} is not an index of a list of {len(place)}")
        return int(name)
    if not isinstance(place, dict):
        raise RingfenceError(
            f"{key}: {shown(name)} cannot be set inside {shown(place)}; set the whole, e.g. KEY={{{name}: ...}}"
        )
    return name


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All faults of a pydantic error on one line, each with its key's path.

    A validator that looks inside its value raises a message that begins with a dot, which goes on with the path.
    """
    faults = "; ".join(_fault(fault, model) for fault in error.errors(include_url=False))
    return " ".join(faults.splitlines())


def _fault(fault: Any, model: type[BaseModel]) -> str:
    path = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        known = _known_at(model, path[:-1])
        return f"unknown key {shown('.'.join(path))}.{did_you_mean(path[-1], known)}"
    if fault["type"] == "missing":
        return f"{'.'.join(path)} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    if message.startswith(inner := ".unknown key '"):  # of a model that was validated by itself
        return message.replace(inner, f"unknown key '{'.'.join(path)}.", 1)
    secret = bool(path and SECRET.search(path[-1]))
    given = f", got {shown(fault['input'])}" if fault["type"] != "value_error" and not secret else ""
    joint = "" if message.startswith(".") else ": "
    return f"{'.'.join(path)}{joint}{message}{given}" if path else message + given


_KEY_PREFIX = re.compile(r"(sk|pk|rk|gsk|hf|xai|pplx|ghp|glpat|nvapi|r8|AIza|AKIA)[-_A-Z0-9]")


def environment_name(value: str) -> str:
    """``value``, if it can name an environment variable; to validate a setting with.

    Raises ``ValueError`` that does not show it: whoever mistook the setting has put the key itself there.
    """
    # A long word with a digit in it is in no variable's name, but most keys are one.
    key_like = _KEY_PREFIX.match(value) or any(len(word) >= 16 and re.search(r"\d", word) for word in value.split("_"))
    if key_like or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            "give the name of an environment variable, such as OPENAI_API_KEY, and never the key; what stands there is "
            "not shown, as it may be one"
        )
    return value


def _known_at(model: type[BaseModel], path: Sequence[str]) -> set[str]:
    """Field names of the model that sits at ``path`` inside ``model``."""
    for name in path:
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        inner = [part for part in (annotation, *get_args(annotation)) if isinstance(part, type)]
        model = next((part for part in inner if issubclass(part, BaseModel)), model)
    return set(model.model_fields)
