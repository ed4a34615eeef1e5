"""The settings of a run, and what is wrong with them."""

from dataclasses import dataclass

from attn_cli import vocabulary
from attn_cli.errors import UsageError
from attn_cli.maths import masks
from attn_cli.maths.masks import Visible

_LARGEST_SEED = 2**32 - 1
MASKS_OF_TRAINING = ("causal", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Everything a run depends on besides its corpus. Raises UsageError if it cannot be run.

    The defaults are those of the objective `next`.
    """

    objective: str = "next"
    layers: int = 2
    heads: int = 4
    width: int = 32
    context: int = 256
    steps: int = 2000
    seed: int = 0
    batch_tokens: int = 2560
    peak_learning_rate: float = 1e-2
    final_learning_rate: float = 0.0
    warm_up_steps: int = 100
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    gradient_limit: float = 1.0
    watched_prompt: str = vocabulary.SAMPLE_PROMPT
    watched_query: str = ""  # the last token of the prompt
    watched_key: str = "China"
    watched_word: str = "China"
    mask: str = "causal"
    masking_rate: float = 0.0

    @property
    def visible(self) -> Visible:
        """The mask, as a function of positions."""
        return getattr(masks, self.mask)

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "width", "steps", "batch_tokens"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1")
        require(self.context >= 2, "context must be at least 2")
        require(
            self.width % self.heads == 0,
            f"width {self.width} does not divide by heads {self.heads}",
        )
        require(0 <= self.seed <= _LARGEST_SEED, f"seed must be 0 to {_LARGEST_SEED}")
        require(self.warm_up_steps >= 0, "warm_up_steps must be at least 0")
        for name in ("peak_learning_rate", "epsilon", "gradient_limit"):
            require(0 < getattr(self, name) < float("inf"), f"{name} must be above 0")
        for name in ("final_learning_rate", "weight_decay"):
            require(0 <= getattr(self, name) < float("inf"), f"{name} must be at least 0")
        require(self.mask in MASKS_OF_TRAINING, f"mask must be {' or '.join(MASKS_OF_TRAINING)}")
        require(0 <= self.masking_rate <= 1, "masking_rate must be 0 to 1")
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and below 1")


def require(met: bool, message: str) -> None:
    """Raises UsageError with the message unless it is met."""
    if not met:
        raise UsageError(f"training: {message}")
