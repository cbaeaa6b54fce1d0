"""The standard ensemble over a foreign graph's gradient twin: ours and pyautoattack's, image by image."""

import io
import logging
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pyautoattack import AutoAttack
from sklearn.datasets import load_digits
from torch import nn

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import assess_chunk
from edgerkd.attacks.suite import attacks_named
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.graphs.adopt import adopt
from edgerkd.graphs.preprocess import named
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.graph_network import graph_network
from edgerkd.verify.graph import open_graph

N = 120
EPS = Radius("24/255")


@pytest.fixture(scope="module")
def case():
    """A network that edgerkd did not make, as one plain ONNX file with a softmax and a batch of one; test digits."""
    pixels, target = load_digits(return_X_y=True)
    images = torch.from_numpy((np.asarray(pixels) / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    labels = torch.from_numpy(np.asarray(target, np.int64))
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.Hardswish(),
        nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(12):
        for rows in torch.randperm(1500).split(64):
            loss = F.cross_entropy(net(images[rows] * 2 - 1), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter itself
        torch.onnx.export(nn.Sequential(net, nn.Softmax(1)), (torch.zeros(1, 1, 8, 8),), buffer, dynamo=False)
    graph = adopt(buffer.getvalue(), normalization=named("half")).graph
    return graph, images[1500 : 1500 + N], labels[1500 : 1500 + N]


def test_the_ensembles_agree_on_nearly_every_image(case, monkeypatch):
    """Catches a twin that leads our attacks and nobody else's, and a graph that is another network by its twin."""
    monkeypatch.setattr(logging.root, "disabled", True)
    graph, images, labels = case
    inputs = AttackInputs(
        images=images.numpy(),
        labels=labels.numpy(),
        threat_model=ThreatModel(norm="Linf", eps=EPS),
        seed=0,
        index=np.arange(N),
    )
    with open_graph(graph, gradient_twin(graph)) as classifier:
        ours = assess_chunk(classifier, attacks_named("autoattack", classes=10)[0], inputs)
    network = graph_network(graph, mean=(0.0,), std=(1.0,)).eval()
    peer = AutoAttack(network, norm="Linf", eps=float(EPS), version="standard")
    found, *_ = peer.run_standard_evaluation(images, labels, batch_size=N)
    theirs = (network(found).argmax(1) == labels).numpy()
    agree = int((ours.robust == theirs).sum())
    said = f"{agree} of {N} agree; ours {ours.robust.sum()} robust, pyautoattack {theirs.sum()}"
    print(said)  # noqa: T201  the figure, for the page of results
    assert 0.3 * N <= theirs.sum() <= 0.7 * N, said
    assert agree >= N - 2, said
