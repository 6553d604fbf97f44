"""Convert public data sets to NPZ files for `ArrayDataModule`.

    python benchmarks/public_sets.py FOLDER            writes data/public/*.npz

Each file contains one array per sensor, `target`, `groups` if samples belong together, and `split` if the source has an
official split. FOLDER contains:

- `ts/<NAME>/<NAME>_TRAIN.ts`, `_TEST.ts`: BasicMotions and Epilepsy of the UEA archive (Bagnall et al. 2018).
- `uci_har/uci_har_inertial_float32.npz`: the inertial signals of UCI HAR (Anguita et al., ESANN 2013), whose subjects
  are the groups.
- `scene15_mtv.mat`: 4,485 scenes of 15 classes in three feature views, without a split (`X`, `gt`).
- `digits.npz`: recordings of spoken digits (Free Spoken Digit Dataset, CC BY-SA 4.0) and written ones (MNIST). Each
  recording, as a log spectrogram, is paired with an image of its digit; no image is used twice, and speakers are the
  groups. Noise is added to both: AUDIO_NOISE times the standard deviation of the recording, IMAGE_NOISE times white.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.signal import spectrogram

OUT = Path("data/public")
SERIES = {
    "BasicMotions": {"acc": [0, 1, 2], "gyro": [3, 4, 5]},
    "Epilepsy": {"acc_x": [0], "acc_y": [1], "acc_z": [2]},
}
AUDIO_NOISE = 0.2
IMAGE_NOISE = 0.9
Arrays = dict[str, NDArray[np.generic]]


def main() -> None:
    """Write every missing data set."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    OUT.mkdir(parents=True, exist_ok=True)
    sets = {name.lower(): lambda name=name: series(folder / "ts" / name, SERIES[name]) for name in SERIES}
    sets |= {
        "uci_har": lambda: uci_har(folder / "uci_har/uci_har_inertial_float32.npz"),
        "scene15": lambda: scene15(folder / "scene15_mtv.mat"),
        "digits": lambda: digits(folder / "digits.npz"),
    }
    for name, make in sets.items():
        file = OUT / f"{name}.npz"
        if not file.exists():
            np.savez(file, **make())
            print(f"{file} written")


def series(folder: Path, modalities: dict[str, list[int]]) -> Arrays:
    """Both files of a `.ts` data set, with their split and class names."""
    values, target, split = [], [], []
    for side in ("train", "test"):
        lines = (folder / f"{folder.name}_{side.upper()}.ts").read_text().splitlines()
        for line in lines:
            if line.strip() and line[0] not in "#@":
                *channels, label = line.strip().split(":")
                values.append([channel.split(",") for channel in channels])
                target.append(label)
                split.append(side)
    x = np.array(values, dtype=np.float32)
    return {name: x[:, rows] for name, rows in modalities.items()} | {
        "target": np.array(target),
        "split": np.array(split),
    }


def uci_har(file: Path) -> Arrays:
    """Three triaxial sensors, with the official split by subject."""
    saved = np.load(file)
    sides = ("train", "test")
    x = np.concatenate([saved[f"X_{side}"] for side in sides])
    first = {str(name)[:-2]: i for i, name in reversed(list(enumerate(saved["channels"])))}
    return {name: x[:, i : i + 3] for name, i in sorted(first.items())} | {
        "target": np.concatenate([saved[f"y_{side}"] for side in sides]),
        "groups": np.concatenate([saved[f"subject_{side}"] for side in sides]),
        "split": np.concatenate([np.full(len(saved[f"y_{side}"]), side) for side in sides]),
    }


def scene15(file: Path) -> Arrays:
    """Three feature views, which the model standardises later."""
    saved = loadmat(file)
    views = {f"view{i + 1}": view.T.astype(np.float32) for i, view in enumerate(saved["X"].ravel())}
    return views | {"target": saved["gt"].ravel()}


def digits(file: Path) -> Arrays:
    """Pairs of a degraded recording (1, 32, 32) and a degraded image (1, 28, 28) of the same digit."""
    saved = np.load(file)
    rng = np.random.default_rng(0)
    audio, offset, digit = saved["audio"].astype(np.float64), saved["offset"], saved["digit"]
    spectra = [spectrum(audio[a:b], rng) for a, b in pairwise(offset)]
    of_class = {c: rng.permutation(np.flatnonzero(saved["image_digit"] == c)) for c in range(10)}
    place = np.array([np.sum(digit[:i] == c) for i, c in enumerate(digit)])
    image = saved["images"][[of_class[c][i] for c, i in zip(digit, place, strict=True)]] / 255.0
    image = image + IMAGE_NOISE * rng.standard_normal(image.shape)
    return {
        "audio": np.stack(spectra)[:, None].astype(np.float32),
        "image": image[:, None].astype(np.float32),
        "target": digit,
        "groups": saved["speaker"],
    }


def spectrum(wave: NDArray[np.float64], rng: np.random.Generator, size: int = 32) -> NDArray[np.float64]:
    """Log power `(size, size)` of 32 bands up to 4 kHz over the first 0.53 s at 8 kHz, after adding noise."""
    length = size * 128 + 128
    wave = np.pad(wave, (0, max(0, length - len(wave))))[:length]
    wave = wave / wave.std() + AUDIO_NOISE * rng.standard_normal(length)
    _, _, power = spectrogram(wave, fs=8000, nperseg=256, noverlap=128, mode="psd")
    bands = power[:128].reshape(size, 4, -1).mean(1)[:, :size]
    return np.log(bands + 1e-8)


if __name__ == "__main__":
    main()
