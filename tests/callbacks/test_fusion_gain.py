"""One modality as good as the fusion is said; a fusion that knows more is not doubted."""

import warnings
from functools import partial

import pytest
import torch
from lightning import seed_everything
from torch.utils.data import Dataset

from fusionlit.callbacks import FusionGain
from fusionlit.data import FusionDataModule
from fusionlit.encoders import MLPEncoder, MLPHead
from fusionlit.models import CentralNet, IntermediateFusion, TrainingConfig
from fusionlit.types import TargetSpec

ENCODER = partial(MLPEncoder, widths=[16])
MULTITASK = TrainingConfig(optimizer=partial(torch.optim.Adam, lr=0.02), fusion_lr_mult=5.0, unimodal_loss_weight=1.0)


class Bits(Dataset):
    """Two sensors that read one bit each; the label is the first bit, or whether they differ (`number`: as a number).

    Of `rare`, the label is whether they differ, and few samples have `b`: those in which it says the label.
    """

    def __init__(self, seed: int, kind: str) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.bits = torch.randint(2, (256, 2), generator=generator)
        self.noise = 0.3 * torch.randn(256, 2, 2, generator=generator)
        self.label = self.bits[:, 0] if kind == "first" else self.bits.sum(1) % 2
        self.kind = kind

    def __len__(self) -> int:
        return 256

    def __getitem__(self, i: int) -> dict:
        x = 2.0 * self.bits[i, :, None] - 1 + self.noise[i]
        label = self.label[i].float()[None] if self.kind == "number" else self.label[i]
        sample = {"inputs": {"a": x[0], "b": x[1]}, "target": label, "index": i}
        if self.kind == "rare":
            says = (self.bits[i, 0] == 0) & (i % 8 == 0)
            sample["presence"] = {"a": torch.tensor(True), "b": says}
        return sample


class BitsData(FusionDataModule):
    modalities = {"a": (2,), "b": (2,)}  # noqa: RUF012 (a property of the base)
    target = TargetSpec("multiclass", 2)

    def __init__(self, kind: str) -> None:
        super().__init__(batch_size=32)
        self.kind = kind
        if kind == "number":
            self.target = TargetSpec("regression", 1)

    def dataset(self, split):
        return Bits({"train": 0, "val": 1, "test": 2}[split], self.kind)


def fit(make_trainer, kind, model_class=IntermediateFusion, **arguments):
    seed_everything(0, verbose=False)
    data = BitsData(kind)
    head = partial(MLPHead, hidden=(16,))
    arguments = {"training": MULTITASK, **arguments}
    model = model_class(data.modalities, data.target, ENCODER, head=head, **arguments)
    trainer = make_trainer(max_epochs=8, callbacks=[FusionGain()])
    trainer.fit(model, datamodule=data)
    return trainer.callback_metrics


def test_a_single_modality_that_knows_all_is_named(make_trainer):
    message = r"its best single modality, a: the validation accuracy is 1, and 1 for the unimodal head of a\."
    with pytest.warns(UserWarning, match=message):
        fit(make_trainer, "first")


@pytest.mark.parametrize("fuse_predictions", [False, True])
def test_exclusive_or_is_no_case_for_a_warning(make_trainer, fuse_predictions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        metrics = fit(make_trainer, "differ", CentralNet, fuse_predictions=fuse_predictions)
    assert metrics["val/accuracy"] > 0.95
    assert max(metrics["val/accuracy/a"], metrics["val/accuracy/b"]) < 0.65
    assert ("val/accuracy/central" in metrics) == fuse_predictions


def test_lower_is_better_where_the_metric_is_an_error(make_trainer):
    """Each sensor's own error of the exclusive or is the larger, and no case for a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        metrics = fit(make_trainer, "number")
    assert metrics["val/mse"] < 0.1 < 0.2 < min(metrics["val/mse/a"], metrics["val/mse/b"])


def test_a_modality_that_samples_lack_is_left_out(make_trainer):
    """Where `b` is there it says the label; the fusion is measured where it is not there, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message="The fusion is no better than its best single modality, a")
        metrics = fit(make_trainer, "rare")
    assert metrics["val/accuracy/b"] > metrics["val/accuracy"] + 0.1


def test_without_unimodal_heads_there_is_nothing_to_say(make_trainer):
    data = BitsData("first")
    model = IntermediateFusion(data.modalities, data.target, ENCODER)
    trainer = make_trainer(callbacks=[FusionGain()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer.fit(model, datamodule=data)
    assert "val/accuracy/a" not in trainer.callback_metrics
