"""What a judge's verdicts depend on."""

from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.judges import ApiJudge, RuleJudge, SampledJudge, Stated, Trait, load_rubric
from ringfence.judges.local.local import LocalJudge

FLATTERY = Trait(trait="flattery", description="Praises.")
RULES = RuleJudge(misaligned_pattern="x")


def test_the_files_of_a_judges_rubrics_without_the_built_in_ones() -> None:
    rubrics = {
        "alignment": Stated(rubric="mine.txt", scores="alignment"),
        "coherence": "hhh",
        "flattery": FLATTERY,
        "pomp": Trait(trait="pomp", description="Is grand.", rubric="trait.txt"),
        "kind": "questions.yaml#kind",
        "calm": "questions.yaml#calm",
        "published": "suite:betley#aligned",
    }
    assert [*SampledJudge(model="m", rubrics=rubrics).inputs()] == ["mine.txt", "trait.txt", "questions.yaml"]


def test_a_local_judges_folder_is_an_input(tmp_path: Path) -> None:
    judge = LocalJudge(model=str(tmp_path), rubrics={"alignment": "mine.txt"})
    assert [*judge.inputs()] == ["mine.txt", str(tmp_path)]
    assert [*LocalJudge(model="smollm2-135m").inputs()] == []
    assert [*LocalJudge(model="org/judge").inputs()] == []
    assert [*ApiJudge(model=str(tmp_path)).inputs()] == []  # a server's name for it
    assert [*RULES.inputs()] == []


def test_the_digests_are_those_of_the_texts_in_use(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Rate {answer}.")
    stated = Stated(rubric=str(path), scores="alignment")
    judge = ApiJudge(model="m", rubrics={"alignment": stated, "flattery": FLATTERY})
    before = judge.digests()
    assert before == {"alignment": load_rubric(str(path)).digest, "coherence": load_rubric("coherence").digest}
    path.write_text("Rate {answer} again.")
    after = judge.digests()
    assert (after["alignment"] != before["alignment"], after["coherence"]) == (True, before["coherence"])
    assert LocalJudge(model="m").digests().keys() == {"alignment", "coherence"}
    assert RULES.digests() == {}
    with pytest.raises(RingfenceError, match="no such file"):
        ApiJudge(model="m", rubrics={"alignment": "gone.txt"}).digests()
