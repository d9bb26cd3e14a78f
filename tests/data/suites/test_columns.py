"""Columns that are not read: which may be left out, and which may not."""

from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.columns import require_askable, require_nothing_asked

TURNS = [{"role": "user", "content": "Hi."}]
ASK = """sys sysprompt system_msg system_instruction system_content SystemTurn sys_id default_system instructions
instruction persona character preamble scenario role Roles conversation previous_messages turns few_shot passage
document choices chat_template_kwargs tool Tools audios image_url assistant_prefill imageURLs user-persona
document source_document previous_answer answer_format logit_bias stop tools functions""".split()
ABOUT = """id Domain category harm_category SemanticCategory source source_url labels tags notes answer correct_answers
reference split subset author licence paper_doi tool_type role-id question_id Question_Type canary_guid results_dir
good_2 metadata""".split()


@pytest.mark.parametrize("name", ASK)
def test_a_name_that_changes_what_is_asked(name: str) -> None:
    with pytest.raises(RingfenceError, match=f"^row 1: `{name}` changes what is asked or answered.*--without {name}"):
        require_askable({name: "Bob"}, (), "row 1")
    for harmless in (None, "", " ", [], {}, 3, 0.5, True):
        require_askable({name: harmless}, (), "row 1")
    require_askable({name: "Bob"}, (), "row 1", [name])


@pytest.mark.parametrize("name", ABOUT)
def test_a_name_that_is_about_the_question(name: str) -> None:
    for value in ("Bob", ["Bob"], {"by": "Bob"}):
        require_askable({name: value}, (), "row 1")
    with pytest.raises(RingfenceError, match=f"`{name}` changes what is asked"):
        require_askable({name: TURNS}, (), "row 1")


@pytest.mark.parametrize("value", ["Bob sails.", ["Bob"], {"a": 1}])
def test_any_other_text_is_the_users_to_leave_out(value: Any) -> None:
    told = r"^row 1: `backstory` may be a part of what is asked.*suites add NAME FILE --without backstory`\.$"
    with pytest.raises(RingfenceError, match=told):
        require_askable({"backstory": value}, (), "row 1")
    require_askable({"backstory": 7}, (), "row 1")
    require_askable({"backstory": value}, (), "row 1", ["backstory"])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"metadata": {"a": {"system_prompt": "You are Bob"}}}, "metadata.a.system_prompt"),
        ({"extra": [{"from": "human", "value": "Hi."}]}, "extra"),
        ({"extra": {"seed": TURNS}}, "extra.seed"),
    ],
)
def test_objects_are_looked_through(values: dict[str, Any], named: str) -> None:
    with pytest.raises(
        RingfenceError, match=rf"^file: `{named}` changes what .*--without {named.partition('.')[0]}`\."
    ):
        require_nothing_asked(values, "file")
    require_nothing_asked({"metadata": {"system_prompt": "", "note": "a"}, "extra": "text"}, "file")


def test_a_misspelt_name() -> None:
    with pytest.raises(RingfenceError, match=r"unknown key `Systm`\. Did you mean `system`\?"):
        require_askable({"Systm": "a"}, ["system"], "row 1")
