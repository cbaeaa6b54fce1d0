"""Teachers: where their weights come from, how an import reads and judges them, and how they are trained here."""

import hashlib
import re
import shutil
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.by_class import by_class, chance_of, floor_above
from edgerkd.core.errors import ArtefactError, ConfigError, MissingDependencyError, UnknownNameError
from edgerkd.core.progress import Silent
from edgerkd.core.teacher import TeacherCard, check_robust
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.distill.affordable import Training, architecture_of, ladder
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.trainer import train
from edgerkd.files.download import download
from edgerkd.jobs import teacher_import, teachers, zoo
from edgerkd.jobs.teacher_cache import CARD, cache_folder, kept_names, known_teachers
from edgerkd.jobs.teacher_import import import_teacher
from edgerkd.jobs.teachers import find_teacher, foreseen_teacher, teacher_for, train_teacher
from edgerkd.models.build import build
from edgerkd.models.graph_network import GraphNetwork
from edgerkd.models.network import Network
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.models.store import GRAPH
from tests.listening import Listening
from tests.recipes import recipe_of
from tests.zoo import THREAT, architecture, dataset, network, split

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


class _Answers(BaseHTTPRequestHandler):
    """Every path is CONTENT; /gone is not there."""

    def do_GET(self) -> None:
        found = self.path != "/gone"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(CONTENT if found else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test is quiet."""


@pytest.fixture
def server():
    """The address of a server on this machine."""
    with HTTPServer(("127.0.0.1", 0), _Answers) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


fetch = partial(download, progress=Silent())


def test_a_file_is_downloaded_whole_and_once(server, tmp_path):
    """Catches a download repeated although the file is there, and one that trusts whatever lies there."""
    target = tmp_path / "a" / "w.pt"
    fetch(f"{server}/w.pt", target, sha256=DIGEST[:8])
    assert target.read_bytes() == CONTENT
    fetch(f"{server}/gone", target, sha256=DIGEST.upper())
    target.write_bytes(CONTENT[:-1])
    fetch(f"{server}/w.pt", target, sha256=DIGEST)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "changes", "error", "message"),
    [
        ("/w.pt", {"sha256": "0" * 64}, ArtefactError, f"its sha256 is {DIGEST}"),
        ("/w.pt", {"limit": len(CONTENT) - 1}, ConfigError, "larger than 6999 bytes"),
        ("/gone", {}, MissingDependencyError, "cannot be downloaded here.*404.*name the file instead"),
    ],
)
def test_what_is_not_the_file_leaves_nothing_behind(server, tmp_path, path, changes, error, message):
    """Catches a file of another digest that stays where the next command reads it, and a disk filled by a server."""
    with pytest.raises(error, match=message):
        fetch(server + path, tmp_path / "new" / "w.pt", **{"sha256": DIGEST, **changes})
    assert list((tmp_path / "new").iterdir()) == []


def test_a_closed_network_is_said_and_so_is_another_scheme(tmp_path):
    """Catches a traceback of urllib's, and file:// read as if it were downloaded."""
    with pytest.raises(MissingDependencyError, match="cannot be downloaded here"):
        fetch("http://127.0.0.1:1/w.pt", tmp_path / "w.pt", sha256=DIGEST)
    with pytest.raises(ConfigError, match="https://"):
        fetch((tmp_path / "x").as_uri(), tmp_path / "w.pt", sha256=DIGEST)


def load(source: str, sha256: str | None = None) -> zoo.Weights:
    return zoo.load_weights(source, sha256=sha256, progress=Silent())


def saved(net: torch.nn.Module, path: Path) -> str:
    """The network as a file; its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_digest_is_checked_before_the_file_is_read(tmp_path):
    """Catches a file of another digest that is given to a parser all the same."""
    (tmp_path / "w.pt").write_bytes(b"not a state dict")
    with pytest.raises(ArtefactError, match="not the weights expected"):
        load("w.pt", "0" * 64)


@pytest.mark.parametrize(
    ("source", "sha256", "error", "message"),
    [
        ("https://example.invalid/w.pt", None, ConfigError, "nothing pins this file.*--sha256"),
        ("w.pt", "abc", ConfigError, "64 hexadecimal digits"),
        ("w.pt", "0" * 64, ArtefactError, r"w\.pt: not the weights expected"),
        ("robustbench:Zhang2019Theoreticaly", None, UnknownNameError, "did you mean 'Zhang2019Theoretically'"),
        (
            "robustbench:Wong2020Fast",
            None,
            MissingDependencyError,
            r"load_model\('Wong2020Fast'.*--data cifar10 and --sha256",
        ),
        ("torchvision:resnet5", None, UnknownNameError, "did you mean 'resnet50'"),
        ("timm:resnet50", None, MissingDependencyError, "pip install timm"),
    ],
)
def test_a_source_that_cannot_be_had_says_what_would_help(tmp_path, monkeypatch, source, sha256, error, message):
    """Catches weights loaded without a pin, and a bare KeyError or ImportError."""
    saved(network(), tmp_path / "w.pt")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(error, match=message):
        load(source, sha256)


def test_weights_by_address_are_read_once_their_digest_is_right(tmp_path, monkeypatch, server):
    """Catches a file read before it is checked, and kept under a name that two addresses share."""
    digest = saved(network(), tmp_path / "w.pt")
    monkeypatch.setattr(f"{__name__}.CONTENT", (tmp_path / "w.pt").read_bytes())
    found = load(f"{server}/zoo/w.pt?version=1", digest)
    assert found.name == "w"
    assert digest in found.origin
    assert cache_folder().parent in found.source.parents
    with pytest.raises(ArtefactError, match="not the file expected"):
        load(f"{server}/zoo/w.pt", "1" * 64)


def test_a_robustbench_file_is_trusted_only_by_its_digest(tmp_path):
    """Catches a zoo's name taken as proof of what the file is."""
    digest = saved(network(), tmp_path / "models" / "cifar10" / "Linf" / "Wong2020Fast.pt")
    with pytest.raises(ConfigError, match=f"--sha256 {digest}"):
        load("robustbench:Wong2020Fast")
    found = load("robustbench:Wong2020Fast", digest)
    assert found.name == "Wong2020Fast"
    assert "PreActResNet-18" in found.origin


def test_torchvision_is_pinned_by_its_file_names(monkeypatch, tmp_path):
    """Catches a download without the digest that torchvision gives, and another size or number of classes."""
    from torchvision.models import get_model

    asked = {}

    def fake(url, target, *, sha256, progress):
        asked.update(url=url, sha256=sha256)
        saved(get_model("squeezenet1_1"), target)

    monkeypatch.setattr(zoo, "download", fake)
    found = load("torchvision:squeezenet1_1")
    assert len(asked["sha256"]) == 8
    assert asked["url"].endswith(f"-{asked['sha256']}.pth")
    assert found.library == zoo.Library(name="torchvision:squeezenet1_1", classes=1000, image_shape=(3, 224, 224))
    with pytest.raises(ConfigError, match=r"2 problems(.|\n)*images \(3, 224, 224\)(.|\n)*1000 classes"):
        import_teacher(
            "torchvision:squeezenet1_1",
            dataset(channels=3),
            THREAT,
            name=None,
            accept_fragile=True,
            progress=Silent(),
        )


def test_every_torchvision_file_carries_its_digest():
    """Catches an assertion that fails for one network alone."""
    from torchvision import models

    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).DEFAULT
        assert re.search(r"-([0-9a-f]{8,})\.pth$", weights.url), name
        assert len(weights.transforms().crop_size) == 1, name


def test_timm_weights_are_pinned_by_what_timm_returns(monkeypatch):
    """Catches weights of timm's loaded unpinned, and a network that the library cannot build again."""

    def create_model(name, *, pretrained, num_classes=3):
        torch.manual_seed(0)
        halved = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()]
        net = nn.Sequential(*halved, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes))
        net.num_classes, net.pretrained_cfg = num_classes, {"input_size": (3, 16, 16)}
        return net

    known = {"is_model": lambda name: name == "resnet18", "list_models": lambda: ["resnet18"]}
    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model, **known))
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        load("timm:resnet81")
    with pytest.raises(ConfigError, match="--sha256") as stop:
        load("timm:resnet18")
    digest = str(stop.value).split()[-1]
    net, card = import_teacher(
        "timm:resnet18",
        dataset(channels=3, size=16),
        THREAT,
        name=None,
        accept_fragile=True,
        progress=Silent(),
        sha256=digest,
        n=2,
    )
    assert card.name == "timm-resnet18"
    assert card.architecture.library == "timm:resnet18"
    assert [tuple(tap.shape[1:]) for tap in net.features(torch.rand(1, 3, 16, 16)).taps] == [(8, 8, 8), (16, 4, 4)]


def labelled_by(net: Network) -> Dataset:
    """Noise, with the network's own answers for labels: another reading of its weights answers otherwise."""
    data = dataset(n=192, channels=3)
    images = torch.randint(0, 256, data.val.images.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.no_grad():
        net.linear.bias -= net(images / 255).mean(0)
        labels = net(images / 255).argmax(1)
    return replace(data, val=split(images, labels))


@pytest.mark.parametrize("activation", ["", "-silu"])
def test_activation_and_normalisation_are_found_by_measuring(tmp_path, activation):
    """Catches the first reading taken, and moments that are guessed: the file shows neither."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    given = {"widths": (16, 24, 32), "blocks": (1, 1, 1), "channels": 3, "classes": 3, "mean": mean, "std": std}
    net = network(family=f"wideresnet{activation}", **given)
    data = labelled_by(net)
    state = {name: value for name, value in net.state_dict().items() if name not in ("mean", "std")}
    state = {trades_name(name): value for name, value in state.items()}
    torch.save(state, tmp_path / "bars.pt")
    found, card = import_teacher("bars.pt", data, THREAT, name=None, accept_fragile=True, progress=Silent(), n=4)
    assert found.architecture.family == f"wideresnet{activation}"
    assert_close(torch.tensor(found.architecture.mean), torch.tensor(mean))
    images = torch.rand(4, 3, 8, 8)
    assert_close(found(images), net(images))
    assert "the most accurate of 10 readings" in card.origin
    assert card.n == 4


def trades_name(name: str) -> str:
    """layers.0.1.conv1 -> block1.layer.1.conv1."""
    name = re.sub(r"^layers\.(\d+)\.", lambda m: f"block{int(m[1]) + 1}.layer.", name)
    name = re.sub(r"^bn\.", "bn1.", name)
    return name.replace(".shortcut.", ".convShortcut.").replace("linear.", "fc.")


def test_a_teacher_of_other_images_or_classes_is_refused(tmp_path):
    """Catches a teacher that fails in the middle of training, or teaches other classes."""
    saved(network(family="preactresnet", channels=3, mean=(0.3,) * 3, std=(0.4,) * 3), tmp_path / "ten.pt")
    with pytest.raises(ConfigError, match=r"has 10 classes, the data have 3(.|\n)*--data"):
        import_teacher("ten.pt", dataset(channels=3), THREAT, name=None, accept_fragile=True, progress=Silent())


def test_a_teacher_that_resists_nothing_is_refused_with_what_was_measured(tmp_path):
    """Catches robustness distilled from a teacher that has none, and one kept although it was refused."""
    saved(network(family="preactresnet", classes=3), tmp_path / "fragile.pt")
    with pytest.raises(ConfigError, match=r"Teacher fragile is near chance \(clean .*%.*Linf 16/255"):
        import_teacher("fragile.pt", dataset(), THREAT, name=None, accept_fragile=False, progress=Silent())
    assert not cache_folder().exists()


def keep(tmp_path: Path, data: Dataset, file: str = "mine.pt", **changes) -> TeacherCard:
    """A fragile teacher, imported from a file that is written here."""
    saved(network(family="preactresnet", classes=3), tmp_path / file)
    given = {"name": None, "accept_fragile": True, "progress": Silent(), "n": 4, **changes}
    return import_teacher(file, data, THREAT, **given)[1]


def test_a_file_imported_before_is_not_attacked_again(tmp_path, monkeypatch):
    """Catches an import by every process and every `plan`, and a file that has changed taken for the one before."""
    data = dataset()
    card = keep(tmp_path, data)
    monkeypatch.setattr(teachers, "import_teacher", None)
    assert find_teacher("./mine.pt", data, THREAT, progress=Silent())[1] == card
    assert find_teacher("mine.pt", data, THREAT, progress=Silent())[1] == card
    (tmp_path / "mine.pt").write_bytes(b"other")
    with pytest.raises(TypeError):  # it would be imported
        find_teacher("mine.pt", data, THREAT, progress=Silent())


@pytest.mark.parametrize("change", ["data", "eps", "file"])
def test_a_taken_name_is_said_before_anything_is_measured(tmp_path, monkeypatch, change):
    """Catches a card replaced in silence for other data or another radius, and hours of work before the refusal."""
    data = dataset()
    card = keep(tmp_path, data)
    monkeypatch.setattr(teacher_import, "attack_network", None)
    monkeypatch.setattr(teacher_import, "network_from_state", None)
    other = replace(data, facts=replace(data.facts, sha256="1" * 64)) if change == "data" else data
    threat_model = replace(THREAT, eps=Radius("4/255")) if change == "eps" else THREAT
    if change == "file":
        saved(network(family="preactresnet", classes=3, seed=1), tmp_path / "mine.pt")
    with pytest.raises(ConfigError, match=r"named mine is already in the cache.*Linf 16/255.*--name, or remove .*mine"):
        import_teacher("mine.pt", other, threat_model, name=None, accept_fragile=True, progress=Silent())
    monkeypatch.setattr(teachers, "train", None)
    with pytest.raises(ConfigError, match="named mine is already in the cache"):
        train_teacher(data, THREAT, progress=Silent(), name="mine")
    assert known_teachers() == (card,)


def test_the_same_file_may_be_measured_anew(tmp_path):
    """Catches -n that can never be raised."""
    keep(tmp_path, dataset())
    given = {"name": None, "accept_fragile": True, "progress": Silent()}
    assert import_teacher("mine.pt", dataset(), THREAT, **given, n=8)[1].n == 8


def test_a_file_name_that_is_no_teachers_name_asks_for_one(tmp_path):
    """Catches --name blamed, which was not given."""
    with pytest.raises(ConfigError, match=r"'my teacher' cannot be a teacher's name.*give .* --name"):
        keep(tmp_path, dataset(), "my teacher.pt")


def test_a_damaged_card_says_what_to_remove_and_stops_no_other_teacher(tmp_path):
    """Catches one bad folder that ends every command, and what a kill left behind listed as a teacher."""
    data = dataset()
    card = keep(tmp_path, data)
    for name in ("bad", ".mine-xyz"):
        (cache_folder() / name).mkdir()
        (cache_folder() / name / CARD).write_text("{")
    assert find_teacher("mine", data, THREAT, progress=Silent())[1] == card
    with pytest.raises(ArtefactError, match=r"card\.json(.|\n)*remove .*/bad and train or import"):
        known_teachers()
    shutil.rmtree(cache_folder() / "bad")
    assert known_teachers() == (card,)


def test_a_missing_teacher_is_trained_and_of_several_one_must_be_named(tmp_path, monkeypatch):
    """Catches a user who must read a manual first, and one teacher of several taken by chance."""
    data = dataset()
    trained = []
    monkeypatch.setattr(teachers, "train_teacher", lambda *given, progress: trained.append(given))
    keep(tmp_path, data)
    other = replace(THREAT, eps=Radius("4/255"))
    find_teacher(None, data, other, progress=Silent())
    assert trained == [(data, other)]
    assert find_teacher(None, data, THREAT, progress=Silent())[1].name == "mine"
    keep(tmp_path, data, "yours.pt")
    with pytest.raises(ConfigError, match="the cache has several for bars under Linf 16/255, mine, yours: name one"):
        find_teacher(None, data, THREAT, progress=Silent())


def test_the_steps_of_the_attack_can_be_chosen():
    """Catches steps that go nowhere: the demo's teacher takes three, for the time."""
    _, card = train_teacher(dataset(n=192), THREAT, progress=Silent(), epochs=4, attack_steps=2)
    assert "trained here by pgd-at with 2 steps, 4 epochs" in card.origin


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.trains_teachers])
def test_a_teacher_is_trained_by_each_method_and_found_again(method):
    """Catches --method that goes nowhere, and two methods' teachers under one name."""
    data = dataset(n=192)
    _, card = train_teacher(data, THREAT, progress=Silent(), method=method, epochs=4)
    assert card.name == f"bars-{method}-Linf-16-255"
    steps = "" if method == "n-fgsm" else " with 10 steps"
    assert f"trained here by {method}{steps}, 4 epochs, seed 0, request" in card.origin
    _, again = find_teacher(card.name, data, THREAT, progress=Silent())
    assert again == card


def test_a_method_that_needs_a_teacher_trains_none():
    """Catches a teacher distilled from nothing."""
    with pytest.raises(UnknownNameError, match="There is no method that trains a teacher named 'rslad'"):
        train_teacher(dataset(), THREAT, progress=Silent(), method="rslad")


def test_a_stopped_training_goes_on_with_the_plan_that_was_made_for_it(monkeypatch):
    """Catches a plan measured anew, which the checkpoint no longer fits, and one that outlives its training."""
    data, asked, real = dataset(n=192), [], teachers.train
    planned = architecture_of(ladder(8)[0], data)

    def plan(data, recipe, *, seconds, rungs):
        asked.append(seconds)
        return Training(architecture=planned, recipe=replace(recipe, epochs=8, attack_steps=2)), 5.0

    def stopped(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(teachers, "affordable_training", plan)
    monkeypatch.setattr(teachers, "train", stopped)
    heard = Listening()
    with pytest.raises(KeyboardInterrupt):
        train_teacher(data, THREAT, progress=heard, minutes=2)
    monkeypatch.setattr(teachers, "train", real)
    network, card = train_teacher(data, THREAT, progress=Silent(), minutes=2)
    assert asked == [120]
    assert heard.lines[-2:] == [
        f"teacher: {planned}, 8 epochs of pgd-at, attack steps: 2; about 5 s",
        "a larger teacher, which allows a larger student, takes longer: edgerkd teacher train --minutes N",
    ]
    assert network.architecture == planned
    assert "trained here by pgd-at with 2 steps, 8 epochs, seed 0" in card.origin
    assert sorted(path.name for path in cache_folder().iterdir() if path.suffix != ".lock") == [card.name]
    assert train_teacher(data, THREAT, progress=Silent(), minutes=2)[1] == card
    with pytest.raises(ConfigError, match="is already in the cache"):
        train_teacher(data, THREAT, progress=Silent(), minutes=3)


def test_a_teacher_that_is_only_foreseen_is_the_one_trained_later(monkeypatch):
    """Catches a plan of students that trains a teacher, for minutes or hours, and one for another teacher's size."""
    data, rungs, trained = dataset(n=192), iter(ladder(8)), []

    def plan(data, recipe, **limits):
        architecture = architecture_of(next(rungs), data)  # another one each time
        return Training(architecture=architecture, recipe=replace(recipe, epochs=8, attack_steps=2)), 5.0

    monkeypatch.setattr(teachers, "affordable_training", plan)
    monkeypatch.setattr(teachers, "train", lambda *given, **more: trained.append(1) or train(*given, **more))
    foreseen, name = foreseen_teacher(None, data, THREAT, progress=Silent())
    assert not trained
    assert not kept_names()
    network, card = find_teacher(None, data, THREAT, progress=Silent())
    assert (network.architecture, card.name) == (foreseen.architecture, name)
    again, same = foreseen_teacher(None, data, THREAT, progress=Silent())
    assert (again.architecture, same) == (foreseen.architecture, name)
    assert len(trained) == 1


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:50]), Path.unlink])
@pytest.mark.parametrize("kind", ["*.plan.json", "*.training.pt"])
def test_a_stopped_training_whose_files_are_damaged_or_gone_begins_anew(kind, damage, monkeypatch):
    """Catches a name that no teacher can be trained under any more, and a checkpoint put into another network."""
    data, rungs, heard = dataset(n=192), iter(ladder(8)), Listening()

    def plan(data, recipe, **limits):
        architecture = architecture_of(next(rungs), data)  # another one each time
        return Training(architecture=architecture, recipe=replace(recipe, epochs=8, attack_steps=2)), 5.0

    monkeypatch.setattr(teachers, "affordable_training", plan)
    real = teachers.train

    def stopped(*given, **more):
        def stop(epoch):
            raise KeyboardInterrupt

        real(*given, **{**more, "on_epoch": lambda epoch: epoch.epoch == 2 and stop(epoch)})

    monkeypatch.setattr(teachers, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_teacher(data, THREAT, progress=Silent(), minutes=2)
    (path,) = cache_folder().glob(kind)
    damage(path)
    monkeypatch.setattr(teachers, "train", real)
    train_teacher(data, THREAT, progress=heard, minutes=2)
    assert sorted(path.name for path in cache_folder().iterdir() if path.suffix != ".lock") == [*kept_names()]
    if damage is not Path.unlink:
        assert any(line.endswith("; the training starts again") for line in heard.lines)


def test_a_teacher_of_other_data_or_another_radius_is_taken_with_a_word():
    """Catches a student judged on images that its teacher learned from, and nobody knows."""
    data = dataset(n=192)
    _, card = train_teacher(data, THREAT, progress=Silent(), method="pgd-at", epochs=4)
    heard = Listening()
    find_teacher(card.name, data, THREAT, progress=heard)
    assert heard.lines == []
    other = replace(data, facts=replace(data.facts, sha256="1" * 64))
    find_teacher(card.name, other, replace(THREAT, eps=Radius("1/255")), progress=heard)
    assert [line.partition(":")[0] for line in heard.lines] == ["note", "note"]
    assert "was made on other data (bars)" in heard.lines[0]
    assert "was measured under Linf 16/255, not under Linf 1/255" in heard.lines[1]


@pytest.mark.parametrize("chosen", [{"method": "trades"}, {"epochs": 5}])
def test_minutes_beside_what_says_how_long_are_refused(chosen):
    """Catches a limit that is given and not kept."""
    with pytest.raises(ConfigError, match="--minutes: "):
        train_teacher(dataset(), THREAT, progress=Silent(), minutes=5, **chosen)


def test_two_trainings_of_one_missing_teacher_end_with_one_teacher_and_two_successes(monkeypatch):
    """Catches a name that is taken by the other process, after hours of work, and two trainings where one is enough."""
    data, calls, real = dataset(n=192), [], teachers.train

    def counted(*given, **more):
        calls.append(more["checkpoint"])
        return real(*given, **more)

    monkeypatch.setattr(teachers, "train", counted)
    with ThreadPoolExecutor(2) as pool:
        work = [
            pool.submit(train_teacher, data, THREAT, progress=Silent(), method="n-fgsm", epochs=4) for _ in range(2)
        ]
        first, second = (job.result()[1] for job in work)
    assert first == second
    assert len(calls) == 1
    assert not calls[0].exists()


@pytest.mark.parametrize(
    ("clean", "robust", "said"),
    [
        ((50, 50), (40, 40), None),
        ((30, 20), (25, 20), "is near chance"),
        ((50, 50), (26, 25), "is not robust"),
        ((50, 50), (0, 0), "is not robust"),
    ],
)
def test_a_teacher_near_chance_or_not_robust_is_refused_however_it_was_made(clean, robust, said):
    """Catches a check that only an import makes, and chance taken for one in so many classes where they are uneven."""
    names, labels = ("cat", "dog"), [0] * 50 + [1] * 50

    def answers(hits):
        return [True] * hits[0] + [False] * (50 - hits[0]) + [True] * hits[1] + [False] * (50 - hits[1])

    card = TeacherCard(
        name="mine",
        dataset="pets",
        data_sha256="0" * 64,
        origin="trained here",
        architecture=architecture(classes=2),
        threat_model=THREAT,
        n=100,
        clean_acc=accuracy_from_correct(answers(clean)),
        robust_acc=accuracy_from_correct(answers(robust)),
        by_class=by_class(names, labels, answers(clean), answers(robust)),
        weights_sha256="0" * 64,
    )
    if said is None:
        check_robust(card)
        return
    with pytest.raises(ConfigError, match=said):
        check_robust(card)
    check_robust(replace(card, accepted_fragile=True))


def test_chance_is_the_commonest_class_and_gates_have_a_floor_above_it():
    """Catches a gate of 40 % where saying `car` always gives 90 %."""
    found = by_class(("car", "bus", "van"), [0] * 90 + [1] * 10, [True] * 100, [True] * 100)
    assert chance_of(found) == 0.9
    assert floor_above(0.9) == pytest.approx(0.91)
    assert floor_above(0.0) == pytest.approx(0.1)
    assert found.missing == ("van",)


def graph_file(path: Path, net: Network) -> str:
    """The network as a plain ONNX file; its digest."""
    path.write_bytes(onnx_from_network(net))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trained_robust() -> Network:
    """A network that resists on the bars; its own normalisation is in it."""
    torch.manual_seed(0)
    return train(
        build(architecture(classes=3)),
        dataset(n=240),
        recipe_of("pgd-at", epochs=6, batch=16, attack_steps=2, ema_decay=0.5),
        teacher=None,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=Silent(),
    ).network


def test_a_graph_is_imported_measured_and_kept_as_a_graph(tmp_path):
    """Catches a graph taken for weights, a card about another file, and students normalised as a graph without it."""
    data, net = dataset(n=240), trained_robust()
    digest = graph_file(tmp_path / "mine.onnx", net)
    found, card = find_teacher("mine.onnx", data, THREAT, progress=Silent())
    assert isinstance(found, GraphNetwork)
    assert (card.name, card.source_sha256, str(card.architecture)) == ("mine", digest, "ONNX graph")
    assert (card.architecture.mean, card.architecture.std) == (data.mean, data.std)
    assert card.origin.endswith("normalization none")
    file = cache_folder() / "mine" / GRAPH
    assert card.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    with torch.no_grad():
        images = torch.rand(4, 1, 8, 8)
        assert_close(found(images), net(images), rtol=1e-4, atol=1e-5)
    (tmp_path / "mine.onnx").rename(tmp_path / "again.onnx")
    assert find_teacher("again.onnx", data, THREAT, progress=Silent())[1] == card  # the same bytes: not measured anew
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=f"{GRAPH}: changed since"):
        find_teacher("mine", data, THREAT, progress=Silent())


@pytest.mark.parametrize(
    ("method", "named", "kept", "expected"),
    [
        ("n-fgsm", None, False, None),
        ("standard", None, False, None),
        ("n-fgsm", None, True, "mine"),  # so that its student is as large as those of other methods
        ("n-fgsm", "mine", True, "mine"),
        ("rslad", None, True, "mine"),
        ("rslad", None, False, "trained"),
    ],
)
def test_a_teacher_is_trained_only_for_a_method_that_asks_one(tmp_path, monkeypatch, method, named, kept, expected):
    """Catches a teacher trained to stand beside a baseline, and a baseline of another size than what it is held to."""
    data = dataset(n=240)
    if kept:
        torch.save(network(classes=3).state_dict(), tmp_path / "mine.pt")
        import_teacher("mine.pt", data, THREAT, name=None, accept_fragile=True, progress=Silent())
    trained = network(classes=3), SimpleNamespace(name="trained")
    monkeypatch.setattr(teachers, "train_teacher", lambda *given, **named: trained)
    heard = Listening()
    found = teacher_for(METHODS[method], named, data, THREAT, progress=heard)
    assert (None if found is None else found[1].name) == expected
    assert any("no teacher: " in line for line in heard.lines) == (expected is None)


def test_a_graph_that_does_not_fit_is_not_kept(tmp_path):
    """Catches a teacher for other classes, one that resists nothing, and a file that is not the one expected."""
    data = dataset(n=240)
    graph_file(tmp_path / "four.onnx", network(classes=4))
    with pytest.raises(ConfigError, match="it has 4 classes, bars has 3"):
        find_teacher("four.onnx", data, THREAT, progress=Silent())
    digest = graph_file(tmp_path / "random.onnx", network(classes=3))
    with pytest.raises(ConfigError, match=r"near chance|resists nothing|not robust"):
        find_teacher("random.onnx", data, THREAT, progress=Silent())
    with pytest.raises(ArtefactError, match=digest):
        import_teacher(
            "random.onnx", data, THREAT, name=None, accept_fragile=True, progress=Silent(), sha256=digest[::-1]
        )
    assert kept_names() == ()
