"""Base class of fusion models: a model of several modalities that predicts a target."""

from abc import abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fusionlit.contracts import check_inputs
from fusionlit.errors import DataError
from fusionlit.models.held_out import HeldOutLoss, is_held_out, share_to_hold, warn_of_none_held_out
from fusionlit.models.hparams import to_config
from fusionlit.models.meters import Meters
from fusionlit.models.module import MultimodalModule
from fusionlit.models.optimizers import check_one_loss
from fusionlit.models.penalty import check_raw, fusion_l1
from fusionlit.models.presence import drop_modalities, without_samples
from fusionlit.models.schema import check_is_target, check_predictions, check_target
from fusionlit.models.training import TrainingConfig
from fusionlit.tasks import BatchMean, Task, TaskFactory, default_task
from fusionlit.types import Batch, FusionOutput, Modalities, Split, TargetSpec


class FusionModule(MultimodalModule):
    """Adds a target to `MultimodalModule`: training, metrics, multi-task loss, modality balance and held-out samples.

    A subclass implements `fuse`, from inputs to outputs, and `fusion_layers`, its operators. The loss is
    `loss + sum_k b_k loss_k`, where loss_k is that of modality k's unimodal head over the samples that have k.

    Args:
        modalities: Spec or shape of each modality; linked from the data on the command line.
        target: Prediction target; linked from the data on the command line.
        task: Loss and metrics; default: those for the kind of target.
        training: Optimizer, scheduler, learning rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.

    Raises:
        ConfigError: If a modality name is invalid, or the arguments do not fit each other.
    """

    default_unimodal_loss_weight = 0.0
    default_fusion_held_out = 0.0

    def __init__(
        self,
        modalities: Modalities,
        target: TargetSpec,
        task: TaskFactory | None = None,
        training: TrainingConfig = TrainingConfig(),
        normalize: bool = True,
    ) -> None:
        super().__init__(modalities, training, normalize)
        check_is_target(target)
        self.target = target
        self.unimodal_weights = training.unimodal_weights(modalities, self.default_unimodal_loss_weight)
        self.drop_probabilities = training.dropout_probabilities(modalities)
        self.balance = training.make_balance(self.modalities, self.unimodal_weights)
        self.task = task(target) if task else default_task(target)
        self.meters = Meters(self.task, self.modalities)
        given = training.fusion_held_out
        self.held_out = self.default_fusion_held_out if given is None else given
        self._held_out: HeldOutLoss | None = None
        self._any_held_out: Tensor | None = None

    def set_task(self, task: Task) -> None:
        """Set the task, with new metrics."""
        self.task = task
        self.meters.measure(task)

    @abstractmethod
    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Outputs for normalised inputs `(B, *shape)`; missing ones are zeros."""

    def forward(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> FusionOutput:
        """Predict from raw inputs `(B, *shape)`, as the data module converts them.

        `presence[name]` `(B,)` is true where the sample has the modality; modalities that it omits are present. The
        values of a missing input, even NaN, have no effect.

        Raises:
            DataError: If an input or a presence mask does not fit the modalities.
            ConfigError: If `fuse` does not return a `FusionOutput` with predictions `(B, target.size)`.
        """
        output = self.fuse(*self.prepared(inputs, presence))
        return check_predictions(output, type(self).__name__, self.target.size)

    def modality_dropout(self, batch: Batch) -> Batch:
        """Drop modalities of samples at random in training: `drop_modalities` with `training.modality_dropout`.

        Dropped modalities are missing from then on, also in the unimodal losses; `forward` itself drops nothing.
        """
        given = self.drop_probabilities
        probabilities = self.balance.drop_probabilities(given) if self.balance else given
        if not self.training or not any(probabilities.values()):
            return batch
        check_inputs(batch["inputs"], self.modalities)
        return drop_modalities(batch, probabilities)

    def multitask_loss(
        self, output: FusionOutput, batch: Batch, of: Tensor | None = None
    ) -> tuple[Tensor, dict[str, BatchMean]]:
        """`loss + sum_k b_k loss_k`, and its parts: `loss`, and `unimodal_loss/<modality>` for each unimodal head.

        Over the samples selected by `of` `(B,)`; default: all.
        """
        presence = batch.get("presence", {})
        parts = {"loss": self.task.mean_loss(output.prediction, batch["target"], of)}
        total = parts["loss"].value
        for name, prediction in output.unimodal.items():
            there = [mask for mask in (of, presence.get(name)) if mask is not None]
            part = self.task.mean_loss(prediction, batch["target"], torch.stack(there).all(0) if there else None)
            total = total + self.unimodal_weights[name] * part.value
            parts[f"unimodal_loss/{name}"] = part
        return total, parts

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Multi-task loss of a batch, plus the penalty on the fusion weights, if any."""
        held_out = is_held_out(batch["index"], self.held_out) if self.held_out else None
        loss, output = self._step(batch, "train", None if held_out is None else ~held_out)
        penalty: Tensor | float = 0.0
        if self.training_setup.fusion_l1:
            penalty = self.training_setup.fusion_l1 * fusion_l1(self.fusion_layers())
            self.log("train/fusion_l1", penalty.detach(), batch_size=len(batch["index"]))
        if held_out is None:
            return loss + penalty
        if self.current_epoch == 0:
            self._any_held_out = held_out.any() if self._any_held_out is None else self._any_held_out | held_out.any()
        self._held_out = HeldOutLoss(self.task.loss(output.prediction, batch["target"], held_out) + penalty, loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Loss of a batch and, while measuring, its energies."""
        loss, output = self._step(batch, "val")
        return {"loss": loss, "energy": output.energy}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Loss of a batch and, while measuring, its energies."""
        loss, output = self._step(batch, "test")
        return {"loss": loss, "energy": output.energy}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Probabilities or regression values of a batch, with the index of each sample and, if known, the target."""
        output = self(batch["inputs"], batch.get("presence"))
        known = {"target": batch["target"]} if "target" in batch else {}
        return {"index": batch["index"], **known, "prediction": self.task.predict(output.prediction)}

    def setup(self, stage: str) -> None:
        """Before training, check the settings of fusion weights and balance, and set the class counts."""
        if stage == "fit":
            if self.training_setup.fusion_l1:
                check_raw(self.fusion_layers())
            given, default = self.training_setup.fusion_held_out, self.default_fusion_held_out
            self.held_out = share_to_hold(given, default, self.fusion_parameters())
            if self.balance:
                self.balance.begin(self)
            data: Any = getattr(self.trainer, "datamodule", None)
            counts = data.class_counts() if hasattr(data, "class_counts") else None
            if counts is not None:
                self.task.set_class_counts(counts)
        super().setup(stage)

    def teardown(self, stage: str) -> None:
        """End the balance after training."""
        if self.balance and stage == "fit":
            self.balance.end(self)

    def on_train_start(self) -> None:
        """Reset a fitted temperature, which is invalid once the weights change."""
        super().on_train_start()
        for optimizer in self.trainer.optimizers:
            check_one_loss(optimizer, self.held_out, self.balance)
        if self.task.temperature is not None:
            self.task.temperature.reset()

    def on_train_epoch_start(self) -> None:
        """Reset the state of an interrupted epoch."""
        super().on_train_epoch_start()
        self._any_held_out = None
        self.meters.forget("train")

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (Lightning's own arguments)
        """Backpropagate the loss, with modality balance and held-out samples for the fusion weights."""
        if self.balance:
            add = partial(self.balance.backward, loss, self, *args, **kwargs)
        else:
            add = partial(super().backward, loss, *args, **kwargs)
        held_out, self._held_out = self._held_out, None
        if held_out is None:
            add()
        else:
            held_out.backward(loss, self.fusion_parameters(), add)

    def on_validation_epoch_end(self) -> None:
        """Update the balance before a checkpoint is written."""
        if self.balance:
            self.balance.end_epoch(self, validated=True)

    def on_train_epoch_end(self) -> None:
        """Update and log the balance; warn if no sample was held out for the fusion weights."""
        short = self.trainer.fast_dev_run  # type: ignore[attr-defined]  # set in its constructor
        if self._any_held_out is not None and self.current_epoch == 0 and not short:
            warn_of_none_held_out(self._any_held_out, self.held_out)
        if self.balance:
            self.balance.end_epoch(self, validated=False)
            numbers = {f"balance/{name}": value for name, value in self.balance.numbers.items()}
            self.log_dict(numbers, sync_dist=True)  # equal on all processes, but Lightning cannot know

    def on_validation_epoch_start(self) -> None:
        """Reset the state of an interrupted epoch."""
        self.meters.forget("val")

    def on_test_epoch_start(self) -> None:
        """Reset the state of an interrupted epoch."""
        self.meters.forget("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the target and the state of the balance."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["target"] = to_config(self.target)
        if self.balance:
            checkpoint["balance"] = self.balance.save()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise ConfigError if the checkpoint was trained for another target, too; restore the balance."""
        super().on_load_checkpoint(checkpoint)
        check_target(TargetSpec(**checkpoint["target"]), self.target)
        if self.balance:
            self.balance.load(checkpoint.get("balance"))

    def _step(self, batch: Batch, stage: Split, learned: Tensor | None = None) -> tuple[Tensor, FusionOutput]:
        """Loss over the samples `learned` `(B,)` (default: all) and output of a batch; metrics and logs over all.

        Raises:
            DataError: If the batch has no target.
        """
        if "target" not in batch:
            use = "train on" if stage == "train" else "measure"
            raise DataError(
                f"Expected batches with a `target` to {use}, but they hold {list(batch)}. Unlabelled data can only be"
                " predicted: `fusionlit predict`."
            )
        batch = self.modality_dropout(batch)
        output: FusionOutput = self.run(batch["inputs"], batch.get("presence"))
        total, parts = self.multitask_loss(output, batch, learned)
        if self.balance and stage == "train":
            seen = batch if learned is None else without_samples(batch, ~learned, self.modalities)
            total = self.balance.loss(self, total, parts, output, seen)
        self.meters.update(self, stage, batch, output, parts)
        return total, output
