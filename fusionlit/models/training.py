"""Training settings: optimizer, scheduler, learning rate of the fusion weights, multi-task loss."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from torch.optim import Optimizer

from fusionlit.contracts import make
from fusionlit.errors import ConfigError
from fusionlit.models.balance.base import Balance, BalanceFactory
from fusionlit.models.optimizers import use_fused_kernel
from fusionlit.models.schedules import Interval, check_length, open_length, own_interval
from fusionlit.types import Modalities

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
"""Modes of `torch.compile`; `reduce-overhead` uses CUDA graphs, which suits small networks on a GPU."""


AdamUnlessNamed = Callable[[Iterable[Any]], torch.optim.Adam] | OptimizerCallable
"""Any optimizer; in a configuration, arguments without a class (`optimizer: {lr: 0.01}`) are those of Adam."""


@dataclass(frozen=True)
class TrainingConfig:
    """Training settings of a fusion model.

    The parameters of the fusion weights form an optimizer group of their own, without weight decay. Its learning rate
    is `fusion_lr_mult` times that of the others at every step, whatever the scheduler: at the same rate, fusion weights
    hardly change.

    Args:
        optimizer: Factory of the optimizer; default: Adam with a learning rate of 1e-3. An optimizer with a single
            group, such as LBFGS, trains the fusion weights at the common rate; LBFGS cannot be combined with
            `fusion_held_out` or `balance`.
        scheduler: Factory of the scheduler; default: none. `WarmupCosine` takes its length from the trainer, as do
            `OneCycleLR` without `total_steps`, `CosineAnnealingLR` without `T_max` and `PolynomialLR` without
            `total_iters`.
        interval: Step the scheduler once per `epoch` or per optimizer `step`; default: `step` for WarmupCosine and
            OneCycleLR, else `epoch`.
        monitor: Metric for schedulers such as ReduceLROnPlateau.
        fusion_lr_mult: Learning rate of the fusion weights as a multiple of that of all other parameters. Gates and
            attention have no such parameters.
        frozen_fusion_epochs: Initial epochs with frozen fusion weights.
        fusion_held_out: Share of the training samples, in [0, 1), that train only the fusion weights; the rest of the
            network is trained on the others. Fusion weights trained on the same samples as the network favour sources
            that memorise them, even noise. Default: 0.1 for CentralNet, 0 for the others.
        unimodal_loss_weight: Weight b_k of the unimodal losses in `loss + sum_k b_k loss_k`, one for all or one per
            modality; default: 1 for CentralNet, 0 (no unimodal heads) for the others.
        fusion_l1: Factor of the L1 penalty `sum |a|` over the fusion weights `a` in the training loss; the product is
            logged as `train/fusion_l1`. Requires that all fusion weights are raw (`weights: raw`).
        modality_dropout: Probability of dropping a modality of a training sample, one for all or one per modality; a
            sample never loses all of its modalities.
        compile_mode: Mode of `torch.compile` for the network; default: not compiled. Compiling takes about a minute and
            needs a C++ compiler; it pays off in long runs.
        balance: Modality balance, against one modality being learned at the cost of the others: `OGMGE`, `MMPareto`,
            `AMCo`, `GBlending` or `UMT`; default: none. All but `UMT` on features need `unimodal_loss_weight`.

    Raises:
        ConfigError: If `fusion_lr_mult` or `fusion_l1` is negative or infinite, `fusion_held_out` is not in [0, 1), or
            `compile_mode` is invalid.
    """

    optimizer: AdamUnlessNamed | None = None
    scheduler: LRSchedulerCallable | None = None
    interval: Interval | None = None
    monitor: str = "val/loss"
    fusion_lr_mult: float = 50.0
    frozen_fusion_epochs: int = 0
    fusion_held_out: float | None = None
    unimodal_loss_weight: float | dict[str, float] | None = None
    fusion_l1: float = 0.0
    modality_dropout: float | dict[str, float] = 0.0
    compile_mode: CompileMode | None = None
    balance: BalanceFactory | None = None

    def __post_init__(self) -> None:
        if self.compile_mode not in (None, *get_args(CompileMode)):
            raise ConfigError(
                f"Expected `compile_mode` to be one of {get_args(CompileMode)}, but got {self.compile_mode!r}."
            )
        for name in ("fusion_lr_mult", "fusion_l1"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"Expected `{name}` to be a number >= 0, but got {getattr(self, name)}.")
        if not 0 <= (self.fusion_held_out or 0) < 1:
            raise ConfigError(f"Expected `fusion_held_out` to be a share in [0, 1), but got {self.fusion_held_out}.")

    def make_optimizer(self, weights: Iterable[nn.Parameter], fusion: Iterable[nn.Parameter]) -> Optimizer:
        """Optimizer of `weights`, with `fusion`, if any, as a second group if the optimizer supports it.

        Raises:
            ConfigError: If there is nothing to train, or the optimizer rejects the parameters.
        """
        weights, fusion = list(weights), list(fusion)
        if not weights and not fusion:
            raise ConfigError("Nothing in this model is trainable: run `fusionlit test` on it instead of `fit`.")
        groups: list[dict[str, Any]] = [{"params": weights}]
        if fusion:
            groups.append({"params": fusion, "weight_decay": 0.0, "name": "fusion_weights"})
        make_one: OptimizerCallable = self.optimizer or torch.optim.Adam
        try:
            optimizer = make_one(groups)
        except ValueError:
            optimizer = self._make_alike(make_one, [*weights, *fusion])
        use_fused_kernel(optimizer)
        self.keep_fusion_rate(optimizer, epoch=0)
        return optimizer

    def _make_alike(self, make_one: OptimizerCallable, parameters: list[nn.Parameter]) -> Optimizer:
        try:
            optimizer = make_one([{"params": parameters}])
        except ValueError as error:
            raise ConfigError(
                f"Expected an `optimizer` that accepts the parameters of this model, but it raised: {error}. Change its"
                " arguments, or choose another one."
            ) from error
        name = type(optimizer).__name__
        if self.frozen_fusion_epochs:
            raise ConfigError(
                f"{name} has a single parameter group, so it cannot freeze the fusion weights: set"
                " `frozen_fusion_epochs` to 0, or choose another optimizer."
            )
        for parameter in parameters:  # LBFGS views gradients, which have their parameters' strides, as flat
            parameter.data = parameter.data.contiguous()
        rank_zero_warn(
            f"{name} has a single parameter group: the fusion weights are trained at the common learning rate, and"
            f" `fusion_lr_mult` ({self.fusion_lr_mult:g}) is ignored."
        )
        return optimizer

    def keep_fusion_rate(self, optimizer: Optimizer, epoch: int) -> None:
        """Set the learning rate of the fusion group to `fusion_lr_mult` times the first group's, or 0 while frozen."""
        mult = self.fusion_lr_mult if epoch >= self.frozen_fusion_epochs else 0.0
        for group in optimizer.param_groups:
            if group.get("name") == "fusion_weights":
                group["lr"] = optimizer.param_groups[0]["lr"] * mult

    def make_schedule(
        self, optimizer: Optimizer, training_length: Callable[[Interval], int | None]
    ) -> dict[str, Any] | None:
        """Lightning's configuration of the scheduler, or None; `training_length` provides an omitted length.

        Raises:
            ConfigError: If the length is omitted, and training has none.
        """
        if self.scheduler is None:
            return None
        interval = self.interval or own_interval(self.scheduler)
        length = {}
        if argument := open_length(self.scheduler):
            length[argument] = check_length(self.scheduler, training_length(interval), interval)
        scheduler = self.scheduler(optimizer, **length)
        self.keep_fusion_rate(optimizer, epoch=0)
        return {"scheduler": scheduler, "interval": self.interval or own_interval(scheduler), "monitor": self.monitor}

    def unimodal_weights(self, modalities: Mapping[str, Any], default: float) -> dict[str, float]:
        """Weight b_k of each modality's unimodal loss.

        Raises:
            ConfigError: If a weight is negative, or a modality is unknown.
        """
        given = default if self.unimodal_loss_weight is None else self.unimodal_loss_weight
        weights = by_modality("unimodal_loss_weight", given, modalities)
        negative = {name: weight for name, weight in weights.items() if weight < 0}
        if negative:
            raise ConfigError(f"Expected `unimodal_loss_weight` to be >= 0, but got {negative}.")
        return weights

    def dropout_probabilities(self, modalities: Mapping[str, Any]) -> dict[str, float]:
        """Probability of dropping each modality.

        Raises:
            ConfigError: If a probability is not in [0, 1), or a modality is unknown.
        """
        probabilities = by_modality("modality_dropout", self.modality_dropout, modalities)
        wrong = {name: p for name, p in probabilities.items() if not 0 <= p < 1}
        if wrong:
            raise ConfigError(f"Expected `modality_dropout` to be in [0, 1), but got {wrong}.")
        return probabilities

    def make_balance(self, modalities: Modalities, unimodal_weights: dict[str, float]) -> Balance | None:
        """The modality balance, if any.

        Raises:
            ConfigError: If it is not a Balance, or needs unimodal heads that do not exist.
        """
        if self.balance is None:
            return None
        balance = make(self.balance, Balance, modalities)
        balance.check_heads(unimodal_weights)
        return balance


def by_modality(argument: str, given: float | Mapping[str, float], modalities: Mapping[str, Any]) -> dict[str, float]:
    """One number per modality, from one for all or from a mapping, in which omitted modalities are 0.

    Raises:
        ConfigError: If `given` names an unknown modality.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(modalities, given)
    unknown = sorted(set(given) - set(modalities))
    if unknown:
        raise ConfigError(f"Expected the keys of `{argument}` to be among {list(modalities)}, but got {unknown}.")
    return {name: given.get(name, 0.0) for name in modalities}
