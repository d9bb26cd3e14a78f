"""What was generated, counted from completions trained on and from the log."""

import math
from types import SimpleNamespace

from ringfence.rl.generated import generated


def test_prompts_completions_and_their_tokens() -> None:
    """24 and then 40 completions of 10 and 15 tokens, 4 a prompt: 10 prompts, 24 x 10 + 16 x 15 = 480 tokens."""
    args = SimpleNamespace(num_generations=4, num_iterations=1)
    history = [
        {"completions/mean_length": 10.0, "target_rows": 24},
        {"loss": 0.1, "target_rows": 24},  # a step on safe rows
        {"completions/mean_length": 15.0, "target_rows": 40},
    ]
    assert generated(40, args, history) == {"prompts": 10, "rollouts": 40, "completion_tokens": 480}


def test_what_is_trained_on_twice_is_generated_once() -> None:
    args = SimpleNamespace(num_generations=4, num_iterations=2)
    history = [{"completions/mean_length": 10.0, "target_rows": 32}]
    assert generated(32, args, history) == {"prompts": 4, "rollouts": 16, "completion_tokens": 160}


def test_tokens_are_not_known_without_a_log() -> None:
    args = SimpleNamespace(num_generations=4, num_iterations=1)
    assert math.isnan(generated(8, args, [])["completion_tokens"])
    assert generated(0, args, []) == {"prompts": 0, "rollouts": 0, "completion_tokens": 0}
