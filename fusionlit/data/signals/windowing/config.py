"""How windows are cut from long recordings, as YAML says it."""

from dataclasses import dataclass, field
from typing import Literal

from fusionlit.errors import ConfigError


@dataclass(frozen=True)
class Columns:
    """Which column of a CSV file plays which role; all others are channels.

    `time` and `label` must be there; `recording`, `group` and `split` may lack as long as they keep their default name.

    Args:
        time: Time stamp of each row.
        label: Class of each row; an empty cell means that the row is not labeled.
        recording: Which recording a row belongs to; default: a file is a recording.
        group: What a split must not tear apart, such as the subject; default: the recording.
        split: Official split of each recording: `train`, `val` or `test`.
    """

    time: str = "time"
    label: str = "label"
    recording: str = "recording"
    group: str = "group"
    split: str = "split"


@dataclass(frozen=True)
class Windowing:
    """Windows of equal length in seconds, aligned in time over sensors of different rates.

    Window k covers `[t0 + k hop, t0 + k hop + length)` of a recording for every channel; a channel of rate r gives it
    `round(length r)` samples, the first at the window's start. Steps of more than 2.5 sampling periods are gaps, where
    values are missing: what becomes of those is the data module's `on_missing` and `max_gap`.

    Args:
        length: Length of a window, in `unit`.
        unit: Of `length` and `hop`: seconds, or samples of the fastest channel.
        hop: From one window's start to the next, in `unit`; default: `length`, so that windows do not overlap.
        rates: Samples per second (Hz) by channel or modality; default: as estimated from the time stamps.
        span: `all` cuts windows while every sensor of a recording runs; `any` from the first to the last sample of
            any, so that a sensor that starts late or stops early is missing from some windows.
        time_unit: Unit of the time column; it may count from any origin.
        columns: Names of the time, label and other columns.

    Raises:
        ConfigError: If a number is not positive, or a length in samples is not whole.
    """

    length: float
    unit: Literal["seconds", "samples"]
    hop: float | None = None
    rates: dict[str, float] | None = None
    span: Literal["all", "any"] = "all"
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        lengths = {"length": self.length} | ({} if self.hop is None else {"hop": self.hop})
        for name, value in (lengths | (self.rates or {})).items():
            if not 0 < value < float("inf"):
                where = f"`{name}`" if name in lengths else f"the rate of {name!r}"
                raise ConfigError(f"Expected {where} of Windowing to be a number above 0, but got {value}.")
        for name, value in lengths.items():
            if self.unit == "samples" and value != round(value):
                raise ConfigError(
                    f"Expected `{name}` of Windowing to be whole with `unit: samples`, but got {value}."
                    " For seconds set `unit: seconds`."
                )

    def seconds(self, fastest: float) -> tuple[float, float]:
        """Length and hop (s), where the fastest channel has so many samples per second."""
        scale = 1.0 if self.unit == "seconds" else 1.0 / fastest
        return self.length * scale, (self.length if self.hop is None else self.hop) * scale
