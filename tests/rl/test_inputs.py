"""A micro-batch of completions as penalties see it."""

import torch

from ringfence.rl.inputs import completions, model_inputs

# Rows: a prompt of one token and a completion of two; one of two and one; one whose completion is left out.
COMPLETED = {
    "prompt_ids": torch.tensor([[0, 5], [6, 7], [6, 7]]),
    "prompt_mask": torch.tensor([[0, 1], [1, 1], [1, 1]]),
    "completion_ids": torch.tensor([[8, 9], [8, 0], [8, 9]]),
    "completion_mask": torch.tensor([[1, 1], [1, 0], [0, 0]]),
}


def test_labels_are_those_of_completions() -> None:
    inputs = model_inputs(COMPLETED)
    assert inputs["input_ids"].tolist() == [[0, 5, 8, 9], [6, 7, 8, 0], [6, 7, 8, 9]]
    assert inputs["attention_mask"].tolist() == [[0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert inputs["labels"].tolist() == [[-100, -100, 8, 9], [-100, -100, 8, -100], [-100] * 4]


def test_distances_compare_completions_and_kl_what_predicts_them() -> None:
    batch = completions(model_inputs(COMPLETED))
    assert batch.states("both").tolist() == [[False, False, True, True], [False, False, True, False], [False] * 4]
    assert batch.predicting("response", "both").tolist() == [
        [False, True, True, False], [False, True, False, False], [False] * 4
    ]  # fmt: skip
    assert batch.predicting("all", "both").tolist() == [
        [False, True, True, False], [True, True, False, False], [False] * 4
    ]  # fmt: skip
    assert (batch.of_source("target") & batch.starts).sum() == 2, "rows that are trained on"
