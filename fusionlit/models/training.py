"""How a strategy is trained: optimizer, scheduler, fusion weights' rate, multi-task loss."""

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
"""Of `torch.compile`; `reduce-overhead` replays CUDA graphs, which is what small networks on a GPU want."""


AdamUnlessNamed = Callable[[Iterable[Any]], torch.optim.Adam] | OptimizerCallable
"""Any optimizer; in a configuration, the arguments of one without a class (`optimizer: {lr: 0.01}`) are Adam's."""


@dataclass(frozen=True)
class Training:
    """How a strategy is trained.

    The parameters behind the fusion weights get a group of their own, without weight decay, whose learning rate is
    `fusion_lr_mult` times that of the others at every step, whatever the scheduler: under a shared rate they hardly
    move.

    Args:
        optimizer: From parameters to an optimizer; default: Adam with a learning rate of 1e-3. One that takes a single
            group, such as LBFGS, gives the fusion weights the rate of all others; LBFGS goes neither with
            `fusion_held_out` nor with `balance`.
        scheduler: From the optimizer to a scheduler; default: none. `WarmupCosine` takes the length of the training
            from the trainer, as do `OneCycleLR` without `total_steps`, `CosineAnnealingLR` without
            `T_max` and `PolynomialLR` without `total_iters`.
        interval: Whether the scheduler steps once per epoch or per optimizer step; default: `step` for WarmupCosine
            and OneCycleLR, else `epoch`.
        monitor: Metric that a scheduler such as ReduceLROnPlateau follows.
        fusion_lr_mult: Learning rate of the fusion weights over that of everything else. Gates and attention have no
            parameters of this kind.
        frozen_fusion_epochs: Keep the fusion weights as they are for the first so many epochs.
        fusion_held_out: Share of the training samples, in [0, 1), that teach the fusion weights and nothing else; the
            rest of the network learns from the others. Weights that learn from the samples which the network knows by
            heart go to whatever remembers best, noise included. Default: .1 for CentralNet, 0 for the others.
        unimodal_loss_weight: Weight b_k of each modality's own loss in `loss + sum_k b_k loss_k`, one for all or one
            per modality; default: 1 for CentralNet, 0 (no unimodal heads) for the others.
        fusion_l1: Factor of `sum |a|` over the raw fusion weights `a` in the training loss; the product is logged as
            `train/fusion_l1`. Only where all fusion weights are raw (`weights: raw`).
        modality_dropout: Probability that a training sample loses a modality that it has, one for all or one per
            modality; a sample never loses all that it has.
        compile_mode: Compile the network with `torch.compile` in this mode, when training, validation or a test begins;
            default: do not. It takes a minute or so and a C++ compiler, and pays in long runs.
        balance: What keeps one modality from being learned at the cost of the others: `OGMGE`, `MMPareto`, `AMCo`,
            `GBlending` or `UMT`; default: nothing does. All but `UMT` of features need `unimodal_loss_weight`.

    Raises:
        ConfigError: If `fusion_lr_mult` or `fusion_l1` is negative, `fusion_held_out` is no share below 1, or there is
            no such mode.
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
        """Optimizer of `weights`, with `fusion` as a second group if there are any and it takes two, else of all alike.

        Raises:
            ConfigError: If nothing is there to be trained, or the optimizer does not take it.
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
                f"Expected an `optimizer` that takes the parameters of this model, but it refuses ({error}). Change its"
                " arguments, or choose another one."
            ) from error
        name = type(optimizer).__name__
        if self.frozen_fusion_epochs:
            raise ConfigError(
                f"{name} has one group of parameters, so that it cannot keep the fusion weights as they are: set"
                " `frozen_fusion_epochs` to 0, or choose another optimizer."
            )
        for parameter in parameters:  # LBFGS flattens gradients, which are laid as their parameters, without a copy
            parameter.data = parameter.data.contiguous()
        rank_zero_warn(
            f"{name} has one group of parameters: the fusion weights learn at the rate of all others, and"
            f" `fusion_lr_mult` ({self.fusion_lr_mult:g}) is left out."
        )
        return optimizer

    def keep_fusion_rate(self, optimizer: Optimizer, epoch: int) -> None:
        """Set the fusion group's learning rate to `fusion_lr_mult` times the first group's, or 0 while it is frozen."""
        mult = self.fusion_lr_mult if epoch >= self.frozen_fusion_epochs else 0.0
        for group in optimizer.param_groups:
            if group.get("name") == "fusion_weights":
                group["lr"] = optimizer.param_groups[0]["lr"] * mult

    def make_schedule(
        self, optimizer: Optimizer, training_length: Callable[[Interval], int | None]
    ) -> dict[str, Any] | None:
        """Lightning's description of the scheduler, or None; `training_length` fills in what it leaves open.

        Raises:
            ConfigError: If it leaves its length open, and the training has none.
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
        """Weight b_k of every modality.

        Raises:
            ConfigError: If a weight is negative, or names a modality that is not there.
        """
        given = default if self.unimodal_loss_weight is None else self.unimodal_loss_weight
        weights = by_modality("unimodal_loss_weight", given, modalities)
        negative = {name: weight for name, weight in weights.items() if weight < 0}
        if negative:
            raise ConfigError(f"Expected `unimodal_loss_weight` to be >= 0, but got {negative}.")
        return weights

    def dropout_probabilities(self, modalities: Mapping[str, Any]) -> dict[str, float]:
        """Probability of every modality to be dropped.

        Raises:
            ConfigError: If a probability is not in [0, 1), or belongs to a modality that is not there.
        """
        probabilities = by_modality("modality_dropout", self.modality_dropout, modalities)
        wrong = {name: p for name, p in probabilities.items() if not 0 <= p < 1}
        if wrong:
            raise ConfigError(f"Expected `modality_dropout` to be in [0, 1), but got {wrong}.")
        return probabilities

    def make_balance(self, modalities: Modalities, unimodal_weights: dict[str, float]) -> Balance | None:
        """What keeps the modalities in balance, if anything does.

        Raises:
            ConfigError: If it is none, or needs unimodal heads that are not there.
        """
        if self.balance is None:
            return None
        balance = make(self.balance, Balance, modalities)
        balance.check_heads(unimodal_weights)
        return balance


def by_modality(argument: str, given: float | Mapping[str, float], modalities: Mapping[str, Any]) -> dict[str, float]:
    """One number for every modality, of one for all or of some by name, whose others are 0.

    Raises:
        ConfigError: If `given` names a modality that is not there.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(modalities, given)
    unknown = sorted(set(given) - set(modalities))
    if unknown:
        raise ConfigError(f"Expected `{argument}` to name modalities {list(modalities)}, but got {unknown}.")
    return {name: given.get(name, 0.0) for name in modalities}
