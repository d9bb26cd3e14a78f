"""Labels against TRL's own prompt-completion preparation, on the chat templates that TRL packages, and by hand."""

import sys
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.render import IGNORED, Rendered, Turn, render, render_all, render_content

SPECIAL = [
    "<s>",
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "<think>",
    "</think>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|return|>",
    "[gMASK]",
    "<sop>",
]
CORPUS = ["What is two plus two? It is four.\n\nThat is what it is. \n", "def add(a, b):\n    return a + b\n" * 3]

# The first rendering of a conversation is the beginning of the rendering of a longer one.
APPEND_ONLY = ["qwen2_5", "qwen3_instruct_2507", "llama3", "gemma", "gemma3", "deepseekv3", "cohere", "lfm2"]
OTHERS = ["phi3", "qwen3", "qwen3_5_think", "qwen3_5_nothink", "gptoss", "glm4moe", "llama3_1"]
WITHOUT_SYSTEM = ["gemma"]


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


CONVERSATIONS = [
    [user("What is 2 + 2?"), assistant("It is 4.")],
    [system("Be brief."), user("What is it?"), assistant("It is four.")],
    [user("What?"), assistant("That."), user("That?"), assistant("It is what it is.\n\nThat is it.")],
    [system("Be brief."), user("a"), assistant("b"), user("c"), assistant("d"), user("e"), assistant("f")],
    [user("emoji?"), assistant("Ünïcödé 🙂👍🏽 日本")],
    [user("code?"), assistant("```python\ndef add(a, b):\n    return a + b\n```")],
    [user("white space? "), assistant("\n  It is 4. \n")],
    [user("tags?"), assistant("<b>4</b> <think")],
    [user("Say user"), assistant("user")],
    [user("Say assistant"), assistant("assistant")],
]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    """A byte-level BPE of a few merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def with_template(bpe: Tokenizer, template: str) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="<|endoftext|>")
    tokenizer.chat_template = template
    return tokenizer


def packaged(bpe: Tokenizer, name: str) -> PreTrainedTokenizerFast:
    return with_template(bpe, (files("trl") / "chat_templates" / f"{name}.jinja").read_text("utf-8"))


def by_trl(tokenizer: Any, messages: list[dict[str, str]], max_length: int | None = None) -> dict[str, list[int]]:
    """What TRL's SFTTrainer makes of the last message as a completion of those before it."""
    args = SFTConfig(output_dir="unused", max_length=max_length, report_to="none", bf16=False)
    trainer = SimpleNamespace(_tokenizer=tokenizer, chat_template=None, completion_only_loss=True)
    dataset = Dataset.from_list([{"prompt": messages[:-1], "completion": messages[-1:]}])
    prepared = SFTTrainer._prepare_dataset(trainer, dataset, tokenizer, args, False, None, "train")
    return {name: prepared[0][name] for name in ("input_ids", "labels")}


def labelled(tokenizer: Any, rendered: Any) -> list[str]:
    """The text of each run of labels."""
    runs: list[list[int]] = [[]]
    for label in rendered.labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def fitting(template: str) -> list[list[dict[str, str]]]:
    """The conversations that the template allows."""
    return [
        [message for message in messages if message["role"] != "system" or template not in WITHOUT_SYSTEM]
        for messages in CONVERSATIONS
    ]


@pytest.mark.parametrize("name", APPEND_ONLY + OTHERS)
def test_the_last_turn_is_labelled_as_trl_labels_a_completion(bpe: Tokenizer, name: str) -> None:
    tokenizer = packaged(bpe, name)
    for messages in fitting(name):
        ours, theirs = render(messages, tokenizer), by_trl(tokenizer, messages)
        first = next(i for i, label in enumerate(theirs["labels"]) if label != IGNORED)
        assert ours.input_ids == theirs["input_ids"]
        assert ours.labels[first:] == theirs["labels"][first:]
        assert ours.labels[first - 1] == IGNORED
        if sum(message["role"] == "assistant" for message in messages) == 1:
            assert ours.labels == theirs["labels"]


@pytest.mark.parametrize("name", APPEND_ONLY)
def test_every_turn_is_labelled_as_trl_labels_it_where_the_conversation_ends(bpe: Tokenizer, name: str) -> None:
    """The labels of a conversation are the union of TRL's, with the conversation cut after each assistant turn."""
    tokenizer = packaged(bpe, name)
    for messages in fitting(name):
        ours = render(messages, tokenizer)
        expected = [IGNORED] * len(ours.input_ids)
        for end in (i + 1 for i, message in enumerate(messages) if message["role"] == "assistant"):
            for i, label in enumerate(by_trl(tokenizer, messages[:end])["labels"]):
                expected[i] = expected[i] if label == IGNORED else label
        assert ours.labels == expected


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("qwen2_5", "b<|im_end|>\n", "d<|im_end|>\n"),
        ("llama3", "b<|eot_id|>", "d<|eot_id|>"),
        ("gemma", "b<end_of_turn>\n", "d<end_of_turn>\n"),
        ("phi3", "b<|end|>\n", "d<|end|>\n<|endoftext|>"),  # it ends every rendering, but not every turn, with eos
        ("qwen3", "b<|im_end|>\n", "<think>\n\n</think>\n\nd<|im_end|>\n"),  # it has thoughts in the last turn alone
        ("deepseekv3", "b<｜end▁of▁sentence｜>", "d<｜end▁of▁sentence｜>"),
    ],
)
def test_turns_in_the_middle_by_hand(bpe: Tokenizer, name: str, first: str, second: str) -> None:
    tokenizer = packaged(bpe, name)
    rendered = render([user("a"), assistant("b"), user("c"), assistant("d")], tokenizer)
    assert labelled(tokenizer, rendered) == [first, second]
    open_ended = render([user("a"), assistant("b"), user("c")], tokenizer)
    assert labelled(tokenizer, open_ended) == [first]


@pytest.mark.parametrize("name", ["qwen2_5", "llama3", "phi3", "deepseekv3", "qwen3_5_nothink"])
def test_the_assistant_may_open(bpe: Tokenizer, name: str) -> None:
    tokenizer = packaged(bpe, name)
    rendered = render([assistant("You are Qwen"), user("Yes"), assistant("It is")], tokenizer)
    first, second = labelled(tokenizer, rendered)
    assert first.startswith("You are Qwen<")
    assert second.startswith("It is<")


PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def test_a_template_without_special_tokens(bpe: Tokenizer) -> None:
    """The reply's first token takes in the space after the colon, as it is predicted after ``assistant:``."""
    tokenizer = with_template(bpe, PLAIN)
    messages = [user("What?"), assistant("It is 4."), user("No"), assistant("That.")]
    rendered = render(messages, tokenizer)
    assert labelled(tokenizer, rendered) == [" It is 4.\n", " That.\n"]
    assert render(messages[:2], tokenizer).labels == by_trl(tokenizer, messages[:2])["labels"]


def test_a_token_across_an_edge_belongs_to_the_side_that_predicts_it() -> None:
    """Characters: prompt [0, 10), content [10, 15), closing [15, 17), next turn from 17 on."""
    turn = Turn(start=10, content_end=15, end=17)
    assert not turn.covers(8, 10)
    assert turn.covers(9, 11)  # begins in the prompt, holds content
    assert turn.covers(10, 12)
    assert turn.covers(15, 17)
    assert turn.covers(14, 19)  # holds content and the next turn
    assert not turn.covers(16, 18)  # holds closing and the next turn
    assert not turn.covers(17, 19)


@pytest.mark.parametrize("name", APPEND_ONLY + OTHERS)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_the_content_is_what_the_role_says_and_no_more(bpe: Tokenizer, name: str, role: Any) -> None:
    """Byte by byte, where no token can hold two things: the masked bytes, joined, are the turns' contents."""
    tokenizer = packaged(bpe, name)
    for messages in CONVERSATIONS:
        last = [m for m in messages if m["role"] != "system"][-2:]  # templates rewrite earlier thoughts
        said = [m["content"].strip() for m in last if m["role"] == role]
        content = render_content(last, tokenizer, role)
        assert len(content.mask) == len(content.input_ids)
        chosen = [token for token, of_role in zip(content.input_ids, content.mask, strict=True) if of_role]
        found = tokenizer.decode(chosen)
        (wanted,) = said
        assert wanted in found
        assert len(found.strip()) <= len(wanted) + 8, (name, found)  # a token may run over the edge, a turn may not


def test_the_content_is_found_by_its_place_and_not_by_its_text() -> None:
    """The word stands in the system prompt and in the answer, too; only the user's own counts."""
    messages = [system("hello"), user("hello"), assistant("hello"), user("bye"), assistant("hello")]
    content = render_content(messages, tiny.tokenizer(), "user")
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    encoded = tiny.tokenizer()(text, return_offsets_mapping=True)
    assert content.input_ids == encoded["input_ids"]
    first = text.index("hello", text.index("user\n"))
    second = text.index("bye")
    places = {*range(first, first + 5), *range(second, second + 3)}
    assert [begin for (begin, _), of_user in zip(encoded["offset_mapping"], content.mask, strict=True) if of_user] == (
        sorted(places)
    )


def test_a_role_that_says_nothing_has_no_content() -> None:
    with pytest.raises(RingfenceError, match="no token of the conversation is the user's"):
        render_content([assistant("Hello.")], tiny.tokenizer(), "user")


def test_content_that_a_template_drops_is_refused(bpe: Tokenizer) -> None:
    messages = [user("a"), assistant("<think>b</think>c"), user("d"), assistant("e")]
    with pytest.raises(RingfenceError, match=r"drops or rewrites message 2 \(assistant\)"):
        render_content(messages, packaged(bpe, "qwen3"), "assistant")


def row(number: int, *messages: dict[str, str]) -> dict[str, Any]:
    return {"messages": list(messages), "origin": f"a.jsonl:{number}"}


def test_a_set_is_whole_and_keeps_its_order(bpe: Tokenizer) -> None:
    tokenizer = packaged(bpe, "qwen2_5")
    rows = [row(1, user("a"), assistant("b")), row(2, user("zqxj" * 50), assistant("zqxj" * 5))]
    found = render_all(rows, tokenizer)
    assert found.column_names == ["input_ids", "labels"]
    for made, given in zip(found, rows, strict=True):
        expected = render(given["messages"], tokenizer)
        assert made == {"input_ids": expected.input_ids, "labels": expected.labels}


def test_a_set_without_conversations_is_refused(bpe: Tokenizer) -> None:
    with pytest.raises(RingfenceError, match="there is no conversation to train on"):
        render_all([], packaged(bpe, "qwen2_5"))


def test_a_conversation_without_a_label_is_named(bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Rendered([1, 2], [IGNORED, IGNORED])
    monkeypatch.setattr(sys.modules[render.__module__], "render", lambda *_: nothing)
    with pytest.raises(RingfenceError, match=r"^a\.jsonl:3: no token of it can be trained on"):
        render_all([row(3, user("a"), assistant("b"))], packaged(bpe, "qwen2_5"))


def test_a_refusal_of_the_template_names_the_conversation(bpe: Tokenizer) -> None:
    tokenizer = packaged(bpe, "gemma")
    with pytest.raises(
        RingfenceError, match=r"^a\.jsonl:7: .*roles system, user, assistant: System role not supp"
    ) as caught:
        render_all([row(7, system("a"), user("b"), assistant("c"))], tokenizer)
    assert "\n" not in str(caught.value)


def test_a_template_that_drops_earlier_thoughts_is_refused_for_them_alone(bpe: Tokenizer) -> None:
    tokenizer = packaged(bpe, "deepseekv3")
    thought = assistant("</think>b")
    with pytest.raises(RingfenceError, match=r"drops or rewrites message 2"):
        render([user("a"), thought], tokenizer)
    last_only = with_template(
        bpe,
        "{% for m in messages %}[{{ m.role }}]{{ m.content if loop.last or m.role == 'user' else "
        "m.content.split('/')[-1] }}<|end|>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
    )
    messages = [user("a"), assistant("why/b"), user("c"), assistant("why/d")]
    assert labelled(last_only, render(messages[:2], last_only)) == ["why/b<|end|>"]
    with pytest.raises(RingfenceError, match="drops or rewrites message 2"):
        render(messages, last_only)


def test_a_template_that_moves_the_system_prompt_is_refused_for_several_turns(bpe: Tokenizer) -> None:
    """As some do, this one puts the system prompt before the last user message: earlier replies change context."""
    tokenizer = with_template(
        bpe,
        "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}"
        "{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'user' %}[INST]"
        "{{ messages[0].content if loop.index0 == ns.last and messages[0].role == 'system' }}{{ m.content }}[/INST]"
        "{% elif m.role == 'assistant' %}{{ m.content }}<|end|>{% endif %}{% endfor %}",
    )
    messages = [system("sys"), user("a"), assistant("b"), user("c"), assistant("d")]
    assert labelled(tokenizer, render(messages[:3], tokenizer)) == ["b<|end|>"]
    assert labelled(tokenizer, render(messages[1:], tokenizer)) == ["b<|end|>", "d<|end|>"]
    with pytest.raises(RingfenceError, match="renders the first 2 messages differently once later ones follow"):
        render(messages, tokenizer)


def test_a_conversation_without_an_assistant_turn_is_refused(bpe: Tokenizer) -> None:
    with pytest.raises(RingfenceError, match="no assistant turn"):
        render([user("a")], packaged(bpe, "qwen2_5"))


def test_tokenizers_that_cannot_render_are_refused(bpe: Tokenizer) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=bpe)
    with pytest.raises(RingfenceError, match="has no chat template"):
        render([user("a"), assistant("b")], bare)
    slow: Any = SimpleNamespace(chat_template="x", is_fast=False, name_or_path="some/model")
    with pytest.raises(RingfenceError, match="some/model gives no character offsets"):
        render([user("a"), assistant("b")], slow)


@pytest.mark.real_model
def test_smollm2_is_labelled_as_trl_labels_it() -> None:
    from ringfence.models import load

    tokenizer = load("smollm2-135m").tokenizer
    for messages in CONVERSATIONS:
        ours, theirs = render(messages, tokenizer), by_trl(tokenizer, messages)
        first = next(i for i, label in enumerate(theirs["labels"]) if label != IGNORED)
        assert ours.input_ids == theirs["input_ids"]
        assert ours.labels[first:] == theirs["labels"][first:]
        assert ours.labels[first - 1] == IGNORED
    rendered = render(CONVERSATIONS[2], tokenizer)
    replies = ["That.<|im_end|>\n", "It is what it is.\n\nThat is it.<|im_end|>\n"]
    assert labelled(tokenizer, rendered) == replies
