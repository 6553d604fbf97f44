from fusionlit.analysis import Trajectories
from fusionlit.analysis.trajectories import tag


def test_other_tags_are_passed_over():
    trajectories = Trajectories()
    trajectories.add(3, {"val/loss": 1.0, "fusion_weights/stage1": 1.0, "test/contributions/stage1/rgb": 1.0, "x": 1.0})
    assert trajectories == Trajectories()
    trajectories.add(3, {tag("contributions", "stage1", "rgb"): 0.5})
    assert trajectories == Trajectories(contributions={"stage1": {"rgb": {3: 0.5}}})


def test_later_points_win():
    trajectories = Trajectories({"stage1": {"rgb": {0: 0.5, 10: 0.6, 20: 0.7}}})
    trajectories.drop_after(10)
    trajectories.update(Trajectories({"stage1": {"rgb": {10: 0.1}, "lidar": {10: 0.9}}}))
    assert trajectories.fusion_weights == {"stage1": {"rgb": {0: 0.5, 10: 0.1}, "lidar": {10: 0.9}}}
    assert trajectories.sources == ["rgb", "lidar"]


def test_thinning_keeps_first_and_last_and_copies():
    points = {step: step / 10 for step in range(0, 1000, 10)}
    trajectories = Trajectories({"stage1": {"rgb": points}})
    thinned = trajectories.thinned(10).fusion_weights["stage1"]["rgb"]
    assert thinned == {step: step / 10 for step in [*range(0, 1000, 100), 990]}
    same = trajectories.thinned(100).fusion_weights["stage1"]["rgb"]
    assert same == points
    assert same is not points
