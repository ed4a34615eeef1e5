"""What a model can be trained for: one table, and options that belong to some of it only."""

from dataclasses import fields

import pytest

from attn_cli.cli import train
from attn_cli.errors import UsageError
from attn_cli.training.objectives import OBJECTIVES, acting, refuse_idle
from attn_cli.training.settings import TrainingSettings
from attn_cli.views import train as view
from attn_cli.words import note


def test_the_command_and_the_page_know_every_objective():
    assert tuple(OBJECTIVES) == train.NAMES
    assert set(view.WHAT) == set(OBJECTIVES)
    assert len({str(note(key)) for key in view.WHAT.values()}) == len(OBJECTIVES)
    assert TrainingSettings().objective == "next"


def test_defaults_and_options_are_settings():
    names = {field.name for field in fields(TrainingSettings)}
    for name, objective in OBJECTIVES.items():
        assert names >= {*objective.options, *objective.defaults}
        assert TrainingSettings(objective=name, **objective.defaults).steps > 0


@pytest.mark.parametrize(
    ("objective", "setting", "option", "others"),
    [
        ("masked", "mask", "--mask", "next"),
        ("translate", "mask", "--mask", "next"),
        ("next", "masking_rate", "--masking-rate", "masked"),
        ("translate", "context", "--context", "next and masked"),
        ("translate", "watched_query", "--watch-query", "next and masked"),
    ],
)
def test_an_option_of_other_objectives_is_refused(objective, setting, option, others):
    with pytest.raises(
        UsageError, match=f"{option} has no effect with --objective {objective}"
    ) as e:
        refuse_idle(objective, {"steps": 3, setting: 1})
    assert e.value.hint == f"it belongs to --objective {others}"
    refuse_idle(others.split()[0], {"steps": 3, setting: 1})


def test_a_document_holds_the_settings_that_act():
    told = {name: acting(TrainingSettings(objective=name)) for name in OBJECTIVES}
    assert {"mask", "context"} <= set(told["next"]) and "masking_rate" not in told["next"]
    assert "masking_rate" in told["masked"] and "mask" not in told["masked"]
    assert not {"mask", "context", "masking_rate", "watched_query"} & set(told["translate"])
    assert all({"steps", "seed", "objective"} <= set(known) for known in told.values())
