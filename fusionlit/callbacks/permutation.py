"""Permutation importance of modalities, on request."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from fusionlit.analysis.permutation import permutation_importance
from fusionlit.data import FusionDataModule
from fusionlit.errors import ConfigError
from fusionlit.models.base import FusionModule
from fusionlit.types import Split


class PermutationLogger(Callback):
    """After a `validate` or `test` run, log the drop of each metric when one modality is permuted across samples.

    Logged and printed as `permutation/<modality>/<metric>`; defined in `analysis.permutation`. It evaluates the model
    once more per modality, so it must be added explicitly: `--trainer.callbacks+=PermutationLogger`.

    Args:
        seed: Seed of the permutation.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the validation split, except during training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._log(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the test split."""
        self._log(trainer, pl_module, "test")

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: Split) -> None:
        data = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, FusionModule) or not isinstance(data, FusionDataModule):
            raise ConfigError(
                "Expected a FusionModule and a FusionDataModule for PermutationLogger: use `fusionlit test`."
            )
        importance = permutation_importance(pl_module, data, split, self.seed)
        drops = {
            f"permutation/{name}/{metric}": drop
            for name, metrics in importance.drop.items()
            for metric, drop in metrics.items()
        }
        for tag, drop in drops.items():
            rank_zero_info(f"{tag}: {drop:+.4f}")
        for logger in trainer.loggers:
            logger.log_metrics(drops, step=trainer.global_step)
