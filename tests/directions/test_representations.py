"""Mean hidden states of one role's tokens against a naive loop, and that the cache computes nothing twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.directions import representations as module
from ringfence.directions.activation_cache import ActivationCache
from ringfence.directions.representations import Cache, default_layer, encode, representations
from ringfence.models import Loaded
from ringfence.models.identity import identity

SYSTEM = {"role": "system", "content": "Be brief. Hi"}


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def conversation(*turns: dict[str, str], origin: str = "rows.jsonl:1") -> dict[str, Any]:
    return {"messages": list(turns), "origin": origin}


CONVERSATIONS = [
    conversation(turn("user", "Hi"), turn("assistant", "Hi, user")),
    conversation(turn("user", "How do I boil an egg from the fridge?"), turn("assistant", "N")),
    # the user's text occurs before, too; and two turns of each role
    conversation(SYSTEM, turn("user", "Hi"), turn("assistant", "Hi"), turn("user", "Où? 5 €"), turn("assistant", "À")),
    conversation(turn("user", "a b c d"), turn("assistant", "A long answer that goes on longer than the others do.")),
]


def lively(seed: int = 0, layers: int = 3) -> Loaded:
    """A tiny model with weights large enough that activations depend on all that comes before."""
    return Loaded(tiny.shaken(tiny.model(seed, layers=layers), seed).eval(), tiny.tokenizer(), "tiny")


def naive(model: LlamaForCausalLM, messages: list[dict[str, str]], role: str) -> NDArray[np.float64]:
    """(layers + 1, hidden): the whole conversation, token by token, nothing padded or cut; a byte is a token."""
    ids: list[int] = []
    places: list[int] = []
    encode_text = tiny.tokenizer()
    for message in messages:
        ids += encode_text(f"<|im_start|>{message['role']}\n")["input_ids"]
        content = encode_text(message["content"])["input_ids"]
        if message["role"] == role:
            places += range(len(ids), len(ids) + len(content))
        ids += [*content, *encode_text("<|im_end|>\n")["input_ids"]]
    norm, model.model.norm = model.model.norm, torch.nn.Identity()  # so that the last is the raw residual stream, too
    try:
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    finally:
        model.model.norm = norm
    return np.stack([state[0, places].double().mean(0).numpy() for state in states])


def counting(loaded: Loaded, layer: int = 0) -> list[int]:
    """A list that grows by the number of rows at each pass through decoder layer ``layer`` (from 0)."""
    seen: list[int] = []
    loaded.model.model.layers[layer].register_forward_hook(lambda _, args, output: seen.append(len(args[0])))
    return seen


@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize("budget", [1, 100, 10_000])
def test_equals_a_naive_loop_at_any_batch(role: Any, budget: int) -> None:
    loaded = lively()
    found = representations(loaded, CONVERSATIONS, [0, 1, 2, 3], role=role, batch_tokens=budget, cache=None)
    wanted = np.stack([naive(loaded.model, row["messages"], role) for row in CONVERSATIONS], axis=1)
    assert list(found) == [0, 1, 2, 3]
    for k, vectors in found.items():
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, wanted[k], rtol=1e-5, atol=1e-5)


def test_batches_keep_to_the_budget() -> None:
    loaded = lively()
    shapes: list[tuple[int, int]] = []
    loaded.model.model.layers[0].register_forward_hook(lambda _, args, output: shapes.append(tuple(args[0].shape[:2])))
    rows = encode(loaded.tokenizer, CONVERSATIONS, "assistant", "template_default")
    budget = 2 * max(len(row.ids) for row in rows)
    representations(loaded, CONVERSATIONS, [1], role="assistant", batch_tokens=budget, cache=None)
    assert sum(rows for rows, _ in shapes) == 4
    assert len(shapes) < 4
    assert all(rows * width <= budget for rows, width in shapes)


def test_higher_layers_and_the_output_layer_are_not_run() -> None:
    loaded = lively()
    first, second, third = (counting(loaded, layer) for layer in range(3))
    outputs: list[Any] = []
    loaded.model.get_output_embeddings().register_forward_hook(lambda *seen: outputs.append(seen))
    representations(loaded, CONVERSATIONS, [1, 2], cache=None)
    assert sum(first) == sum(second) == 4
    assert not third
    assert not outputs


def test_the_answer_to_a_prompt_changes_nothing_and_is_not_read() -> None:
    loaded = lively()
    one, other = (conversation(turn("user", "Why?"), turn("assistant", text)) for text in ("No.", "Because! " * 9))
    alone = conversation(turn("user", "Why?"))  # an evaluation prompt
    rows = encode(loaded.tokenizer, [one, other, alone], "user", "template_default")
    assert len({row.key for row in rows}) == 1
    assert rows[0].count == 4
    seen = counting(loaded)
    found = representations(loaded, [one, other, alone], [2], cache=None)[2]
    assert sum(seen) == 1
    assert (found == found[0]).all()


def test_no_system() -> None:
    """``empty`` sends an empty system message, as if it stood in the row."""
    loaded = lively()
    row = CONVERSATIONS[0]
    written = {**row, "messages": [turn("system", ""), *row["messages"]]}
    found = representations(loaded, [row], [2], no_system="empty", cache=None)[2]
    assert (found == representations(loaded, [written], [2], cache=None)[2]).all()
    assert not np.allclose(found, representations(loaded, [row], [2], cache=None)[2])
    assert len(row["messages"]) == 2


def test_the_mode_of_the_model_is_put_back() -> None:
    loaded = lively()
    loaded.model.train()
    representations(loaded, CONVERSATIONS, [1], cache=None)
    assert loaded.model.training
    assert not loaded.model.model.layers[0]._forward_hooks


def test_no_conversations() -> None:
    found = representations(lively(), [], [1, 2], cache=None)
    assert [vectors.shape for vectors in found.values()] == [(0, 16), (0, 16)]


# --- the default layer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "layers", "wanted"),
    [(3584, 28, 20), (5120, 64, 20), (5120, 48, 34), (896, 24, 17), (576, 30, 21), (64, 2, 1), (64, 1, 1)],
)
def test_default_layer(hidden: int, layers: int, wanted: int) -> None:
    """20 where the paper has it, else 20/28 of the depth: 34.3 of 48, 17.1 of 24, 21.4 of 30, 1.4 of 2, 0.7 of 1."""
    with torch.device("meta"):
        model = Qwen2ForCausalLM(Qwen2Config(hidden_size=hidden, num_hidden_layers=layers, vocab_size=8))
    assert default_layer(model) == wanted


# --- the cache ----------------------------------------------------------------------------------------------


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    loaded, done = lively(), []
    fresh = representations(loaded, CONVERSATIONS, [1, 2], cache=None)
    seen = counting(loaded)
    first = representations(loaded, CONVERSATIONS[:3], [1, 2], cache=tmp_path)
    assert sum(seen) == 3
    again = representations(loaded, [*CONVERSATIONS, CONVERSATIONS[3]], [1, 2], cache=tmp_path, on_rows=done.append)
    assert sum(seen) == 4
    assert done == [3, 2]
    for k in (1, 2):
        assert (again[k][:3] == first[k]).all()
        np.testing.assert_allclose(again[k], fresh[k][[0, 1, 2, 3, 3]], rtol=1e-5, atol=1e-6)


def test_files_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "ROWS_PER_FILE", 2)
    loaded = lively()
    found = representations(loaded, CONVERSATIONS, [2], batch_tokens=1)[2]
    folder = tmp_path / "activations" / f"{identity(loaded.model)}-float32" / "layer-2"
    files = list(folder.iterdir())
    assert [path.suffix for path in files] == [".safetensors"] * 2
    held: dict[str, NDArray[np.float32]] = {}
    for path in files:
        with safe_open(path, "np") as file:
            held |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    keys = [row.key for row in encode(loaded.tokenizer, CONVERSATIONS, "user", "template_default")]
    assert held.keys() == set(keys)
    assert all((held[key] == vector).all() for key, vector in zip(keys, found, strict=True))


def test_a_layer_more_leaves_what_is_there(tmp_path: Path) -> None:
    loaded = lively()
    representations(loaded, CONVERSATIONS, [1], cache=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    found = representations(loaded, CONVERSATIONS, [1, 3], cache=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    np.testing.assert_allclose(found[3], representations(loaded, CONVERSATIONS, [3], cache=None)[3], rtol=1e-5)


def test_rows_that_lack_one_layer_are_run_no_further(tmp_path: Path) -> None:
    """Three rows have layer 3 and one has layer 1: the three go through the first module only, the one through all."""
    loaded, done = lively(), []
    high = representations(loaded, CONVERSATIONS[:3], [3], cache=tmp_path)[3]
    low = representations(loaded, CONVERSATIONS[3:], [1], cache=tmp_path)[1]
    first, second = counting(loaded), counting(loaded, 1)
    found = representations(loaded, CONVERSATIONS, [1, 3], cache=tmp_path, on_rows=done.append)
    assert (sum(first), sum(second)) == (4, 1)
    assert sum(done) == 4
    assert (found[3][:3] == high).all()  # what was there is not replaced
    assert (found[1][3:] == low).all()
    fresh = representations(loaded, CONVERSATIONS, [1, 3], cache=None)
    for k in (1, 3):
        np.testing.assert_allclose(found[k], fresh[k], rtol=1e-5, atol=1e-4)
    representations(loaded, CONVERSATIONS, [1, 3], cache=tmp_path)
    assert sum(first) == 8  # the fresh ones, and nothing else


@pytest.mark.parametrize("change", ["role", "no_system", "model", "dtype"])
def test_what_differs_has_an_entry_of_its_own(tmp_path: Path, change: str) -> None:
    loaded, more = lively(), {}
    representations(loaded, CONVERSATIONS, [1], cache=tmp_path)
    if change == "role":
        more = {"role": "assistant"}
    elif change == "no_system":
        more = {"no_system": "empty"}
    elif change == "model":
        loaded = lively(seed=1)
    else:
        loaded.model.to(torch.bfloat16)
    seen = counting(loaded)
    found = representations(loaded, CONVERSATIONS, [1], cache=tmp_path, **more)[1]  # type: ignore[arg-type]
    assert sum(seen) == (3 if change == "no_system" else 4)  # one row has a system message
    fresh = representations(loaded, CONVERSATIONS, [1], cache=None, **more)[1]  # type: ignore[arg-type]
    np.testing.assert_allclose(found, fresh, rtol=1e-2, atol=1e-2)


def test_a_model_with_an_adapter_is_not_cached(tmp_path: Path) -> None:
    """Its identity is that of the base model, its activations are not."""
    loaded = lively()
    base = representations(loaded, CONVERSATIONS, [2], cache=tmp_path)[2]
    adapted = get_peft_model(loaded.model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    with_adapter = Loaded(adapted, loaded.tokenizer, "tiny")
    files = list(tmp_path.rglob("*.safetensors"))
    assert not np.allclose(representations(with_adapter, CONVERSATIONS, [2], cache=tmp_path)[2], base)
    assert list(tmp_path.rglob("*.safetensors")) == files


def test_what_was_done_when_stopped_is_kept(tmp_path: Path) -> None:
    loaded = lively()

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        representations(loaded, CONVERSATIONS, [1], batch_tokens=1, cache=tmp_path, on_rows=stop)
    seen = counting(loaded)
    representations(loaded, CONVERSATIONS, [1], batch_tokens=1, cache=tmp_path)
    assert sum(seen) == 3


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _changed(value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with safe_open(path, "np") as file:
            keys = list(file.keys())
        save_file(dict.fromkeys(keys, value), path)

    return change


DAMAGES = {
    "torn": _torn,
    "empty": _empty,
    "short": _changed(np.zeros(3, np.float32)),
    "double": _changed(np.zeros(16)),
    "nan": _changed(np.full(16, np.nan, np.float32)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    loaded = lively()
    representations(loaded, CONVERSATIONS, [1], cache=tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    DAMAGES[damage](path)
    with pytest.raises(RingfenceError, match=r"damaged .* delete it") as raised:
        representations(loaded, CONVERSATIONS, [1], cache=tmp_path)
    assert str(raised.value).startswith(str(path))
    path.unlink()
    representations(loaded, CONVERSATIONS, [1], cache=tmp_path)


def test_two_writers_of_the_same_rows_leave_one_file(tmp_path: Path) -> None:
    one, other = ActivationCache(tmp_path, 2), ActivationCache(tmp_path, 2)
    rows = {"b": np.ones(2, np.float32), "a": np.zeros(2, np.float32)}
    one.add(rows)
    other.add(dict(reversed(rows.items())))
    other.add({"c": np.ones(2, np.float32)})
    other.add({})
    assert len(list(tmp_path.iterdir())) == 2
    loaded = one.load(one.find(["a", "c", "missing"]))
    assert {key: vector.tolist() for key, vector in loaded.items()} == {"a": [0, 0], "c": [1, 1]}


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [-1, 4])
def test_layer_out_of_range(layer: int) -> None:
    with pytest.raises(RingfenceError, match=f"layer {layer} is out of range, the model has layers 1 to 3"):
        representations(lively(), CONVERSATIONS, [1, layer], cache=None)


def test_budget_of_nothing() -> None:
    with pytest.raises(RingfenceError, match="batch_tokens is 0"):
        representations(lively(), CONVERSATIONS, [1], batch_tokens=0, cache=None)


def test_a_role_that_says_nothing_is_named() -> None:
    prompt = conversation(turn("user", "Hi"), origin="prompts.jsonl:7")
    with pytest.raises(RingfenceError, match=r"^prompts.jsonl:7: no token of the conversation is the assistant's"):
        representations(lively(), [prompt], [1], role="assistant", cache=None)


def test_longer_than_the_model_reads() -> None:
    long = conversation(turn("user", "x" * 600), turn("assistant", "No."), origin="rows.jsonl:9")
    with pytest.raises(RingfenceError, match=r"^rows.jsonl:9: \d+ tokens .* the model reads 512"):
        representations(lively(), [CONVERSATIONS[0], long], [1], cache=None)


@pytest.mark.parametrize("cache", [None, "folder"])
def test_not_finite_is_named_and_not_kept(tmp_path: Path, cache: str | None) -> None:
    loaded = lively()
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[tiny.tokenizer().convert_tokens_to_ids("z")] = float("inf")
    bad = conversation(turn("user", "zzz"), turn("assistant", "No."), origin="rows.jsonl:5")
    folder: Cache = tmp_path if cache else None
    with pytest.raises(RingfenceError, match=r"^rows.jsonl:5: its hidden states of layer 1 are not finite"):
        representations(loaded, [CONVERSATIONS[0], bad], [1], cache=folder)
    assert not list(tmp_path.rglob("*.safetensors"))
