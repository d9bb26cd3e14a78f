"""The directions in which a run has moved activations, against a forward pass of each model by itself."""

from pathlib import Path

import pytest
import torch

from ringfence.core.errors import RingfenceError
from ringfence.data import read
from ringfence.data.render import render_content
from ringfence.models.activations import capture_hidden_states
from ringfence.recipe.run import load_recipe
from ringfence.runs.components import components
from ringfence.runs.stages import load_model, stages_of, tuned_model


def test_they_span_what_the_answers_have_moved_by(trained: tuple[Path, Path, Path]) -> None:
    recipe, run, _ = trained
    spec = str(recipe.parent / "safe.jsonl")
    found = components(run, spec, [2], 2)
    assert {key: found.metadata[key] for key in ("method", "count", "run", "data")} == {
        "method": "principal",
        "count": 2,
        "run": "small",
        "data": spec,
    }
    checked = load_recipe(recipe)
    loaded, means = load_model(checked.model), []
    for tuned in (False, True):
        model = tuned_model(loaded.model, stages_of(checked, run)) if tuned else loaded.model
        for row in read(spec):
            content = render_content(row["messages"], loaded.tokenizer, "assistant")
            with torch.no_grad(), capture_hidden_states(model, [2]) as seen:
                model(input_ids=torch.tensor([content.input_ids]))
            means.append(seen.layers[2][0][torch.tensor(content.mask)].mean(0))
    rows = torch.stack(means[6:]) - torch.stack(means[:6])
    wanted = torch.linalg.svd(rows.double()).Vh[:2].float()
    torch.testing.assert_close(found.bases[2] @ found.bases[2].T, wanted.T @ wanted, rtol=1e-3, atol=1e-3)


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="run"):
        components(tmp_path, "builtin:glitter/safe", [1], 1)
