"""Class weights of a loss."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fusionlit.errors import ConfigError

ClassWeighting = Literal["balanced"] | Sequence[float] | None


class ClassWeights(nn.Module):
    """Class weights `(K,)`: given, equal, or `balanced`: `w_k = n / (K n_k)` for `n_k` of `n` training samples.

    Given and balanced weights are a persistent buffer, so that checkpoints save and load them. Balanced weights are NaN
    until `set_counts` or a checkpoint sets them.

    Args:
        weighting: `balanced`, one weight per class, or None for equal weights.
        classes: Number of classes.
        names: Name of each class; may be empty.

    Raises:
        ConfigError: If there is not one weight per class, a weight is negative or not finite, or all are zero.
    """

    values: Tensor

    def __init__(self, weighting: ClassWeighting, classes: int, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.balanced = weighting == "balanced"
        self.names = names or [str(k) for k in range(classes)]
        values = torch.ones(classes)
        if self.balanced:
            values = values * torch.nan
        elif weighting is not None:
            values = _given(weighting, classes)
        self.register_buffer("values", values, persistent=weighting is not None)
        self._resolved = not self.balanced

    def forward(self, like: Tensor) -> Tensor:
        """The weights `(K,)`, in the dtype of `like`.

        Raises:
            ConfigError: If balanced weights are not known yet.
        """
        if not self._resolved:  # synchronises with the device, but only until it is true
            self._resolved = bool(self.values.isfinite().all())
            if not self._resolved:
                raise ConfigError(
                    "`class_weights`='balanced' is not known yet: it needs the class counts of the training split. Fit"
                    " with a data module that has `class_counts`, load a checkpoint, or give the weights as a list."
                )
        return self.values.to(like.dtype)

    def set_counts(self, counts: Tensor) -> None:
        """Set balanced weights from the number of training samples of each class `(K,)`; otherwise a no-op.

        Raises:
            ConfigError: If there is not one count per class, or a class has no sample.
        """
        if not self.balanced:
            return
        if counts.shape != self.values.shape:
            raise ConfigError(
                f"Expected class counts of shape {tuple(self.values.shape)}, one per class, but got"
                f" {tuple(counts.shape)}."
            )
        empty = [name for name, count in zip(self.names, counts.tolist(), strict=True) if count <= 0]
        if empty:
            raise ConfigError(
                f"`class_weights`='balanced' needs every class in the training split, but it has no sample of"
                f" {', '.join(empty)}. Change the split, or give the weights as a list."
            )
        self.values.copy_(counts.sum() / (len(counts) * counts))
        self._resolved = True


def _given(weighting: str | Sequence[float], classes: int) -> Tensor:
    if isinstance(weighting, str):
        raise ConfigError(f"Expected `class_weights` to be 'balanced', a list or null, but got {weighting!r}.")
    values = torch.tensor([float(weight) for weight in weighting])
    if len(values) != classes or not values.isfinite().all() or not (values >= 0).all() or not values.any():
        raise ConfigError(
            f"Expected `class_weights` to be {classes} numbers >= 0, one per class and not all zero, but got"
            f" {list(weighting)}."
        )
    return values
