"""Base class of models of several modalities, with or without a target."""

from abc import ABC
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import torch
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch._functorch import config as functorch_config

from fusionlit.contracts import Whole, check_inputs, check_output, check_presence
from fusionlit.errors import ConfigError
from fusionlit.fusion import Features, FusionOperator, Presence
from fusionlit.models.averaging import keep_the_average, restart_averages
from fusionlit.models.hparams import (
    MAY_CHANGE,
    check_replaced,
    class_path,
    to_config,
    warn_of_script,
    without_initial_files,
)
from fusionlit.models.normalization import InputNormalization, pending, take_statistics
from fusionlit.models.presence import complete, zero_missing
from fusionlit.models.saved import read_saved
from fusionlit.models.schedules import training_length, warn_of_misfit
from fusionlit.models.schema import check_annotation, check_modalities, check_order, check_schema
from fusionlit.models.training import TrainingConfig
from fusionlit.models.trust import INSTANTIATOR, check_checkpoint
from fusionlit.types import Energy, Modalities, as_specs, shapes_of

if TYPE_CHECKING:
    guarded = classmethod
else:  # Lightning's own, which refuses calls on an instance, whose weights would not change
    guarded = type(vars(LightningModule)["load_from_checkpoint"])


class MultimodalModule(LightningModule, Whole, ABC):
    """Handles modalities, their normalisation and presence, checkpoints, optimizer groups and compilation.

    It has no target; `FusionModule` adds one. `fusion_layers` names the fusion operators, if any, whose weights form an
    optimizer group of their own.

    Args:
        modalities: Spec or shape of each modality; linked from the data on the command line.
        training: Optimizer, scheduler, learning rate of the fusion weights, compilation.
        normalize: Standardise each input channel with the statistics of the training split.

    Raises:
        ConfigError: If a modality name is invalid.
    """

    def __init__(self, modalities: Modalities, training: TrainingConfig, normalize: bool) -> None:
        super().__init__()
        self.save_hyperparameters()
        self._unsaveable: ConfigError | None = None
        try:
            self.save_hyperparameters(to_config(dict(self.hparams)))
        except ConfigError as error:  # raised only if checkpoints are to be written
            self._unsaveable = error
            self.hparams.clear()
        check_annotation(type(self), modalities)
        self.modalities = as_specs(modalities)
        check_modalities(self.modalities)
        self.shapes = shapes_of(self.modalities)
        self.training_setup = training
        self.normalization = nn.ModuleDict(
            {name: InputNormalization(spec.shape) for name, spec in self.modalities.items() if spec.normalize}
            if normalize
            else {}
        )
        self.measuring = False
        self._compiled: Callable[..., Any] | None = None

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """Fusion operators by layer name, in order of depth."""
        return {}

    def fusion_weights(self) -> dict[str, dict[str, Tensor]]:
        """Fusion weight of each source at each layer with fusion weights, in order of depth."""
        weights = {layer: operator.fusion_weights() for layer, operator in self.fusion_layers().items()}
        return {layer: sources for layer, sources in weights.items() if sources}

    def fusion_parameters(self) -> list[nn.Parameter]:
        """Trainable parameters of the fusion weights of all layers."""
        return [p for op in self.fusion_layers().values() for p in op.fusion_parameters() if p.requires_grad]

    def fuse_at(self, layer: str, sources: Features, presence: Presence | None) -> tuple[Tensor, Energy]:
        """Fuse at one of `fusion_layers`.

        Returns:
            The fused features `(B, *out_shape)`, and the layer's energy while a callback measures; empty otherwise, or
                if the operator is not a sum.

        Raises:
            ConfigError: If there is no such layer, a source does not have the shape that the operator was built for, or
                the fused features do not have the operator's `out_shape`.
        """
        layers = self.fusion_layers()
        if layer not in layers:
            raise ConfigError(f"Expected one of the `fusion_layers` {list(layers)}, but got {layer!r}.")
        operator = layers[layer]
        for source, shape in operator.shapes.items():
            part = f"source {source!r} of layer {layer!r}"
            check_output(part, sources[source], shape, "the `out_shape` of its encoder or the `out_size` of its head")
        fused = operator(sources, presence)
        check_output(f"{type(operator).__name__} at layer {layer!r}", fused, operator.out_shape, "its `out_shape`")
        energy = operator.energy(sources, presence) if self.measuring else {}
        return fused, {layer: energy} if energy else {}

    def prepared(
        self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Normalise raw inputs `(B, *shape)`, with zeros for missing ones, and complete the presence masks `(B,)`.

        Raises:
            DataError: If an input or a presence mask does not fit the modalities.
        """
        check_inputs(inputs, self.modalities)
        inputs = {name: inputs[name] for name in self.modalities}
        if presence is not None:
            check_presence(presence, inputs)
            presence = complete(presence, inputs)
        norms = self.normalization
        inputs = {name: norms[name](x) if name in norms else x for name, x in inputs.items()}
        return zero_missing(inputs, presence), presence

    def run(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> Any:  # noqa: ANN401 (as `forward`)
        """Call `forward`, compiled if `training.compile_mode` is set."""
        return (self._compiled or self)(inputs, presence)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's own union)
        """Optimizer, with the fusion weights in a group of their own, and scheduler."""
        fusion = self.fusion_parameters()
        own = {id(p) for p in fusion}
        weights = [p for p in self.parameters() if p.requires_grad and id(p) not in own]
        optimizer = self.training_setup.make_optimizer(weights, fusion)
        schedule = self.training_setup.make_schedule(
            optimizer, lambda interval: training_length(self.trainer, interval)
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule} if schedule else optimizer

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:  # noqa: ANN401 (Lightning's own types)
        """Step the scheduler, then reset the learning rate of the fusion weights to its multiple."""
        super().lr_scheduler_step(scheduler, metric)
        self.training_setup.keep_fusion_rate(scheduler.optimizer, self.current_epoch)

    def setup(self, stage: str) -> None:
        """Compile if set; before training, fit the input normalisation to the training split."""
        if self.training_setup.compile_mode and self._compiled is None:
            torch.compiler.reset()  # after several models of one class, torch would fall back to eager mode
            functorch_config.donated_buffer = False  # held-out samples and balances backpropagate twice through a graph
            # A separate callable, not a wrapped module: checkpoints have the same names, compiled or not.
            self._compiled = torch.compile(self.__call__, mode=self.training_setup.compile_mode)
        if stage != "fit":
            return
        if self.trainer.checkpoint_callbacks:
            if self._unsaveable:
                raise self._unsaveable
            warn_of_script(self._configuration())
        take_statistics(self.normalization, self.trainer)
        restart_averages(self.trainer, self)

    def on_train_start(self) -> None:
        """Warn if the schedule does not end with training; set the learning rate of the fusion weights."""
        warn_of_misfit(self.trainer)
        for optimizer in self.trainer.optimizers:
            self.training_setup.keep_fusion_rate(optimizer, self.current_epoch)

    def on_train_epoch_start(self) -> None:
        """Start training the fusion weights after their frozen epochs."""
        for optimizer in self.trainer.optimizers:
            self.training_setup.keep_fusion_rate(optimizer, self.current_epoch)

    def on_test_start(self) -> None:
        """Warn if the model has never been trained; also before validation and prediction."""
        if pending(self.normalization):
            rank_zero_warn(f"This {type(self).__name__} has never been trained: give its checkpoint (--ckpt_path).")

    on_validation_start = on_predict_start = on_test_start

    @guarded
    def load_from_checkpoint(
        cls,  # noqa: N805 (a classmethod)
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,  # noqa: ANN401 (Lightning's own union)
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **kwargs: Any,  # noqa: ANN401 (arguments of the model)
    ) -> Self:
        """Load a trained model, after checking that everything its checkpoint names is trusted (`models/trust.py`).

        The checkpoint stores its class: any base class of it will do. Pass `training` or `task` to change how the model
        is trained further.

        Raises:
            ConfigError: If the checkpoint names something untrusted or is not of this class, an `hparams_file` or
                another argument of the model is given, or the given arguments change the network.
        """
        if hparams_file is not None:
            raise ConfigError("Expected no `hparams_file`: a checkpoint of fusionlit contains its hyperparameters.")
        saved = read_saved(checkpoint_path, weights_only)
        model = check_checkpoint(saved, cls, str(checkpoint_path), replaced=kwargs)
        if model is not cls:
            loaded: Self = model.load_from_checkpoint(
                checkpoint_path, map_location, None, strict, weights_only, **kwargs
            )
            return loaded
        own = check_replaced(cls, kwargs)
        kwargs |= to_config({name: kwargs[name] for name in own})
        try:
            return super().load_from_checkpoint(checkpoint_path, map_location, None, strict, weights_only, **kwargs)
        except RuntimeError as error:
            if changed := sorted(own & set(MAY_CHANGE)):
                raise ConfigError(
                    f"Expected {' and '.join(changed)} to fit the network of the checkpoint, but the network differs"
                    f" (in its unimodal heads, for example). {error}"
                ) from error
            raise

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the modalities, and the hyperparameters as plain configuration."""
        if self._unsaveable:
            raise self._unsaveable
        checkpoint["modalities"] = [[name, to_config(spec)] for name, spec in self.modalities.items()]
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {
            **without_initial_files(self._configuration()),
            "_instantiator": INSTANTIATOR,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise ConfigError if the checkpoint was trained on other modalities."""
        if self._trainer is None or self._trainer.state.fn != TrainerFn.FITTING:
            keep_the_average(checkpoint)
        saved = as_specs(dict(checkpoint["modalities"]))
        check_schema(saved, self.modalities)
        check_order(list(saved), list(self.modalities), type(self).__name__)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_compiled": None}  # a copy would run this module's network

    def _configuration(self) -> dict[str, Any]:
        return {"_class_path": class_path(type(self)), **self.hparams}
