"""What a law that names good settings is, and the two ways of telling a study: as a belief, and as a prior mean."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.bowl import CURVATURE, DIVERGED, Bowl, curvature_of
from bayesopt.problem.arguments import as_number
from bayesopt.problem.mean import MeanPrior
from bayesopt.problem.parameters import Choice, Int, Simplex
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space

Octaves = tuple[dict[str, float], dict[str, float]]
"""log2 of the settings by the law's names, and their standard deviations in octaves."""

_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "lr": ("lr", "learning_rate", "peak_lr"),
    "batch_size": ("batch_size", "bs", "batch"),
}
"""What the parameters that laws speak of are called in spaces; other names are looked up as they are."""


class Law(ABC):
    """Names good settings of a training run from what is known of it, as a normal belief in log2 of each setting.

    A subclass gives `predict`. Users' own laws need not derive from this: `TrainingTuner` takes any function with
    the signature of `predict`.
    """

    curvature: Mapping[tuple[str, str], float] = CURVATURE
    """Nats that one octave squared costs, by pair of names."""

    @abstractmethod
    def predict(self, features: Mapping[str, Any]) -> Octaves:
        """The settings that it names.

        Args:
            features: What is known of the run: "N" parameters without embeddings, "D" training tokens, and whatever
                else a law needs.

        Returns:
            log2 of each setting, and standard deviations in octaves.
        """

    def bowl(self, features: Mapping[str, Any], clip: float = DIVERGED) -> Bowl:
        """The law as a bowl around its settings.

        Args:
            features: As in `predict`.
            clip: Nats at which the bowl becomes flat.

        Returns:
            The bowl, by the law's names.
        """
        mean, _ = self.predict(features)
        return Bowl(tuple(mean), np.array(list(mean.values())), curvature_of(mean, self.curvature), clip)

    def as_bowl(self, features: Mapping[str, Any], space: Space, clip: float = DIVERGED) -> MeanPrior:
        """The law as the prior mean of a `Study`, whose objective is a loss in nats to be minimised.

        Args:
            features: As in `predict`.
            space: The study's.
            clip: Nats at which the bowl becomes flat.

        Returns:
            The prior.

        Raises:
            InvalidInputError: If the space lacks a setting.
        """
        bowl = self.bowl(features, clip)
        renamed = Bowl(tuple(names_in(space, bowl.names).values()), bowl.centre, bowl.curvature, clip)
        return MeanPrior(renamed)

    def as_belief(self, features: Mapping[str, Any], space: Space) -> OptimumPrior:
        """The law as a belief about the place of the optimum.

        Args:
            features: As in `predict`.
            space: The study's: whether a parameter is logarithmic decides in what unit its spread is.

        Returns:
            The belief, of a centre that is moved into the space where it lies outside.

        Raises:
            InvalidInputError: If the space lacks a setting.
        """
        mean, sd = self.predict(features)
        beliefs = {}
        for name, parameter in names_in(space, mean).items():
            declared = space[parameter]
            low, high = float(declared.low), float(declared.high)  # type: ignore[union-attr]  # names_in saw numbers
            centre = min(max(2.0 ** mean[name], low), high)
            factor = 2.0 ** sd[name]
            is_log = declared.log  # type: ignore[union-attr]
            centre = round(centre) if isinstance(declared, Int) else centre
            beliefs[parameter] = (centre, factor if is_log else 0.5 * centre * (factor - 1.0 / factor))
        return OptimumPrior(beliefs)


def names_in(space: Space, names: Mapping[str, Any] | tuple[str, ...]) -> dict[str, str]:
    """How a space calls the settings of a law.

    Args:
        space: The space.
        names: The law's names.

    Returns:
        The law's name to the space's.

    Raises:
        InvalidInputError: If the space has no number of that name with positive bounds.
    """
    found = {}
    for name in names:
        accepted = _ALIASES.get(name, (name,))
        parameter = next((alias for alias in accepted if alias in space), None)
        if parameter is None:
            raise InvalidInputError(
                f"law: it speaks of {name!r}, and the space has {list(space.names)}; call the parameter "
                f"{' or '.join(map(repr, accepted))}."
            )
        declared = space[parameter]
        if isinstance(declared, Choice | Simplex) or declared.low <= 0:
            raise InvalidInputError(
                f"law: {parameter!r} must be a Float or an Int of positive values for a law in octaves, got "
                f"{declared!r}."
            )
        found[name] = parameter
    return found


def feature(features: Mapping[str, Any], name: str, meaning: str) -> float:
    """One positive feature.

    Args:
        features: What is known of a run.
        name: Which.
        meaning: What it is, for the message.

    Returns:
        It.

    Raises:
        InvalidInputError: If it is missing or not positive.
    """
    if name not in features:
        raise InvalidInputError(f"features: {name!r} is missing ({meaning}); got {sorted(features)}.")
    number = as_number(f"features[{name!r}]", features[name], InvalidInputError)
    if not 0.0 < number < np.inf:
        raise InvalidInputError(f"features[{name!r}]: expected a positive finite number ({meaning}), got {number!r}.")
    return number


class FixedLaw(Law):
    """A law whose settings do not depend on features."""

    def __init__(self, mean: Mapping[str, float], sd: Mapping[str, float]) -> None:
        """Keep them.

        Args:
            mean: log2 of each setting.
            sd: Standard deviation in octaves, by the same names.
        """
        self._mean, self._sd = dict(mean), dict(sd)

    @override
    def predict(self, features: Mapping[str, Any]) -> Octaves:
        """The settings, whatever the features."""
        return dict(self._mean), dict(self._sd)
