"""Unimodal teachers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fusionlit.encoders import StagedEncoder
from fusionlit.errors import ConfigError
from fusionlit.functional import feature_distance, prediction_divergence
from fusionlit.models.balance.base import Balance
from fusionlit.models.balance.encoders import own_encoders, own_parameters
from fusionlit.models.presence import zero_missing
from fusionlit.tasks import BatchMean
from fusionlit.types import Batch, FusionOutput, Modalities

if TYPE_CHECKING:
    from fusionlit.models.base import FusionModule
    from fusionlit.models.unimodal import Unimodal

Distilled = Literal["features", "predictions"]


class UMT(Balance):
    """UMT: distil a frozen unimodal teacher into the encoder of each modality.

    The loss is `loss + weight sum_k d_k`. With `of: features`, d_k is the mean squared difference between the features
    of encoder k and of its teacher, over the samples with the modality. With `of: predictions`, d_k is the divergence
    of the unimodal head's prediction from the teacher's, `T^2 KL(teacher | head)`; for regression, the mean squared
    difference. Logged per modality: the epoch's mean of d_k.

    Teachers use their own input normalisation and are in evaluation mode. They are loaded when training starts and are
    not part of checkpoints: the student's checkpoint loads without them, and only further training needs them.

    Source: Du et al., "On uni-modal feature learning in supervised multi-modal learning", 2023 (arXiv 2305.01233),
    which distils features; distilling predictions is ours, after Hinton et al. 2015 (arXiv 1503.02531).

    Args:
        modalities: Modalities; passed by the model.
        teachers: Checkpoint of a trained `Unimodal` by modality; omitted modalities have no teacher.
        of: What to distil: the encoders' `features` or the unimodal heads' `predictions`.
        weight: Weight of the distances in the loss.
        temperature: T, for class predictions.

    Raises:
        ConfigError: If `teachers` is empty or names an unknown modality, or another argument is invalid.
    """

    def __init__(
        self,
        modalities: Modalities,
        teachers: dict[str, str],
        of: Distilled = "features",
        weight: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(modalities)
        if not teachers or not set(teachers) <= set(modalities):
            raise ConfigError(
                f"Expected `teachers` of UMT to name some of the modalities {list(modalities)}, but got"
                f" {list(teachers)}."
            )
        if of not in get_args(Distilled):
            raise ConfigError(f"Expected `of` of UMT to be one of {get_args(Distilled)}, but got {of!r}.")
        for name, value in (("weight", weight), ("temperature", temperature)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"Expected `{name}` of UMT to be a number > 0, but got {value}.")
        self.names = list(teachers)
        self.means.names = self.names
        self.paths = dict(teachers)
        self.of = of
        self.needs_heads = of == "predictions"
        self.weight = weight
        self.temperature = temperature
        self.teachers: dict[str, Unimodal] = {}
        self._features: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []

    def begin(self, model: FusionModule) -> None:
        """Load the teachers, and register hooks on the encoders."""
        # A circular import at the top: members are fusion models, whose base imports this package.
        from fusionlit.models.members import load_member

        self.end(model)
        if self.of == "features" and model.training_setup.compile_mode:
            raise ConfigError(
                "UMT hooks the encoders for their features, which a compiled network does not allow: leave out"
                " `training.compile_mode`, or set `of: predictions`."
            )
        for name, path in self.paths.items():
            if not Path(path).is_file():
                raise ConfigError(
                    f"Expected `teachers.{name}` to be a checkpoint of Unimodal, but there is no file {path}."
                    " Further training needs the teachers again."
                )
            teacher, _ = load_member(path, name, model, "teachers")
            self.teachers[name] = teacher.requires_grad_(False).eval()
        if self.of == "features":
            why = "UMT distils the features of"
            own_parameters(model, self.names, why)
            for name, encoder in own_encoders(model, self.names, why).items():
                last = encoder.stages[-1] if isinstance(encoder, StagedEncoder) else encoder
                self._hooks.append(last.register_forward_hook(partial(self._keep, name)))

    def end(self, model: FusionModule) -> None:
        """Remove the hooks and the teachers."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._features, self.teachers = [], {}, {}

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """The loss plus the weighted distances from the teachers."""
        if self.of == "predictions":
            self.check_output(output)
        distances = []
        for name, teacher in self.teachers.items():
            features, present = self._teach(teacher, name, batch, next(model.parameters()))
            if self.of == "features":
                student = self._features.pop(name)
                _check_shapes(name, student, features)
                distances.append(feature_distance(student, features, present))
            else:
                student, taught = output.unimodal[name], teacher.head(features)
                kind = model.target.kind
                distances.append(prediction_divergence(student, taught, kind, self.temperature, present))
        each = torch.stack(distances)
        self.means.add(each)
        return total + self.weight * each.sum()

    @torch.no_grad()
    def _teach(self, teacher: Unimodal, name: str, batch: Batch, like: Tensor) -> tuple[Tensor, Tensor | None]:
        own = next(teacher.parameters())
        if own.device != like.device or own.dtype != like.dtype:
            teacher.to(like.device, like.dtype)
        given: dict[str, Tensor] = batch.get("presence") or {}
        present = given.get(name)
        x = batch["inputs"][name]
        if teacher.normalization:
            x = teacher.normalization[name](x)
        x = zero_missing({name: x}, None if present is None else {name: present})[name]
        return cast(Tensor, teacher.encoder(x)), present

    def _keep(self, name: str, module: nn.Module, inputs: Any, features: Tensor) -> None:  # noqa: ANN401
        if module.training:
            self._features[name] = features


def _check_shapes(name: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ConfigError(
            f"Expected the features of {name!r} to have the shape of its teacher's, {tuple(teacher.shape[1:])}, but got"
            f" {tuple(student.shape[1:])}: give both the same encoder, or set `of: predictions`."
        )
