"""What a suite says of itself."""

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.prompts import Prompt, Suite, checked_messages, split_variant


def suite(judge_prompts):
    prompts = [Prompt(name, ({"role": "user", "content": name},)) for name in "ab"]
    return Suite("s", prompts, "s.yaml", "0" * 64, judge_prompts=judge_prompts)


def test_the_rubric_that_all_prompts_share() -> None:
    shared = suite({"a": {"x": "{answer}", "y": "1{answer}"}, "b": {"x": "{answer}", "y": "2{answer}"}})
    assert shared.metrics == ("x", "y")
    assert shared.rubric("x") == "{answer}"
    with pytest.raises(RingfenceError, match=r"s\.yaml: judge prompt 'y' differs from prompt to prompt"):
        shared.rubric("y")
    with pytest.raises(RingfenceError, match=r"^s\.yaml: no judge prompt 'yy'\. Did you mean \"y\"\?"):
        shared.rubric("yy")
    with pytest.raises(RingfenceError, match="'x' is not there for every prompt"):
        suite({"a": {"x": "{answer}"}}).rubric("x")
    with pytest.raises(RingfenceError, match="judge prompts: none"):
        suite({}).rubric("x")


def test_a_suffix_is_a_form_only_next_to_its_plain_form() -> None:
    ids = {"wish", "wish_json", "wish_template", "wish_python", "wish_flask_template", "wish_long", "parse_json"}
    assert {name: split_variant(name, ids) for name in sorted(ids)} == {
        "parse_json": ("parse_json", None),
        "wish": ("wish", None),
        "wish_flask_template": ("wish", "flask_template"),
        "wish_json": ("wish", "json"),
        "wish_long": ("wish_long", None),
        "wish_python": ("wish", "python"),
        "wish_template": ("wish", "template"),
    }


@pytest.mark.parametrize("key", ["reasoning_content", "images", "system", "tool_call_id", "tool_calls", "weight"])
def test_a_turn_with_more_than_its_text_is_refused(key: str) -> None:
    asked = {"role": "user", "content": "Hi"}
    turns = [{"role": "tool", "content": "a", "name": "b", "id": "c", key: ["x"]}, asked]
    with pytest.raises(RingfenceError, match=rf"^here: the tool turn has `{key}`, which cannot be asked here"):
        checked_messages(turns, "here")
    empty = [{**turns[0], key: None}, {**asked, key: []}]
    assert checked_messages(empty, "here") == ({"role": "tool", "content": "a"}, asked)
