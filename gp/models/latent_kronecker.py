"""Learning curves as a Gaussian process: configurations times steps, where most curves are not finished.

Alphabet. X: `n x d` configurations. T: `t x 1` steps. Y: `n x t` values, nan where a curve has no value yet. q: joint
test configurations, b: batch of them.

Reference: Lin et al. 2025, "Scalable Gaussian Processes with Latent Kronecker Structure".
"""

from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.posterior import Posterior
from gpytorch.kernels.kernel import Kernel
from torch import Tensor
from typing_extensions import override

from gp.kernels.axis_kernel import axis_kernel
from gp.models.base import check_inputs, check_test_inputs
from gp.models.kronecker import KroneckerGP


class LatentKroneckerGP(KroneckerGP):
    """`KroneckerGP` on configurations times steps, with BoTorch's arguments, and predictions at any steps.

    Mean, variance and samples are of one process in the units of Y and of shape `b x q x t`; known noise is used, and
    observations of a configuration that is there already continue its curve.

    Example:
        >>> import torch
        >>> X, T = torch.rand(12, 2).double(), torch.linspace(0, 1, 8).double()[:, None]
        >>> Y = 1 - torch.exp(-3 * T.mT) * (1 + X.sum(1, keepdim=True)) / 3
        >>> seen = torch.where(torch.arange(8) < torch.randint(4, 9, (12, 1)), Y, torch.nan)
        >>> model = LatentKroneckerGP(X, T, seen)
        >>> report = model.fit()
        >>> bool((model.posterior(X).mean - Y).abs().max() < 0.1)
        True
    """

    def __init__(
        self,
        train_X: Tensor,
        train_T: Tensor,
        train_Y: Tensor,
        train_Yvar: Tensor | None = None,
        *,
        kernel_X: Kernel | None = None,
        kernel_T: Kernel | None = None,
    ) -> None:
        """Standardise the observed values and put the hyperparameters where the search for them begins.

        Args:
            train_X: Configurations, `n x d`, in any units.
            train_T: Steps, `t x 1`, or `t`, in any units: their logarithm where curves change fast at first.
            train_Y: Values, `n x t`; nan where none was observed.
            train_Yvar: Known noise variances in units of Y squared, broadcast to `n x t`; None to learn one for all.
            kernel_X: Of the configurations; None for Matérn-5/2 with a lengthscale a feature and a variance.
            kernel_T: Of the steps; None for Matérn-5/2.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        check_inputs("train_X", train_X)
        steps = train_T[:, None] if train_T.dim() == 1 else train_T
        check_inputs("train_T", steps, like=train_X)
        kernels = [
            axis_kernel(train_X, of_inputs=True) if kernel_X is None else kernel_X,
            axis_kernel(steps, of_inputs=False) if kernel_T is None else kernel_T,
        ]
        super().__init__([train_X, steps], train_Y, train_Yvar, kernels=kernels)

    @override
    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
        *,
        T: Tensor | None = None,
    ) -> Posterior:
        """Joint posterior at q configurations and steps, differentiable in both.

        Args:
            X: Configurations, `b x q x d`.
            output_indices: Which of the steps; None for all.
            observation_noise: As for `KroneckerGP`.
            posterior_transform: As for `KroneckerGP`.
            T: Other steps than those of the training data, `t' x 1`.

        Returns:
            As for `KroneckerGP`, with the steps as outputs.

        Raises:
            InvalidDataError: As for `KroneckerGP`, or if T has another number of features.
        """
        check_test_inputs(X, self.axes[0].shape[-1])
        if T is not None:
            check_inputs("T", T, like=self.Y)
            check_test_inputs(T, self.axes[1].shape[-1])
        return self._posterior([X, T], output_indices, observation_noise, posterior_transform)
