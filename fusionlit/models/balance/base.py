"""Base class of modality balance."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fusionlit.contracts import Whole
from fusionlit.errors import ConfigError
from fusionlit.models.balance.means import EpochMeans
from fusionlit.tasks import BatchMean
from fusionlit.types import Batch, FusionOutput, Modalities

if TYPE_CHECKING:  # FusionModule imports this module
    from fusionlit.models.base import FusionModule


class Balance(Whole, ABC):
    """Balances the modalities of a fusion model in training.

    A subclass overrides any of the hooks: `loss` and `backward` at every step, `update` once per epoch. A balance is
    not a module and not part of a `state_dict`, so that a checkpoint's weights are the same with and without it.
    Checkpoints store it with `state` and `load_state`; its `numbers` are logged as `balance/<name>` once per epoch.

    Args:
        modalities: Modalities; passed by the model.

    Raises:
        ConfigError: If there are fewer than two modalities.
    """

    needs_heads = True
    """Whether every modality must have a unimodal head and a nonzero loss weight."""
    needs_validation = False
    """Whether it uses the validation split."""

    def __init__(self, modalities: Modalities) -> None:
        if len(modalities) < 2:
            raise ConfigError(
                f"Expected at least two modalities to balance, but got {list(modalities)}: leave out"
                " `training.balance`."
            )
        self.names = list(modalities)
        self.means = EpochMeans(self.names)
        self.numbers: dict[str, float] = {}
        self.last_epoch = -1

    def begin(self, model: FusionModule) -> None:
        """Prepare for training.

        Raises:
            ConfigError: If the model or the trainer does not support this balance.
        """

    def end(self, model: FusionModule) -> None:
        """Undo what `begin` did to the model."""

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """Training loss, from `total` and its `parts`; called at every training step."""
        return total

    def backward(self, loss: Tensor, model: FusionModule, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Backpropagate `loss`, which the trainer may have scaled."""
        loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def drop_probabilities(self, given: dict[str, float]) -> dict[str, float]:
        """Probability of dropping each modality of a training sample; `given`: that of `training.modality_dropout`."""
        return given

    def after_validation(self, model: FusionModule) -> None:
        """Read the results of a validation."""

    def update(self, model: FusionModule) -> None:
        """Update after an epoch; `numbers` is logged."""
        self.numbers = self.means.take()

    def state(self) -> dict[str, Any]:
        """State to save in a checkpoint: numbers, text, lists and dicts."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the `state` from a checkpoint."""

    def end_epoch(self, model: FusionModule, *, validated: bool) -> None:
        """Call `update` once per training epoch: with its last validation, or else at its end.

        Checkpoints are written after validation, so their state is up to date.
        """
        trainer = model.trainer
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if validated:
            self.after_validation(model)
            if not trainer.is_last_batch:
                return
        if self.last_epoch != model.current_epoch:
            self.last_epoch = model.current_epoch
            self.update(model)

    def save(self) -> dict[str, Any]:
        """Entry of a checkpoint."""
        return {"class": type(self).__qualname__, "last_epoch": self.last_epoch, "state": self.state()}

    def load(self, saved: dict[str, Any] | None) -> None:
        """Restore an entry of `save`; ignored if another balance, or none, was saved."""
        if saved and saved["class"] == type(self).__qualname__:
            self.last_epoch = saved["last_epoch"]
            self.load_state(saved["state"])

    def check_heads(self, weights: dict[str, float]) -> None:
        """Check that every modality has a unimodal head, if `needs_heads`.

        Raises:
            ConfigError: If the weight of a unimodal loss is 0.
        """
        without = [name for name in self.names if not weights[name]]
        if self.needs_heads and without:
            raise ConfigError(
                f"{type(self).__name__} needs the unimodal head of every modality, but {without} have none: set"
                " `training.unimodal_loss_weight` above 0."
            )

    def check_output(self, output: FusionOutput) -> None:
        """Check that the output has the unimodal prediction of every modality.

        Raises:
            ConfigError: If one is missing.
        """
        without = [name for name in self.names if name not in output.unimodal]
        if without:
            raise ConfigError(
                f"{type(self).__name__} needs the unimodal prediction of every modality, but `fuse` returns none for"
                f" {without}: return it as FusionOutput(prediction, unimodal)."
            )


BalanceFactory = Callable[[Modalities], Balance]
