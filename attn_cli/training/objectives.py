"""What a model can be trained for, by name."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from attn_cli.errors import UsageError
from attn_cli.training.masked import MASKED
from attn_cli.training.next_token import NEXT
from attn_cli.training.objective import Objective
from attn_cli.training.settings import TrainingSettings
from attn_cli.training.translate import TRANSLATE

OBJECTIVES: dict[str, Objective] = {"next": NEXT, "masked": MASKED, "translate": TRANSLATE}


def refuse_idle(name: str, given: Iterable[str]) -> None:
    """Raises UsageError if one of the settings given acts in other objectives only."""
    for setting in given:
        acts = [key for key, objective in OBJECTIVES.items() if setting in objective.options]
        if acts and name not in acts:
            option = setting.replace("watched", "watch").replace("_", "-")
            raise UsageError(
                f"--{option} has no effect with --objective {name}",
                f"it belongs to --objective {' and '.join(acts)}",
            )


def acting(settings: TrainingSettings) -> dict[str, Any]:
    """The settings that a run depends on, without those that act in other objectives only."""
    own = OBJECTIVES[settings.objective].options
    others = {name for objective in OBJECTIVES.values() for name in objective.options} - {*own}
    return {name: value for name, value in asdict(settings).items() if name not in others}
