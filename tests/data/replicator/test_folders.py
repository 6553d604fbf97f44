import shutil

import pytest

from fusionlit.data.replicator.folders import class_folders, frames_of, position_folder
from fusionlit.errors import DataError


def test_any_class_folders_sorted_by_name_and_no_others(shape_root):
    shutil.copytree(shape_root / "cubes", shape_root / "Zebras")
    for other in ("runs", ".cache/rgb"):
        (shape_root / other).mkdir(parents=True)
    assert [folder.name for folder in class_folders(shape_root)] == ["Zebras", "cubes", "spheres"]


def test_a_root_that_is_not_there_is_named_with_the_command_that_makes_one(tmp_path):
    for find in (class_folders, position_folder):
        with pytest.raises(DataError, match=r"nowhere: expected the folder of.*`fusionlit render .*nowhere`"):
            find(tmp_path / "nowhere")


def test_the_other_layout_is_recognized(shape_root, position_root):
    with pytest.raises(DataError, match=r"the position layout. Set `task: position`"):
        class_folders(position_root)
    with pytest.raises(DataError, match=r"found class folders \(cubes, spheres\): set `task: shape`"):
        position_folder(shape_root)


def test_one_class_is_no_classification(shape_root):
    shutil.rmtree(shape_root / "cubes")
    with pytest.raises(DataError, match=r"expected at least two class folders .* but found spheres"):
        class_folders(shape_root)


def test_an_empty_folder_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match="but found none"):
        class_folders(tmp_path)
    with pytest.raises(DataError, match="but found neither"):
        position_folder(tmp_path)


@pytest.mark.parametrize("name", ["rgb", "lidar"])
def test_a_missing_subfolder_is_named(shape_root, name):
    shutil.rmtree(shape_root / "cubes" / name)
    with pytest.raises(DataError, match=rf"cubes/{name}: missing folder"):
        frames_of(shape_root / "cubes")
