from .cli.run import Run, build_run
from .data import (
    ArrayDataModule,
    FusionDataModule,
    GroupedDataModule,
    ReplicatorDataModule,
    SignalDataModule,
)
from .encoders import Encoder, Head, StagedEncoder
from .errors import ConfigError, DataError, FusionlitError
from .fusion import FusionOperator
from .models import (
    CentralNet,
    EarlyFusion,
    Ensemble,
    FusionModule,
    IntermediateFusion,
    LateFusion,
    MultimodalModule,
    TrainingConfig,
    Unimodal,
)
from .tasks import Task
from .types import Batch, FusionOutput, ModalitySpec, TargetSpec

__all__ = [
    "ArrayDataModule",
    "Batch",
    "CentralNet",
    "ConfigError",
    "DataError",
    "EarlyFusion",
    "Encoder",
    "Ensemble",
    "FusionDataModule",
    "FusionModule",
    "FusionOperator",
    "FusionOutput",
    "FusionlitError",
    "GroupedDataModule",
    "Head",
    "IntermediateFusion",
    "LateFusion",
    "ModalitySpec",
    "MultimodalModule",
    "ReplicatorDataModule",
    "Run",
    "SignalDataModule",
    "StagedEncoder",
    "TargetSpec",
    "Task",
    "TrainingConfig",
    "Unimodal",
    "build_run",
]

__version__: str
