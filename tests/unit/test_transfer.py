"""Images made against other networks than the one exported: which networks, and that the images fool them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgerkd.core.errors import ConfigError, EdgerkdError
from edgerkd.core.progress import Silent
from edgerkd.jobs import transfer
from edgerkd.jobs.transfer import others
from tests.zoo import THREAT, dataset, network

OTHER = network(seed=4, classes=3)
RECORD = SimpleNamespace(architecture=OTHER.architecture, recipe=SimpleNamespace(threat_model=THREAT, seed=0))
IMAGES = dataset(n=90).test
IMAGES = replace(IMAGES, labels=OTHER(IMAGES.images / 255).argmax(1))  # its own answers, so that all are right


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(transfer, "DEFAULT", "pgd")


def written(path, net=OTHER):
    torch.onnx.export(
        net, (torch.rand(2, *net.architecture.image_shape),), str(path), dynamo=False, input_names=["x"],
        dynamic_axes={"x": {0: "n"}}, opset_version=17,
    )  # fmt: skip
    return str(path)


def made(*sources):
    return others(sources, IMAGES, RECORD, ("a", "b", "c"), progress=Silent())


def test_a_models_file_is_attacked_as_it_is(tmp_path):
    """Catches images of another network or none, another radius, and a name that is not the file's."""
    path = written(tmp_path / "rival.onnx")
    ((name, images),) = made(path).items()
    assert name == "rival"
    clean = IMAGES.images.numpy().astype(np.float32) / 255
    assert images.shape == clean.shape
    assert 0 < np.abs(images - clean).max() <= float(THREAT.eps) + 1e-6
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    label = IMAGES.labels.numpy()[:, None]
    before, after = (
        np.take_along_axis(session.run(None, {"x": x})[0], label, 1) for x in (clean, images.astype(np.float32))
    )
    assert (after < before).mean() > 0.9, "the label's score must fall"


def test_two_networks_of_one_name_are_refused(tmp_path):
    """Catches a row that stands for the images of another network."""
    (tmp_path / "other").mkdir()
    paths = [written(tmp_path / "rival.onnx"), written(tmp_path / "other" / "rival.onnx")]
    with pytest.raises(ConfigError, match="another network named 'rival': rename its file"):
        made(*paths)


@pytest.mark.parametrize("name", ["teacher", "fp32"])
def test_the_bundles_own_names_are_taken(tmp_path, name):
    """Catches images that pass for the teacher's or the student's."""
    with pytest.raises(ConfigError, match=f"another network named '{name}'"):
        made(written(tmp_path / f"{name}.onnx"))


def test_a_network_of_other_classes_is_refused(tmp_path):
    """Catches labels that mean something else."""
    with pytest.raises(ConfigError, match=r"other\.onnx"):
        made(written(tmp_path / "other.onnx", network(seed=5, classes=4)))


def test_a_folder_that_is_no_run_and_a_file_that_is_no_model(tmp_path):
    """Catches a folder that is attacked as something, and a traceback."""
    with pytest.raises(ConfigError, match=r"not a run's folder, because run\.json is missing"):
        made(str(tmp_path))
    (tmp_path / "no.onnx").write_bytes(onnx.ModelProto().SerializeToString() + b"no")
    with pytest.raises(EdgerkdError, match=r"no\.onnx"):
        made(str(tmp_path / "no.onnx"))
