"""What a way of balancing modalities is."""

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

if TYPE_CHECKING:  # a strategy's base holds a balance
    from fusionlit.models.base import FusionModule


class Balance(Whole, ABC):
    """How a strategy keeps its modalities in balance while it trains.

    A subclass fills in any of the hooks, which do nothing here: `loss` and `backward` at every step, `update` once per
    epoch. A balance is no module: nothing of it is in a `state_dict`, so that a checkpoint's weights are the same with
    and without. Its numbers travel in the checkpoint by `state` and `load_state`, and are logged as
    `balance/<name>` once per epoch.

    Args:
        modalities: What each modality is; given by the strategy.

    Raises:
        ConfigError: If there are fewer than two modalities.
    """

    needs_heads = True
    """Whether every modality must have a unimodal head, and a weight for its loss."""
    needs_validation = False
    """Whether it measures with the validation split."""

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
        """Get ready for training.

        Raises:
            ConfigError: If the model or the trainer does not suit this balance.
        """

    def end(self, model: FusionModule) -> None:
        """Undo what `begin` did to the model."""

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """The loss to train on, from `total` and its `parts`; called at every training step."""
        return total

    def backward(self, loss: Tensor, model: FusionModule, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Add the gradients of `loss`, which the trainer may have scaled, to those of the parameters."""
        loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def drop_probabilities(self, given: dict[str, float]) -> dict[str, float]:
        """How likely a training sample loses each modality, where `training.modality_dropout` says `given`."""
        return given

    def after_validation(self, model: FusionModule) -> None:
        """Take what a validation has measured."""

    def update(self, model: FusionModule) -> None:
        """Take stock of an epoch; `numbers` is what is logged."""
        self.numbers = self.means.take()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: numbers, text, lists and dicts."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's `state`."""

    def end_epoch(self, model: FusionModule, *, validated: bool) -> None:
        """Call `update` once per training epoch: with its last validation, else at its end.

        Checkpoints are written after a validation; what they hold is then up to date.
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
        """What goes into a checkpoint."""
        return {"class": type(self).__qualname__, "last_epoch": self.last_epoch, "state": self.state()}

    def load(self, saved: dict[str, Any] | None) -> None:
        """Go on from what `save` gave; begin afresh where another balance, or none, was saved."""
        if saved and saved["class"] == type(self).__qualname__:
            self.last_epoch = saved["last_epoch"]
            self.load_state(saved["state"])

    def check_heads(self, weights: dict[str, float]) -> None:
        """Refuse modalities without a unimodal head.

        Raises:
            ConfigError: If `needs_heads` and a weight of a unimodal loss is 0.
        """
        without = [name for name in self.names if not weights[name]]
        if self.needs_heads and without:
            raise ConfigError(
                f"{type(self).__name__} needs the unimodal head of every modality, but {without} have none: set"
                " `training.unimodal_loss_weight` above 0."
            )

    def check_output(self, output: FusionOutput) -> None:
        """Refuse a strategy that gives no unimodal predictions, whatever its weights.

        Raises:
            ConfigError: If one is missing.
        """
        without = [name for name in self.names if name not in output.unimodal]
        if without:
            raise ConfigError(
                f"{type(self).__name__} needs the unimodal prediction of every modality, but `fuse` gives none for"
                f" {without}: return it as FusionOutput(prediction, unimodal)."
            )


BalanceFactory = Callable[[Modalities], Balance]
