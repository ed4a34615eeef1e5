"""What a model can be trained for, by name."""

from collections.abc import Iterable

from attn_cli.errors import UsageError
from attn_cli.training.masked import MASKED
from attn_cli.training.next_token import NEXT
from attn_cli.training.objective import Objective
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
