"""What Optuna calls distributions and we a space, and configurations on their way between the two.

Optuna's configurations are flat and say nothing of what does not exist; its numbers may go by steps, and its categories
may be any object. Ours know mixtures, and parameters that exist only under others.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from typing_extensions import override

from bayesopt.errors import InvalidParamsError, InvalidSpaceError
from bayesopt.problem.parameters import Choice, Float, Int, Parameter, Simplex
from bayesopt.problem.space import Space

Params = Mapping[str, Any]

MOST_STEPS: Final = 1000
"""A stepped parameter of more values than this becomes an unstepped one where it is declared for good."""


class Translation(Protocol):
    """A space of ours, the distributions that Optuna sees, and the way of a configuration from one to the other."""

    space: Space
    distributions: dict[str, BaseDistribution]

    def to_ours(self, params: Params) -> dict[str, Any]:
        """Optuna's configuration as one of the space.

        Raises:
            InvalidParamsError: If the space does not hold it.
        """
        ...

    def to_optuna(self, params: Params) -> dict[str, Any]:
        """A configuration of the space as Optuna's."""
        ...


class Inferred:
    """A space made for distributions that a study has used: steps and categories are counted, so any will do.

    Example:
        >>> steps = Inferred({"x": FloatDistribution(0.0, 1.0, step=0.25)})
        >>> steps.space["x"], steps.to_ours({"x": 0.75}), steps.to_optuna({"x": 3})
        (Int(0, 4), {'x': 3}, {'x': 0.75})
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """A space for these distributions.

        Args:
            distributions: By parameter name; none of a single value.

        Raises:
            InvalidSpaceError: If one spans numbers that our parameters cannot.
        """
        self.distributions = dict(distributions)
        self.space = Space({name: _counted(distribution) for name, distribution in distributions.items()})

    def to_ours(self, params: Params) -> dict[str, Any]:
        """See `Translation.to_ours`."""
        return self.space.validate({
            name: _position(distribution, params[name])
            for name, distribution in self.distributions.items()
            if name in params
        })

    def to_optuna(self, params: Params) -> dict[str, Any]:
        """See `Translation.to_optuna`."""
        return {name: _at(self.distributions[name], value) for name, value in params.items()}


class Declared:
    """A space that was declared to us, with all that it says; a share of a mixture is a number of its own to Optuna.

    Example:
        >>> mixture = Declared(Space({"mix": Simplex(["web", "code"])}))
        >>> mixture.to_optuna({"mix": {"web": 0.25, "code": 0.75}})
        {'mix.web': 0.25, 'mix.code': 0.75}
    """

    def __init__(self, space: Space) -> None:
        """The distributions of a space.

        Args:
            space: What can be tried.
        """
        self.space = space
        self.distributions: dict[str, BaseDistribution] = {}
        for name, parameter in space.items():
            self.distributions |= _distributions(name, parameter)

    def to_ours(self, params: Params) -> dict[str, Any]:
        """See `Translation.to_ours`."""
        values: dict[str, Any] = {}
        for name, parameter in self.space.items():
            if isinstance(parameter, Simplex):
                shares = {share: params[flat] for share, flat in _shares(name, parameter) if flat in params}
                if shares:
                    values[name] = shares
            elif name in params:
                values[name] = params[name]
        return self.space.validate(values)

    def to_optuna(self, params: Params) -> dict[str, Any]:
        """See `Translation.to_optuna`."""
        flat: dict[str, Any] = {}
        for name, value in params.items():
            parameter = self.space[name]
            if isinstance(parameter, Simplex):
                flat |= {path: value[share] for share, path in _shares(name, parameter)}
            else:
                flat[name] = value
        return flat


class Adopted(Declared):
    """A space declared for good from what a study of Optuna used: its numbers and categories are themselves.

    Example:
        >>> Adopted({"x": IntDistribution(0, 6, step=3), "kind": CategoricalDistribution(["a", "b"])}).space
        Space(x: Choice([0, 3, 6], ordered=True), kind: Choice(['a', 'b']))
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """A space for these distributions.

        Args:
            distributions: By parameter name; those of a single value are left out.

        Raises:
            InvalidSpaceError: If one has no counterpart here.
        """
        self._from = {name: each for name, each in distributions.items() if not each.single()}
        super().__init__(Space({name: _adopted(each) for name, each in self._from.items()}))

    @override
    def to_ours(self, params: Params) -> dict[str, Any]:
        """See `Translation.to_ours`; a stepped number is moved to the step that it was rounded from."""
        grid = {name: _at(each, _position(each, params[name])) for name, each in self._from.items() if name in params}
        return super().to_ours(grid)


def _counted(distribution: BaseDistribution) -> Parameter:
    """The parameter that stands for a distribution, whose steps and categories are counted from 0."""
    if isinstance(distribution, CategoricalDistribution):
        return Choice(tuple(range(len(distribution.choices))))
    if (steps := _steps(distribution)) is not None:
        return Int(0, steps)
    return _unstepped(distribution)


def _adopted(distribution: BaseDistribution) -> Parameter:
    """The parameter that a person would have declared."""
    if isinstance(distribution, CategoricalDistribution):
        return Choice(distribution.choices)
    steps = _steps(distribution)
    if steps is not None and steps < MOST_STEPS:
        return Choice(tuple(_at(distribution, k) for k in range(steps + 1)), ordered=True)
    return _unstepped(distribution)


def _unstepped(distribution: BaseDistribution) -> Float | Int:
    if isinstance(distribution, FloatDistribution):
        return Float(distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, IntDistribution):
        return Int(distribution.low, distribution.high, log=distribution.log)
    raise InvalidSpaceError(f"expected a float, an int or a categorical distribution of Optuna, got {distribution!r}.")


def _steps(distribution: BaseDistribution) -> int | None:
    """How many steps lie between the ends of a stepped distribution; None for any other."""
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((distribution.high - distribution.low) / distribution.step)
    if isinstance(distribution, IntDistribution) and distribution.step != 1:
        return (distribution.high - distribution.low) // distribution.step
    return None


def _position(distribution: BaseDistribution, value: Any) -> Any:
    """What a value of a distribution is to `_counted`."""
    if isinstance(distribution, CategoricalDistribution):
        try:
            return int(distribution.to_internal_repr(value))
        except ValueError as error:
            raise InvalidParamsError(str(error)) from None
    if isinstance(distribution, FloatDistribution | IntDistribution) and _steps(distribution) is not None:
        return round((value - distribution.low) / (distribution.step or 1))
    return value


def _at(distribution: BaseDistribution, position: Any) -> Any:
    """The value of a distribution that is `position` to `_counted`."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[position]
    if isinstance(distribution, FloatDistribution | IntDistribution) and _steps(distribution) is not None:
        return min(distribution.low + position * (distribution.step or 1), distribution.high)
    return position


def _distributions(name: str, parameter: Parameter) -> dict[str, BaseDistribution]:
    if isinstance(parameter, Float):
        return {name: FloatDistribution(parameter.low, parameter.high, log=parameter.log)}
    if isinstance(parameter, Int):
        return {name: IntDistribution(parameter.low, parameter.high, log=parameter.log)}
    if isinstance(parameter, Choice):
        return {name: CategoricalDistribution(parameter.options)}
    return {flat: FloatDistribution(0.0, 1.0) for _, flat in _shares(name, parameter)}


def _shares(name: str, parameter: Simplex) -> list[tuple[str, str]]:
    """The shares of a mixture, each with the name that Optuna knows it by."""
    return [(share, f"{name}.{share}") for share in parameter.names]
