"""What `recommended` is: defenses that go together, kept in a run by what they are."""

from ringfence.defenses import DEFENSES
from ringfence.defenses.recommended import RECOMMENDED
from ringfence.defenses.together import require_together
from ringfence.recipe.run import parse_recipe


def test_it_is_resolved_in_the_recipe_to_what_it_is() -> None:
    recipe = parse_recipe({"data": {"target": "t.jsonl"}, "defenses": ["recommended"]}, "r.yaml")
    require_together(recipe.defenses)
    assert recipe.defenses == DEFENSES.parse_list([*RECOMMENDED.items])
    written = recipe.resolved()["defenses"]
    assert [next(iter(one)) for one in written] == [next(iter(one)) for one in RECOMMENDED.items]
    assert "recommended" not in str(written)
