"""One step of the duel between generator and discriminator, and all that it must remember."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.config.recipe import GeneratorRecipe
from edgehaul_tools.train.architectures.adversarial import Discriminator, Generator
from edgehaul_tools.train.generator.variation import varied
from edgehaul_tools.train.loop.divergence import broken_weight
from edgehaul_tools.train.loop.optimization import DivergedError

_BETAS = (0.0, 0.9)
"""Without momentum the two do not chase each other in circles (Miyato et al. 2018)."""
_STEP_SEEDS = 1_000_003


@dataclass(frozen=True)
class Round:
    """How one step went.

    Attributes:
        discriminator_loss: Its hinge loss: 2 where it can tell nothing, 0 where it is certain.
        generator_loss: The negative mean score of drawn pictures.
    """

    discriminator_loss: float
    generator_loss: float


class Duel:
    """Generator, discriminator, their optimizers, and the generator's averaged weights.

    Args:
        recipe: Their sizes, rates, and the seed.
        classes: Number of classes.
    """

    def __init__(self, recipe: GeneratorRecipe, classes: int) -> None:
        size = {"width": recipe.width, "height": recipe.height}
        self._recipe = recipe
        self.generator = Generator(classes, recipe.latent, recipe.channels, **size)
        self.discriminator = Discriminator(classes, recipe.channels, **size)
        for network in (self.generator, self.discriminator):
            # A third less time for a step on a processor.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs miss it
        self.averaged = copy.deepcopy(self.generator).eval().requires_grad_(requires_grad=False)
        rate = recipe.optimizer.learning_rate
        self._draws = _adam(self.generator, rate * recipe.generator_rate)
        self._judges = _adam(self.discriminator, rate)

    def step(self, real: Tensor, labels: Tensor, number: int) -> Round:
        """Let both learn from one batch.

        Args:
            real: Pictures (B, 3, H, W) in 0..1.
            labels: Their classes (B,).
            number: Of the step; all that is random depends on it and the seed alone.

        Raises:
            DivergedError: A loss or its gradient is not a number any more; the network that it
                is of is still as it was.
        """
        random = torch.Generator().manual_seed(self._recipe.seed * _STEP_SEEDS + number)
        judged = self._judge(real, labels, random)
        drawn = self._draw(labels, random)
        self._average(number)
        return Round(judged, drawn)

    def _judge(self, real: Tensor, labels: Tensor, random: torch.Generator) -> float:
        with torch.no_grad():
            drawn = self.generator(self._noise(len(labels), random), labels)
        flip = self._recipe.augment.flip
        of_real = self.discriminator(varied(real, random, flip=flip), labels)
        of_drawn = self.discriminator(varied(drawn, random, flip=flip), labels)
        loss = functional.relu(1 - of_real).mean() + functional.relu(1 + of_drawn).mean()
        return self._learn(loss, self._judges, self.discriminator, "discriminator")

    def _draw(self, labels: Tensor, random: torch.Generator) -> float:
        drawn = self.generator(self._noise(len(labels), random), labels)
        flip = self._recipe.augment.flip
        # Its own gradients would be thrown away, and cost a third of the step.
        self.discriminator.requires_grad_(requires_grad=False)
        loss = -self.discriminator(varied(drawn, random, flip=flip), labels).mean()
        value = self._learn(loss, self._draws, self.generator, "generator")
        self.discriminator.requires_grad_(requires_grad=True)
        return value

    def _noise(self, count: int, random: torch.Generator) -> Tensor:
        return torch.randn(count, self._recipe.latent, generator=random)

    def _learn(
        self, loss: Tensor, optimizer: torch.optim.Adam, network: nn.Module, name: str
    ) -> float:
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(f"the loss of the {name} became {value}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        largest = self._recipe.optimizer.gradient_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(network.parameters(), largest))
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient of the {name}'s loss {value:.4g} became {norm}")
        optimizer.step()
        return value

    def require_finite(self) -> None:
        """Refuse weights that the last step drove beyond all numbers.

        Raises:
            DivergedError: A weight, or the average of one, is not a number any more.
        """
        for name, part in self._parts().items():
            broken = broken_weight(part) if isinstance(part, nn.Module) else ""
            if broken:
                raise DivergedError(f"the weights {broken} of the {name} network became no numbers")

    @torch.no_grad()
    def _average(self, number: int) -> None:
        # Young averages follow fast, so that the random start is soon forgotten.
        decay = min(self._recipe.optimizer.average_decay, number / (10 + number))
        new = self.generator.state_dict()
        for name, kept in self.averaged.state_dict().items():
            if kept.dtype.is_floating_point:
                kept.lerp_(new[name], 1 - decay)
            else:
                kept.copy_(new[name])

    def state(self) -> dict[str, Any]:
        """Return all that a duel needs to go on to the very same weights."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned, at the recipe's rates."""
        for name, part in self._parts().items():
            rates = [group["lr"] for group in getattr(part, "param_groups", ())]
            part.load_state_dict(state[name])
            for group, rate in zip(getattr(part, "param_groups", ()), rates, strict=True):
                group["lr"] = rate

    def _parts(self) -> dict[str, nn.Module | torch.optim.Adam]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "averaged": self.averaged,
            "draws": self._draws,
            "judges": self._judges,
        }


def _adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=rate, betas=_BETAS)
