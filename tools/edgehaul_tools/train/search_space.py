"""Which values of a recipe a search may choose, and from what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from edgehaul.config.recipe import Recipe
from edgehaul.errors import UsageError

_RANGE = re.compile(r"(?P<low>[^:,]+?)\.\.(?P<high>[^:,]+?)(?P<log>:log)?")
_FORMS = "KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C"


@dataclass(frozen=True)
class Choice:
    """One value that is searched for.

    Attributes:
        key: Its place in the recipe's section, such as ``optimizer.learning_rate``.
        options: The values to choose from; empty where it is a range.
        low: Start of the range.
        high: End of the range, which may be chosen.
        whole: Whether only whole numbers are meant.
        log: Whether equal factors count as equal steps.
    """

    key: str
    options: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False

    def assignment(self, trial: optuna.Trial) -> str:
        """Let a trial choose; return ``key=value`` as ``overridden`` takes it."""
        if self.options:
            return f"{self.key}={trial.suggest_categorical(self.key, self.options)}"
        if self.whole:
            whole = trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
            return f"{self.key}={whole}"
        return f"{self.key}={trial.suggest_float(self.key, self.low, self.high, log=self.log)!r}"


def parse_choice(text: str) -> Choice:
    """Return the choice that ``KEY=LOW..HIGH[:log]`` or ``KEY=A,B,C`` asks for.

    Raises:
        UsageError: It is neither.
    """
    key, _, written = (part.strip() for part in text.partition("="))
    if not key or not written:
        raise UsageError(f"--vary {text!r} is no choice", remedy=f"write {_FORMS}")
    found = _RANGE.fullmatch(written)
    if found is None:
        options = tuple(option.strip() for option in written.split(","))
        if len(set(options)) < 2 or "" in options:  # noqa: PLR2004 - one is no choice
            raise UsageError(f"--vary {text!r} leaves no choice", remedy=f"write {_FORMS}")
        return Choice(key, options=options)
    return _range(key, text, found["low"], found["high"], log=bool(found["log"]))


def _range(key: str, text: str, low_text: str, high_text: str, *, log: bool) -> Choice:
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        raise UsageError(
            f"--vary {text!r}: the ends of a range are numbers", remedy=f"write {_FORMS}"
        ) from None
    if not (low < high and (low > 0 or not log)):
        raise UsageError(
            f"--vary {text!r}: no range from {low_text} to {high_text}",
            remedy="put the lower end first; a range with :log starts above 0",
        )
    whole = low_text.strip().lstrip("-").isdigit() and high_text.strip().lstrip("-").isdigit()
    return Choice(key, low=low, high=high, whole=whole, log=log)


def usual_choices(recipe: Recipe) -> tuple[Choice, ...]:
    """Return what is worth searching where nothing is named: around the recipe's own values."""
    optimizer = recipe.training.optimizer
    rate, decay = optimizer.learning_rate, max(optimizer.weight_decay, 1e-3)
    # Of a single sample a batch norm learns nothing.
    batches = sorted({max(2, optimizer.batch // 2), optimizer.batch, optimizer.batch * 2})
    return (
        Choice("optimizer.learning_rate", low=rate / 5, high=rate * 5, log=True),
        Choice("optimizer.weight_decay", low=decay / 10, high=decay * 10, log=True),
        Choice("optimizer.batch", options=tuple(str(batch) for batch in batches)),
    )


def choices_of(recipe: Recipe, texts: Sequence[str]) -> tuple[Choice, ...]:
    """Return the choices that ``--vary`` names, or the usual ones.

    Raises:
        UsageError: One is malformed, or a key is named twice.
    """
    choices = tuple(parse_choice(text) for text in texts) or usual_choices(recipe)
    keys = [choice.key for choice in choices]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--vary names {key!r} more than once", remedy="name it once")
    return choices
