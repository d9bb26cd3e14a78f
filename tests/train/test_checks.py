"""What the trainer refuses."""

import pytest
from datasets import Dataset, IterableDataset

from ringfence.core.errors import RingfenceError
from ringfence.train.checks import refuse_unsupported, require_same_form
from training import arguments

FORMS = {
    "input_ids": Dataset.from_list([{"input_ids": [1], "labels": [1]}]),
    "completion": Dataset.from_list([{"prompt": "a", "completion": "b"}]),
    "messages": Dataset.from_list([{"messages": [{"role": "user", "content": "a"}]}]),
    "text": Dataset.from_list([{"text": "a"}]),
}


@pytest.mark.parametrize("target", FORMS)
@pytest.mark.parametrize("safe", FORMS)
def test_target_and_safe_must_have_one_form(target: str, safe: str) -> None:
    if target == safe:
        require_same_form(FORMS[target], FORMS[safe])
        return
    with pytest.raises(RingfenceError, match=f"`{target}` and the safe dataset of `{safe}`"):
        require_same_form(FORMS[target], FORMS[safe])


def test_a_stream_without_a_length_is_refused(tmp_path: object) -> None:
    stream = IterableDataset.from_generator(lambda: iter([{"text": "a"}]))
    with pytest.raises(RingfenceError, match="map-style"):
        refuse_unsupported(arguments(tmp_path), stream)  # type: ignore[arg-type]


def test_what_is_supported_passes(tmp_path: object) -> None:
    refuse_unsupported(arguments(tmp_path), FORMS["text"])  # type: ignore[arg-type]
    refuse_unsupported(arguments(tmp_path, train_sampling_strategy="sequential"), FORMS["text"])  # type: ignore[arg-type]
