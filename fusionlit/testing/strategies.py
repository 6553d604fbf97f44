"""Contract of fusion models."""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fusionlit.console import quiet_lightning
from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule
from fusionlit.testing import absence, laws
from fusionlit.testing.cases import BATCH, Case, close, draw, name_of, reseed, weigh
from fusionlit.testing.laws import uphold
from fusionlit.types import Batch, Modalities, TargetKind, TargetSpec, as_specs, shapes_of

MODALITIES: Modalities = {"a": (3, 16), "b": (3, 16), "c": (3, 16)}
TWO_CLASSES = TargetSpec("multiclass", 2)
StrategyFactory = Callable[..., FusionModule]


def check_strategy(
    factory: StrategyFactory, modalities: Modalities | None = None, target: TargetSpec = TWO_CLASSES
) -> None:
    """Check the laws of a fusion model.

    Args:
        factory: Function of the keywords `modalities` and `target` that returns the model: the class itself, or a
            partial.
        modalities: Modalities of small shape; default: three signals `(3, 16)`.
        target: Prediction target.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what happened, and what to do.
    """
    uphold(StrategyCase(factory, modalities or MODALITIES, target), LAWS)


@dataclass(frozen=True)
class StrategyCase(Case):
    """A fusion model for some modalities."""

    factory: StrategyFactory
    modalities: Modalities
    target: TargetSpec

    def __str__(self) -> str:
        return name_of(self.factory)

    def make(self) -> FusionModule:
        """The factory's fusion model."""
        return self.factory(modalities=dict(self.modalities), target=self.target)

    def inputs(self, batch: int = BATCH) -> dict[str, Tensor]:
        """Standard normal inputs; tokens are 0 and 1."""
        drawn = draw(shapes_of(self.modalities), batch)
        tokens = {name for name, spec in as_specs(self.modalities).items() if spec.whole_numbers}
        return {name: (x > 0).long() if name in tokens else x for name, x in drawn.items()}

    def run(self, module: nn.Module, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> Tensor:
        """The prediction and the unimodal predictions, concatenated."""
        output = module(inputs, presence)
        return torch.cat([output.prediction, *output.unimodal.values()], dim=1)

    def batch(self) -> Batch:
        """A batch with random targets, in which the k-th sample lacks the k-th modality."""
        generator = torch.Generator().manual_seed(2)
        numbers = torch.rand(BATCH, self.target.size, generator=generator, dtype=torch.float64)
        targets = {
            "multiclass": (self.target.size * numbers[:, 0]).long(),
            "binary": (numbers[:, 0] > 0.5).long(),
            "multilabel": (numbers > 0.5).long(),
            "regression": numbers,
        }
        index = torch.arange(BATCH)
        presence = {name: index != k for k, name in enumerate(self.modalities)}
        return {"inputs": self.inputs(), "presence": presence, "target": targets[self.target.kind], "index": index}


def it_is_a_strategy(case: StrategyCase) -> str | None:
    """A fusion model is a subclass of `fusionlit.models.FusionModule`."""
    made = case.make()
    return None if isinstance(made, FusionModule) else f"it is a {type(made).__name__}."


def it_predicts_every_kind_of_target(case: StrategyCase) -> str | None:
    """For every kind of target that it accepts, it predicts `(B, size)`; unimodal predictions are named by modality."""
    for kind in get_args(TargetKind):
        target = TargetSpec(kind, 1 if kind == "binary" else 3)
        try:
            model = StrategyCase(case.factory, case.modalities, target).build()
        except ConfigError:
            continue
        output = model(case.inputs())
        shapes = {tuple(x.shape) for x in (output.prediction, *output.unimodal.values())}
        if shapes != {(BATCH, target.size)}:
            return f"for a {kind} target of size {target.size}, a batch of {BATCH} gave {sorted(shapes)}."
        if strange := sorted(set(output.unimodal) - set(case.modalities)):
            return f"unimodal predictions name {strange}."
    return None


def layers_are_its_modules(case: StrategyCase) -> str | None:
    """`fusion_layers` are operators among the model's own modules, so that they are trained and logged."""
    model = case.build()
    own = {id(module) for module in model.modules()}
    strange = [layer for layer, operator in model.fusion_layers().items() if id(operator) not in own]
    return f"those of {strange} are not. Keep them as attributes, not in a plain list or dict." if strange else None


def every_parameter_gets_a_gradient(case: StrategyCase) -> str | None:
    """The loss depends on every trainable parameter and every entry of fusion parameters of several sources."""
    batch = case.batch()

    def objective(model: FusionModule, inputs: dict[str, Tensor]) -> Tensor:
        loss, _ = model.multitask_loss(model(inputs, batch["presence"]), {**batch, "inputs": inputs})
        return loss + weigh(case.run(model, inputs, batch["presence"]))

    def fusion_parameters(model: FusionModule, of_several: bool = True) -> list[nn.Parameter]:
        layers = model.fusion_layers().values()
        return [p for op in layers if (len(op.shapes) > 1) == of_several for p in op.fusion_parameters()]

    without, _ = laws.gradients(case, objective, fusion_parameters)
    model = case.build()
    of_one = {id(p) for p in fusion_parameters(model, of_several=False)}  # a softmax over one has no gradient
    asked = {f"parameter `{name}`" for name, p in model.named_parameters() if id(p) not in of_one}
    idle = [name for name in without if name in asked]
    return f"it does not depend on {', '.join(idle)}. Is each one used, and not detached?" if idle else None


def no_module_is_skipped(case: StrategyCase) -> str | None:
    """Every parameter is in the graph of the loss whichever modalities are missing, as DDP requires."""
    for there in product([True, False], repeat=len(case.modalities)):
        have = [name for name, x in zip(case.modalities, there, strict=True) if x]
        if have:
            model, batch = case.build().train(), case.batch()
            batch["presence"] = {name: torch.full((BATCH,), name in have) for name in case.modalities}
            torch.autograd.backward(model.multitask_loss(model(batch["inputs"], batch["presence"]), batch)[0])
            left = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
            if left:
                return (
                    f"with only {have}, {left} are not. Run every module, also for missing modalities (`Imputation`)."
                )
    return None


def energies_are_returned_while_measuring(case: StrategyCase) -> str | None:
    """While `measuring`, and only then, it returns the energies `(B,)` of its fusion layers by source."""
    model = case.build()
    if model(case.inputs()).energy:
        return "it always returns them, which slows training. Fuse with `self.fuse_at(...)`."
    model.measuring = True
    energy = model(case.inputs()).energy or {}
    wanted = {layer for layer, operator in model.fusion_layers().items() if operator.has_energy}
    if set(energy) != wanted:
        return f"it returns those of {list(energy)}, but the layers with energy are {sorted(wanted)}."
    wrong = {(layer, source) for layer, terms in energy.items() for source, x in terms.items() if x.shape != (BATCH,)}
    return f"those of {wrong} are not of shape (B,)." if wrong else None


def it_trains_and_its_checkpoint_loads_alone(case: StrategyCase) -> str | None:
    """Training includes every trainable parameter, and `load_from_checkpoint` alone gives the same model."""
    reseed()
    model, batch = case.make(), case.batch()
    inputs = {name: x.float() for name, x in batch["inputs"].items()}
    batch["inputs"] = inputs
    loader: DataLoader[Any] = DataLoader([batch], batch_size=None)  # type: ignore[arg-type]  # a list is a data set
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), quiet_lightning():
        warnings.simplefilter("ignore")  # of plain loaders, without statistics and workers
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, loader, loader)
        trainer.save_checkpoint(Path(folder) / "one.ckpt")
        loaded = type(model).load_from_checkpoint(Path(folder) / "one.ckpt")
    trained = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
    left = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in trained]
    if left:
        return f"no optimizer includes {left}."
    if close(case.run(loaded.eval(), inputs), case.run(model.eval(), inputs)):
        return None
    return "the loaded model predicts something else. Make everything that it is built from an argument of __init__."


LAWS = [
    it_is_a_strategy,
    it_predicts_every_kind_of_target,
    laws.a_batch_of_one_stays_one,
    laws.the_result_is_finite,
    laws.everything_is_registered,
    layers_are_its_modules,
    laws.evaluation_changes_nothing,
    laws.samples_do_not_mix,
    laws.order_of_the_inputs_does_not_matter,
    laws.state_dict_is_whole,
    absence.presence_of_all_is_no_presence,
    absence.every_subset_is_answered,
    absence.absent_content_reaches_nothing,
    absence.absence_is_each_samples_own,
    every_parameter_gets_a_gradient,
    no_module_is_skipped,
    energies_are_returned_while_measuring,
    it_trains_and_its_checkpoint_loads_alone,
    laws.compiles_to_one_graph,
]
