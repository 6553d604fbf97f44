"""The one small base of every strategy."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torchmetrics import Metric, MetricCollection

from fusionlit.contracts import Whole, check_inputs, check_output, check_presence, is_shape
from fusionlit.errors import ConfigError
from fusionlit.functional import CENTRAL
from fusionlit.fusion import Features, FusionOperator, Presence
from fusionlit.models.averaging import keep_the_average, restart_averages
from fusionlit.models.held_out import HeldOutLoss, is_held_out, share_to_hold
from fusionlit.models.hparams import INSTANTIATOR, to_config, without_initial_files
from fusionlit.models.normalization import InputNormalization
from fusionlit.models.penalty import check_raw, fusion_l1
from fusionlit.models.presence import complete, drop, zero_absent
from fusionlit.models.schedules import Interval, misfit, training_length
from fusionlit.models.training import Training
from fusionlit.tasks import BatchMean, EpochMean, Task, TaskFactory, default_task
from fusionlit.types import Batch, Energy, FusionOutput, Shape, Split, TargetSpec

RESERVED = {CENTRAL, *dir(nn.ModuleDict()), *dir(nn.ParameterDict())}
"""Names that no modality may have: modules and parameters are held in these by modality."""


class FusionModule(LightningModule, Whole, ABC):
    """Owns the step, the metrics, the multi-task loss, the optimizer groups, presence and input normalisation.

    A strategy says in `fuse` how inputs become outputs, and in `fusion_layers` which operators it fuses with. The loss
    is `loss + sum_k b_k loss_k`, where loss_k is that of modality k's unimodal head over the samples that have k.

    Args:
        modalities: Shape of each modality without the batch; on the command line, linked from the data.
        target: What is to be predicted; on the command line, linked from the data.
        task: Loss and metrics for the target; default: the one for its kind.
        training: Optimizer, scheduler, rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.

    Raises:
        ConfigError: If a modality's name cannot be used, or the arguments do not fit each other.
    """

    default_unimodal_loss_weight = 0.0
    default_fusion_held_out = 0.0

    def __init__(
        self,
        modalities: dict[str, Shape],
        target: TargetSpec,
        task: TaskFactory | None = None,
        training: Training = Training(),
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self._unsaveable: ConfigError | None = None
        try:
            self.save_hyperparameters(to_config(dict(self.hparams)))
        except ConfigError as error:  # no matter without checkpoints, so raised only when there are to be some
            self._unsaveable = error
            self.hparams.clear()
        self.modalities = {name: tuple(shape) for name, shape in modalities.items()}
        check_names(self.modalities)
        check_is_target(target)
        self.target = target
        self.training_setup = training
        self.unimodal_weights = training.unimodal_weights(modalities, self.default_unimodal_loss_weight)
        self.drop_probabilities = training.dropout_probabilities(modalities)
        self.balance = training.make_balance(self.modalities, self.unimodal_weights)
        self.set_task(task(target) if task else default_task(target))
        names = ["loss", *(f"unimodal_loss/{name}" for name in self.modalities)]
        self.epoch_losses = nn.ModuleDict({name: EpochMean() for name in names})
        self.source_scores = nn.ModuleDict({source: EpochMean() for source in (*self.modalities, CENTRAL)})
        self.normalization = nn.ModuleDict(
            {name: InputNormalization(shape) for name, shape in self.modalities.items()} if normalize else {}
        )
        self.measuring = False
        self._compiled: Callable[..., FusionOutput] | None = None
        given = training.fusion_held_out
        self.held_out = self.default_fusion_held_out if given is None else given
        self._held_out: HeldOutLoss | None = None
        self._any_held_out: Tensor | None = None

    def set_task(self, task: Task) -> None:
        """Take a task, and fresh metrics of it."""
        self.task = task
        self.train_metrics = task.metrics().clone(prefix="train/")
        self.val_metrics = task.evaluation_metrics().clone(prefix="val/")
        self.test_metrics = task.evaluation_metrics().clone(prefix="test/")

    @abstractmethod
    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Outputs of normalised inputs `(B, *shape)`; absent ones are zeros."""

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The operators that this strategy fuses with, by the name of their layer, in order of depth."""
        return {}

    def forward(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> FusionOutput:
        """Predict from raw inputs `(B, *shape)`, as the data module converts them.

        `presence[name]` `(B,)` is true where the sample has the modality; what it does not name is always there. What
        an absent input holds, NaN included, reaches nothing.

        Raises:
            DataError: If an input or a presence is not as the data module promised.
            ConfigError: If `fuse` does not give a `FusionOutput` with predictions `(B, target.size)`.
        """
        check_inputs(inputs, self.modalities)
        inputs = {name: inputs[name] for name in self.modalities}
        if presence is not None:
            check_presence(presence, inputs)
            presence = complete(presence, inputs)
        if self.normalization:
            inputs = {name: self.normalization[name](x) for name, x in inputs.items()}
        output = self.fuse(zero_absent(inputs, presence), presence)
        if not isinstance(output, FusionOutput):
            raise ConfigError(
                f"Expected `fuse` of {type(self).__name__} to give a FusionOutput, but got {type(output).__name__}."
                " Write `return FusionOutput(prediction)`."
            )
        predictions = {type(self).__name__: output.prediction, **output.unimodal}
        for name, prediction in predictions.items():
            check_output(f"the head of {name}", prediction, (self.target.size,), "`target.size`")
        return output

    def modality_dropout(self, batch: Batch) -> Batch:
        """Let the batch's samples lose modalities while training: `presence.drop` with `training.modality_dropout`.

        What is dropped is absent to all that follows, the unimodal losses included. Only the training step drops;
        `forward` takes presence as it comes.
        """
        given = self.drop_probabilities
        probabilities = self.balance.drop_probabilities(given) if self.balance else given
        if not self.training or not any(probabilities.values()):
            return batch
        check_inputs(batch["inputs"], self.modalities)
        inputs = {name: batch["inputs"][name] for name in self.modalities}
        presence = batch.get("presence", {})
        check_presence(presence, inputs)
        return {**batch, "presence": drop(complete(presence, inputs), probabilities)}

    def fusion_weights(self) -> dict[str, dict[str, Tensor]]:
        """Fusion weight of each source at each layer that has any, in order of depth."""
        weights = {layer: operator.fusion_weights() for layer, operator in self.fusion_layers().items()}
        return {layer: sources for layer, sources in weights.items() if sources}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Multi-task loss of one batch, with the penalty on the fusion weights if there is one."""
        held_out = is_held_out(batch["index"], self.held_out) if self.held_out else None
        loss, output = self._step(batch, "train", None if held_out is None else ~held_out)
        penalty: Tensor | float = 0.0
        if self.training_setup.fusion_l1:
            penalty = self.training_setup.fusion_l1 * fusion_l1(self.fusion_layers())
            self.log("train/fusion_l1", penalty.detach(), batch_size=batch["target"].shape[0])
        if held_out is None:
            return loss + penalty
        if self.current_epoch == 0:
            self._any_held_out = held_out.any() if self._any_held_out is None else self._any_held_out | held_out.any()
        self._held_out = HeldOutLoss(self.task.loss(output.prediction, batch["target"], held_out) + penalty, loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Loss of one batch and, while measuring, its energies."""
        loss, output = self._step(batch, "val")
        return {"loss": loss, "energy": output.energy}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Loss of one batch and, while measuring, its energies."""
        loss, output = self._step(batch, "test")
        return {"loss": loss, "energy": output.energy}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Probabilities or regression values of one batch, with the samples' index and target."""
        output = self(batch["inputs"], batch.get("presence"))
        return {
            "index": batch["index"],
            "prediction": self.task.predict(output.prediction),
            "target": batch["target"],
        }

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's own union)
        """Optimizer with the fusion weights in a group of their own, and the scheduler."""
        fusion = self._fusion_parameters()
        own = {id(p) for p in fusion}
        weights = [p for p in self.parameters() if p.requires_grad and id(p) not in own]
        optimizer = self.training_setup.make_optimizer(weights, fusion)
        schedule = self.training_setup.make_schedule(
            optimizer, lambda interval: training_length(self.trainer, interval)
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule} if schedule else optimizer

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:  # noqa: ANN401 (Lightning's own types)
        """Step the scheduler, then put the fusion weights' rate back to its multiple."""
        super().lr_scheduler_step(scheduler, metric)
        self.training_setup.keep_fusion_rate(scheduler.optimizer, self.current_epoch)

    def on_train_start(self) -> None:
        """Say so if the schedule does not end with the training, keep the fusion weights' rate in mid-epoch too.

        A temperature that was fitted for the weights as they were is forgotten.
        """
        short = self.trainer.fast_dev_run  # type: ignore[attr-defined]  # set in its constructor
        for config in () if short else self.trainer.lr_scheduler_configs:
            interval = cast(Interval, config.interval)
            if message := misfit(config.scheduler, training_length(self.trainer, interval), interval):
                rank_zero_warn(message)
        for optimizer in self.trainer.optimizers:
            self.training_setup.keep_fusion_rate(optimizer, self.current_epoch)
        if self.task.temperature is not None:
            self.task.temperature.reset()

    def on_train_epoch_start(self) -> None:
        """Forget an epoch that was interrupted; let the fusion weights go when their frozen epochs are over."""
        self._any_held_out = None
        self.train_metrics.reset()
        for optimizer in self.trainer.optimizers:
            self.training_setup.keep_fusion_rate(optimizer, self.current_epoch)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (Lightning's own arguments)
        """Add the gradients of the loss, as the balance has them, and those of held-out samples."""
        if self.balance:
            add = partial(self.balance.backward, loss, self, *args, **kwargs)
        else:
            add = partial(super().backward, loss, *args, **kwargs)
        held_out, self._held_out = self._held_out, None
        if held_out is None:
            add()
        else:
            held_out.backward(loss, self._fusion_parameters(), add)

    def on_validation_epoch_end(self) -> None:
        """Let the balance take stock before a checkpoint is written."""
        if self.balance:
            self.balance.end_epoch(self, validated=True)

    def on_train_epoch_end(self) -> None:
        """Let the balance take stock, and log it; say so if the fusion weights have nothing to learn from."""
        short = self.trainer.fast_dev_run  # type: ignore[attr-defined]  # set in its constructor
        if self._any_held_out is not None and self.current_epoch == 0 and not short and not self._any_held_out:
            rank_zero_warn(
                f"None of the training samples was held out (`fusion_held_out` is {self.held_out}), so that the fusion"
                " weights stay as they are: there are too few samples. Set `training.fusion_held_out` to 0."
            )
        if self.balance:
            self.balance.end_epoch(self, validated=False)
            numbers = {f"balance/{name}": value for name, value in self.balance.numbers.items()}
            self.log_dict(numbers, sync_dist=True)  # the same on all processes, which Lightning cannot know

    def on_validation_epoch_start(self) -> None:
        """Forget an epoch that was interrupted."""
        self._reset(self.val_metrics)

    def on_test_epoch_start(self) -> None:
        """Forget an epoch that was interrupted."""
        self._reset(self.test_metrics)

    def setup(self, stage: str) -> None:
        """Compile if asked to; before training, take the input statistics and class counts of the training split."""
        if self.training_setup.compile_mode and self._compiled is None:
            torch.compiler.reset()  # after some models of one class, torch would go on without compiling
            functorch_config.donated_buffer = False  # held-out samples and balances go back through a graph twice
            # Beside the module and not in its place: a checkpoint has the same names, compiled or not.
            self._compiled = torch.compile(self.__call__, mode=self.training_setup.compile_mode)
        if stage != "fit":
            return
        if self.training_setup.fusion_l1:
            check_raw(self.fusion_layers())
        given, default = self.training_setup.fusion_held_out, self.default_fusion_held_out
        self.held_out = share_to_hold(given, default, self._fusion_parameters())
        if self.balance:
            self.balance.begin(self)
        if self.trainer.checkpoint_callbacks and self._unsaveable:
            raise self._unsaveable
        self._take_statistics()
        restart_averages(self.trainer, self)

    def teardown(self, stage: str) -> None:
        """Let the balance go when training is over."""
        if self.balance and stage == "fit":
            self.balance.end(self)

    def on_test_start(self) -> None:
        """Say so if the model has never been trained."""
        if self._pending_normalization():
            rank_zero_warn(f"This {type(self).__name__} has never been trained: give its checkpoint (--ckpt_path).")

    def on_predict_start(self) -> None:
        """Say so if the model has never been trained."""
        self.on_test_start()

    def on_validation_start(self) -> None:
        """Say so if the model has never been trained."""
        self.on_test_start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the schema of the data, and the hyperparameters as plain configuration."""
        if self._unsaveable:
            raise self._unsaveable
        checkpoint["modalities"] = [[name, list(shape)] for name, shape in self.modalities.items()]
        checkpoint["target"] = to_config(self.target)
        if self.balance:
            checkpoint["balance"] = self.balance.save()
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {
            "_class_path": f"{type(self).__module__}.{type(self).__qualname__}",
            **without_initial_files(dict(self.hparams)),
            "_instantiator": INSTANTIATOR,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that was trained on other modalities or another target, and say what differs."""
        if self._trainer is None or self._trainer.state.fn != TrainerFn.FITTING:
            keep_the_average(checkpoint)
        check_schema({name: tuple(shape) for name, shape in checkpoint["modalities"]}, self.modalities)
        check_target(TargetSpec(**checkpoint["target"]), self.target)
        if self.balance:
            self.balance.load(checkpoint.get("balance"))

    def fuse_at(self, layer: str, sources: Features, presence: Presence | None) -> tuple[Tensor, Energy]:
        """Fuse at one of `fusion_layers`.

        Returns:
            The fused features `(B, *out_shape)`, and the layer's energy while a callback measures; empty otherwise, or
            where the operator is no sum.

        Raises:
            ConfigError: If there is no such layer, a source is not of the shape that its operator was told, or the
                fused features are not of the operator's `out_shape`.
        """
        layers = self.fusion_layers()
        if layer not in layers:
            raise ConfigError(f"Expected one of the `fusion_layers` {list(layers)}, but got {layer!r}.")
        operator = layers[layer]
        for source, shape in operator.shapes.items():
            part = f"what is source {source!r} of layer {layer!r}"
            check_output(part, sources[source], shape, "the `out_shape` of its encoder or the `out_size` of its head")
        fused = operator(sources, presence)
        check_output(f"{type(operator).__name__} at layer {layer!r}", fused, operator.out_shape, "its `out_shape`")
        energy = operator.energy(sources, presence) if self.measuring else {}
        return fused, {layer: energy} if energy else {}

    def multitask_loss(
        self, output: FusionOutput, batch: Batch, of: Tensor | None = None
    ) -> tuple[Tensor, dict[str, BatchMean]]:
        """`loss + sum_k b_k loss_k`, and its parts: `loss`, and `unimodal_loss/<modality>` for each unimodal head.

        Over the samples `of` `(B,)`; default: all.
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

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_compiled": None}  # a copy would go on to run this module's network

    def _fusion_parameters(self) -> list[nn.Parameter]:
        return [p for op in self.fusion_layers().values() for p in op.fusion_parameters() if p.requires_grad]

    def _pending_normalization(self) -> dict[str, InputNormalization]:
        norms = cast(dict[str, InputNormalization], dict(self.normalization.items()))
        return {name: norm for name, norm in norms.items() if not norm.fitted}

    def _take_statistics(self) -> None:
        data: Any = getattr(self.trainer, "datamodule", None)
        pending = self._pending_normalization()
        if not hasattr(data, "input_statistics"):
            if pending:
                rank_zero_warn(
                    "`normalize` is on, but the trainer has no FusionDataModule to take the input statistics from:"
                    " inputs stay as they are."
                )
            for norm in pending.values():
                norm.fitted.fill_(True)
            return
        counts = data.class_counts()
        if counts is not None:
            self.task.set_class_counts(counts)
        statistics = data.input_statistics() if pending else {}
        for name, norm in pending.items():
            norm.fit(statistics[name])

    def _reset(self, metrics: MetricCollection) -> None:
        for metric in (metrics, *self.epoch_losses.values(), *self.source_scores.values()):
            cast(Metric, metric).reset()

    def _step(self, batch: Batch, stage: Split, learned: Tensor | None = None) -> tuple[Tensor, FusionOutput]:
        """Loss over the samples `learned` `(B,)`, by default all, and output of one batch; metrics and logs of all."""
        batch = self.modality_dropout(batch)
        output: FusionOutput = (self._compiled or self)(batch["inputs"], batch.get("presence"))
        total, parts = self.multitask_loss(output, batch, learned)
        if self.balance and stage == "train":
            seen = batch if learned is None else self._without(batch, ~learned)
            total = self.balance.loss(self, total, parts, output, seen)
        metrics: MetricCollection = getattr(self, f"{stage}_metrics")
        # Told to Lightning once, it computes and resets them at the end of the epoch; every time would take longer.
        new = not any(metric.update_called for metric in metrics.values(copy_state=False))
        metrics.update(self.task.predict(output.prediction.detach()), batch["target"])
        size = batch["target"].shape[0]
        if new:
            for name, metric in metrics.items(copy_state=False):
                shown = name == f"{stage}/{self.task.main_metric}"
                self.log(name, metric, on_step=False, on_epoch=True, batch_size=size, prog_bar=shown)
        for name, part in parts.items():
            shown = name == "loss"
            if stage == "train":
                self.log(f"train/{name}", part.value.detach(), batch_size=size, prog_bar=shown)
            else:
                # Over the epoch each batch counts by its own weights, however the samples fall into batches.
                mean = cast(EpochMean, self.epoch_losses[name])
                mean.update(part)
                if new:
                    self.log(f"{stage}/{name}", mean, on_epoch=True, batch_size=size, prog_bar=shown)
        if stage != "train":
            self._measure_sources(output, batch, stage, log=new)
        return total, output

    def _without(self, batch: Batch, samples: Tensor) -> Batch:
        """The batch with all modalities of some samples `(B,)` absent."""
        there = complete(batch.get("presence", {}), {name: batch["inputs"][name] for name in self.modalities})
        return {**batch, "presence": {name: present & ~samples for name, present in there.items()}}

    def _measure_sources(self, output: FusionOutput, batch: Batch, stage: Split, *, log: bool) -> None:
        """The main metric of every source that has a head, over the samples that have the source."""
        presence = batch.get("presence", {})
        central = {} if output.central is None else {CENTRAL: output.central}
        for source, prediction in {**output.unimodal, **central}.items():
            mean = cast(EpochMean, self.source_scores[source])
            mean.update(self.task.mean_score(prediction, batch["target"], presence.get(source)))
            if log:
                size = batch["target"].shape[0]
                self.log(f"{stage}/{self.task.main_metric}/{source}", mean, on_epoch=True, batch_size=size)


def check_names(modalities: dict[str, Shape]) -> None:
    """Refuse what cannot be the modalities.

    Raises:
        ConfigError: If there is none, a shape is none, or a name is no identifier or means something else already.
    """
    if not modalities:
        raise ConfigError("Expected `modalities` to name at least one modality, but it is empty.")
    for name, shape in modalities.items():
        if not is_shape(shape):
            raise ConfigError(f"Expected the shape of {name!r} to be a tuple of sizes, but got {shape!r}.")
        if not name.isidentifier() or name in RESERVED:
            raise ConfigError(
                f"Expected a modality's name to be letters, digits and _, not {CENTRAL!r} and no attribute of"
                f" torch.nn.ModuleDict or ParameterDict, but got {name!r}. Rename it in the data."
            )


def check_is_target(target: object) -> None:
    """Refuse a target that is none: a checkpoint holds plain configuration, of which annotations make objects again.

    Raises:
        ConfigError: If it is no TargetSpec.
    """
    if not isinstance(target, TargetSpec):
        of_a_checkpoint = (
            " In the constructor of the strategy, annotate it as `target: TargetSpec`: without that, a checkpoint"
            " cannot make one of its configuration."
        )
        raise ConfigError(
            f"Expected `target` to be a TargetSpec, but got {target!r}."
            f"{of_a_checkpoint if isinstance(target, dict) else ''}"
        )


def check_schema(saved: dict[str, Shape], current: dict[str, Shape]) -> None:
    """Compare the modalities of a checkpoint with those of the data.

    Raises:
        ConfigError: If names, shapes or order differ; the message says which.
    """
    if list(saved.items()) == list(current.items()):
        return
    differences = [f"{name} {shape} is in the checkpoint only" for name, shape in saved.items() if name not in current]
    differences += [f"{name} {shape} is in the data only" for name, shape in current.items() if name not in saved]
    differences += [
        f"{name} is {saved[name]} in the checkpoint, but {shape} in the data"
        for name, shape in current.items()
        if name in saved and saved[name] != shape
    ]
    differences = differences or [f"the order is {list(saved)} in the checkpoint, but {list(current)} in the data"]
    raise ConfigError(f"The checkpoint was trained on other modalities: {'; '.join(differences)}.")


def check_target(saved: TargetSpec, current: TargetSpec) -> None:
    """Compare the target of a checkpoint with that of the data.

    Raises:
        ConfigError: If kind, size, or the names or their order differ; the message says which.
    """
    saved, current = (spec._replace(names=tuple(spec.names)) for spec in (saved, current))
    differences = [
        f"{field} is {before!r} in the checkpoint, but {now!r} in the data"
        for field, before, now in zip(TargetSpec._fields, saved, current, strict=True)
        if before != now
    ]
    if differences:
        raise ConfigError(f"The checkpoint was trained for another target: {'; '.join(differences)}.")
