import pytest

from fusionlit.data.signals.readers.find import CSVReader, find_reader
from fusionlit.data.signals.readers.npz import NPZReader
from fusionlit.data.signals.readers.ts import TSReader
from fusionlit.data.signals.readers.uci_har import UCIHARReader
from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.errors import ConfigError, DataError

WINDOWING = Windowing(length=4, unit="samples")


@pytest.mark.parametrize(
    ("file", "root", "reader"),
    [
        ("train/Inertial Signals/body_acc_x_train.txt", "", UCIHARReader),
        ("set.npz", "set.npz", NPZReader),
        ("A_TRAIN.ts", "", TSReader),
        ("A_TRAIN.ts", "A_TRAIN.ts", TSReader),
    ],
)
def test_the_reader_is_told_by_what_root_is(tmp_path, file, root, reader):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert type(find_reader(tmp_path / root)) is reader
    with pytest.raises(ConfigError, match=r"`windowing` only for recordings in CSV files, .* leave it out"):
        find_reader(tmp_path / root, WINDOWING)


@pytest.mark.parametrize("root", ["", "walk.CSV"])
def test_recordings_must_be_cut(tmp_path, root):
    (tmp_path / "walk.CSV").touch()
    assert isinstance(find_reader(tmp_path / root, WINDOWING), CSVReader)
    with pytest.raises(ConfigError, match="Expected `windowing` to cut the recordings in"):
        find_reader(tmp_path / root)


def test_what_is_nothing_known_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone: does not exist\. Point `root` to the folder of UCI HAR"):
        find_reader(tmp_path / "gone")
    with pytest.raises(DataError, match=r"an \.npz file, .*, but found nothing\."):
        find_reader(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"but found notes\.txt\."):
        find_reader(tmp_path)
    with pytest.raises(DataError, match=r"but found a file\."):
        find_reader(tmp_path / "notes.txt")


def test_the_folder_around_uci_har_gives_a_hint(tmp_path):
    (tmp_path / "UCI HAR Dataset" / "train" / "Inertial Signals").mkdir(parents=True)
    with pytest.raises(DataError, match=r"but found UCI HAR Dataset\. Point `root` to .*UCI HAR Dataset\."):
        find_reader(tmp_path)
