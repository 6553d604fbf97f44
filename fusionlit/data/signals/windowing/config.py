"""Configuration of windowing: how windows are cut from long recordings."""

from dataclasses import dataclass, field
from typing import Literal

from fusionlit.errors import ConfigError


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a CSV file that are not channels.

    `time` and `label` are required; `recording`, `group` and `split` are optional unless given another name than the
    default.

    Args:
        time: Column of time stamps.
        label: Column of the class of each row; an empty cell means that the row is unlabelled.
        recording: Column of the recording that each row belongs to; without it, a file is a recording.
        group: Column of the group, such as the subject, which stays in one split; without it, a recording is a group.
        split: Column of the official split of each recording: `train`, `val` or `test`.
    """

    time: str = "time"
    label: str = "label"
    recording: str = "recording"
    group: str = "group"
    split: str = "split"


@dataclass(frozen=True)
class Windowing:
    """Windows of equal length in seconds, aligned in time across sensors with different rates.

    Window k covers `[t0 + k hop, t0 + k hop + length)` of a recording in every channel; a channel of rate r has
    `round(length r)` samples in it, the first at the start of the window. Steps of more than 2.5 sampling periods are
    gaps with missing values, which the data module handles by `on_missing` and `max_gap`.

    Args:
        length: Length of a window, in `unit`.
        unit: Unit of `length` and `hop`: seconds, or samples of the fastest channel.
        hop: Distance between the starts of consecutive windows, in `unit`; default: `length`, without overlap.
        rates: Samples per second (Hz) by channel or modality; default: estimated from the time stamps.
        span: `all` cuts windows while all sensors of a recording are running; `any` from the first to the last sample
            of any sensor, so that a sensor that starts late or stops early is missing in some windows.
        time_unit: Unit of the time column, which may have any origin.
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
                    f"Expected `{name}` of Windowing to be a whole number with `unit: samples`, but got {value}."
                    " For seconds, set `unit: seconds`."
                )

    def seconds(self, fastest: float) -> tuple[float, float]:
        """Length and hop (s), given the rate of the fastest channel (Hz)."""
        scale = 1.0 if self.unit == "seconds" else 1.0 / fastest
        return self.length * scale, (self.length if self.hop is None else self.hop) * scale
