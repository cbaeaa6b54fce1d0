"""Evaluations that are stopped, shared out and compared: the results stay what one whole evaluation finds."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from edgerkd.attacks.assess import Outcomes
from edgerkd.attacks.words import flag_words
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.by_class import by_class
from edgerkd.core.comparison import mcnemar_exact, newcombe_interval, paired
from edgerkd.core.curve import CurvePoint, CurveReport, EpsCurve, parse_radii
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.flag import Flag
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.files.decode import decode_json
from edgerkd.jobs import attack as attack_job
from edgerkd.jobs import evaluate as job
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.curve import rises
from edgerkd.jobs.evaluate import Request, evaluate_run, requested_threat_model
from edgerkd.jobs.evaluation_state import ChunkStore, digest_of
from edgerkd.jobs.ranks import Ranks, open_ranks
from edgerkd.models.cost import count_cost
from edgerkd.models.graph_network import graph_network
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.report.curve import _labelled, curve_chart, render_curve
from tests.listening import Listening
from tests.runs import write_small_run
from tests.zoo import THREAT, architecture, dataset, network

LINF = ThreatModel(norm="Linf", eps=Radius("8/255"))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (1, 7, 0.0703),  # Fagerland, Lydersen and Laake 2013, table 1: airway hyper-responsiveness
        (12, 2, 0.0129),  # Armitage and Berry 1994, p. 127, as StatsDirect's manual works it out
        (0, 0, 1.0),
        (5, 5, 1.0),
    ],
)
def test_mcnemar_gives_the_published_p_values(only_first, only_second, p):
    """Catches a one-sided test, the chi-squared approximation (0.034 and 0.0075), and a p above 1."""
    assert mcnemar_exact(only_first, only_second) == pytest.approx(p, abs=5e-5)
    assert mcnemar_exact(only_second, only_first) == mcnemar_exact(only_first, only_second)


def test_mcnemar_stays_exact_for_many_images():
    """Catches floats that overflow: 2**2000 is none."""
    tail = sum(comb(2_000, k) for k in range(951))
    assert mcnemar_exact(950, 1_050) == float(Fraction(2 * tail, 2**2_000))


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen and Laake 2014: the same children
        ((10, 0, 0, 0), -0.278, 0.278),  # Wilson's 0.722 for 10 of 10, on either side
    ],
)
def test_the_paired_interval_is_newcombes(table, low, high):
    """Catches a correlation taken without Newcombe's correction, and another interval for the single shares."""
    found = newcombe_interval(*table)
    assert found == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_pairs_are_counted_image_by_image():
    """Catches columns swapped, a difference with the wrong sign, and answers of different images."""
    found = paired([True] * 6 + [False] * 4, [True] * 3 + [False] * 3 + [True] + [False] * 3)
    assert (found.both, found.only_first, found.only_second, found.neither) == (3, 3, 1, 3)
    assert found.difference == pytest.approx(0.2)
    assert found.low < 0.2 < found.high
    swapped = paired([False, True], [True, True])
    assert swapped.difference == -0.5
    with pytest.raises(ValueError, match="zip"):
        paired([True], [True, False])


def test_the_interval_keeps_its_promise():
    """Catches an interval too narrow, or as wide as for independent images: 95 % of 1,000 are to hold the truth."""
    rng = np.random.default_rng(0)
    both, one, other = 0.6, 0.1, 0.05
    draws = rng.multinomial(200, [both, one, other, 1 - both - one - other], 1000)
    held = [low <= one - other <= high for low, high in (newcombe_interval(*map(int, draw)) for draw in draws)]
    assert 0.935 <= np.mean(held) <= 0.97


def test_radii_are_sorted_and_all_that_are_wrong_are_named():
    """Catches a message about the first bad radius only."""
    assert parse_radii("8/255, 0,2/255,0") == (0, Fraction(2, 255), Fraction(8, 255))
    with pytest.raises(ConfigError) as caught:
        parse_radii("10001,nan,2/255,-1/255,x,")
    for wrong in ("'10001'", "'nan'", "'-1/255'", "'x'", "''"):
        assert wrong in str(caught.value)


def curve_of(*hits: int, n: int = 50) -> EpsCurve:
    points = tuple(
        CurvePoint(
            eps=Radius(f"{2 * k}/255"),
            robust_acc=accuracy_from_correct([True] * hit + [False] * (n - hit)),
            by_class=by_class(["<one>"], [0] * n, [True] * n, [True] * hit + [False] * (n - hit)),
        )
        for k, hit in enumerate(hits)
    )
    return EpsCurve(name="student", architecture=architecture(), points=points)


def test_a_curve_that_rises_is_called_out():
    """Catches an attack so weak that a larger ball looks safer, passed on in silence."""
    assert rises(curve_of(48, 40, 40, 7)) == ()
    (flag,) = rises(curve_of(48, 30, 33, 7))
    assert "from 60.0% at 2/255 to 66.0% at 4/255" in flag_words(flag)


def report_of(*curves: EpsCurve, flags: tuple[Flag, ...] = ()) -> CurveReport:
    return CurveReport(
        run="<toy>", split="test", n=50, of=50, norm="Linf", attacks=("PGD",), seed=0, curves=curves, flags=flags
    )


def test_the_picture_shows_points_intervals_and_flags_and_needs_nothing_else():
    """Catches a band that leaves its interval, a curve off the axes, text not escaped, and anything fetched."""
    page = render_curve(report_of(curve_of(48, 30, 7), flags=(Flag(id="a < b", facts={}),)))
    assert "&lt;toy&gt;" in page
    assert "a &lt; b" in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    chart = curve_chart(report_of(curve_of(50, 30, 0)))
    accuracy = curve_of(50, 30, 0).points[1].robust_acc
    (band,) = [part for part in chart.split("<polygon")[1:]]
    corners = [tuple(map(float, pair.split(","))) for pair in band.split('points="')[1].split('"')[0].split()]
    assert corners[0] == (44.0, 14.0)  # all right, at radius 0
    assert corners[1] == (187.0, pytest.approx(216 - 202 * accuracy.high, abs=0.06))
    assert corners[4] == (187.0, pytest.approx(216 - 202 * accuracy.low, abs=0.06))
    assert corners[3] == (330.0, 216.0)  # none right, at the largest radius


def test_labels_of_the_radii_never_cover_each_other():
    """Catches a label for every radius, however close, and the largest radius without one."""
    assert _labelled([Fraction(k) for k in (0, 2, 4, 8, 15, 16)]) == [0, 4, 8, 16]
    assert _labelled([Fraction(1, 2)]) == [Fraction(1, 2)]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(), LINF),
        (Request(eps=Radius("2/255")), ThreatModel(norm="Linf", eps=Radius("2/255"))),
        (Request(norm="l2", eps=Radius("1/2")), ThreatModel(norm="L2", eps=Radius("1/2"))),
        (Request(norm="linf"), LINF),
    ],
)
def test_flags_change_the_runs_threat_model(request_, expected):
    """Catches --norm or --eps that goes nowhere."""
    assert requested_threat_model(LINF, request_) == expected


def test_another_norm_needs_its_own_radius():
    """Catches 8/255 in L-inf taken for 8/255 in L2, which nearly nothing can be done with."""
    with pytest.raises(ConfigError, match="--norm L2 needs --eps"):
        requested_threat_model(LINF, Request(norm="L2"))
    with pytest.raises(UnknownNameError, match="did you mean 'Linf'"):
        requested_threat_model(LINF, Request(norm="Linff"))


def stored(tmp_path, first: int = 0) -> tuple[ChunkStore, Outcomes]:
    rng = np.random.default_rng(first)
    found = Outcomes(
        clean=rng.random(3) < 0.7,
        resisted=rng.random((2, 3)) < 0.5,
        images_adv=rng.random((3, 1, 2, 2)).astype(np.float32),
    )
    store = ChunkStore(folder=tmp_path, digest=digest_of({"n": 3}))
    store.save(first, found)
    return store, found


def load(store: ChunkStore, first: int = 0):
    said: list[str] = []
    return store.load(first, (3, 1, 2, 2), attacks=2, say=said.append), said


def test_a_chunk_comes_back_bit_for_bit_and_only_to_its_own_evaluation(tmp_path):
    """Catches float16, booleans turned into floats, and a chunk taken for another evaluation's or another place's."""
    store, found = stored(tmp_path)
    again, said = load(store)
    assert said == []
    for name in ("clean", "resisted", "images_adv"):
        assert_array_equal(getattr(again, name), getattr(found, name))
        assert getattr(again, name).dtype == getattr(found, name).dtype
    assert load(store, 3) == (None, [])
    store.file(3).write_bytes(store.file(0).read_bytes())
    assert "another evaluation" in load(store, 3)[1][0]
    other = ChunkStore(folder=tmp_path, digest=store.digest[:16] + "0" * 48)
    assert load(other)[0] is None
    assert store.load(0, (3, 1, 2, 2), attacks=3, say=lambda words: None) is None


def test_no_damaged_byte_is_believed_or_fatal(tmp_path):
    """Catches a flipped bit that changes the result, or ends the evaluation with a traceback."""
    store, found = stored(tmp_path)
    path = store.file(0)
    whole = path.read_bytes()
    named = 0
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        again, said = load(store)
        if again is None:
            named += str(path) in said[0]
            continue
        # Bytes that only say when or by what the file was made may change; what it holds may not.
        for name in ("clean", "resisted", "images_adv"):
            assert_array_equal(getattr(again, name), getattr(found, name))
    assert named > len(whole) / 6
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert load(store)[0] is None


class Stop(BaseException):
    """As abrupt as a kill: nothing catches it."""


@pytest.fixture
def small_run(tmp_path):
    return write_small_run(tmp_path / "runs" / "small")


@pytest.fixture
def unprobed(monkeypatch):
    """Nobody looks for masked gradients, which takes most of the time of an evaluation of few images."""
    monkeypatch.setattr(attack_job, "all_flags", lambda *_, **__: ())


def evaluated(run, said=None, **changes):
    request, heard = Request(**{"n": 50, "chunk": 16, "seed": 3, **changes}), Listening()
    found = evaluate_run(run, request, progress=heard)
    if said is not None:
        said += heard.lines
    return found


@pytest.mark.slow
def test_a_stopped_evaluation_goes_on_and_ends_the_same(small_run, monkeypatch):
    """Catches chunks done twice, chunks left out, and results that depend on where it was stopped."""
    whole = evaluated(small_run)
    text = small_run.evaluation.read_bytes()
    assert not small_run.evaluations.exists()
    small_run.evaluation.unlink()
    save, saved = ChunkStore.save, []

    def save_and_stop(self, first, found):
        save(self, first, found)
        saved.append(first)
        if len(saved) in (1, 3):
            raise Stop

    monkeypatch.setattr(ChunkStore, "save", save_and_stop)
    for _ in range(2):
        with pytest.raises(Stop):
            evaluated(small_run)
        assert not small_run.evaluation.exists()
    said: list[str] = []
    assert evaluated(small_run, said) == whole
    assert saved == [0, 16, 32, 48]
    assert said == ["student: 3 of 4 chunks were finished before and are taken from there"]
    assert small_run.evaluation.read_bytes() == text
    assert not small_run.evaluations.exists()


@pytest.mark.parametrize(
    ("first", "then", "stays"),
    [
        ({"attack": "fgsm"}, {"attack": "fgsm", "n": 8}, True),
        ({"attack": "apgd-ce"}, {"attack": "fgsm"}, True),
        ({"attack": "fgsm"}, {"attack": "apgd-ce"}, False),
        ({"attack": "fgsm"}, {"attack": "fgsm", "seed": 5}, False),
        ({"attack": "fgsm", "n": 8}, {"attack": "fgsm"}, False),
        ({"attack": "fgsm"}, {"attack": "apgd-ce", "n": 8}, False),
        ({"attack": "pgd-20-ce"}, {"attack": "fgsm"}, True),
        ({"attack": "fgsm", "n": 8}, {"attack": "apgd-ce", "eps": Radius("1/255")}, True),
        ({"attack": "apgd-ce", "eps": Radius("1/255")}, {"attack": "fgsm", "n": 8}, False),
    ],
    ids=str,
)
def test_an_evaluation_that_says_more_is_not_replaced(small_run, unprobed, first, then, stays):
    """Catches an hour of strong attacks on all images that a quick look at a few of them takes the place of."""
    evaluated(small_run, **{"n": 16, **first})
    before, said = small_run.evaluation.read_bytes(), list[str]()
    found = evaluated(small_run, said, **{"n": 16, **then})
    assert (small_run.evaluation.read_bytes() == before) is stays
    assert any("will be shown and not kept" in line for line in said) is stays
    assert decode_json(Evaluation, small_run.evaluation) == found or stays


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"exact": True},
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ({"eps": Radius("20/255")}, {"attack": "fgsm"}, {"n": 49}, {"chunk": 17})
        ),
    ],
    ids=str,
)
def test_other_flags_take_nothing_from_a_stopped_evaluation(small_run, unprobed, monkeypatch, changes):
    """Catches a flag that is left out of the key: its result would be another's."""
    monkeypatch.setattr(attack_job, "bf16_pays", lambda device: True)
    with monkeypatch.context() as patch:
        patch.setattr(job.Campaign, "finish", lambda self, show, files: None)
        evaluated(small_run)
    assert small_run.evaluations.is_dir()
    said: list[str] = []
    evaluated(small_run, said, **changes)
    assert said == []


@pytest.mark.slow
def test_other_weights_take_nothing_from_a_stopped_evaluation(small_run, unprobed, monkeypatch, tmp_path):
    """Catches a student trained further, with the figures of the one before."""
    with monkeypatch.context() as patch:
        patch.setattr(job.Campaign, "finish", lambda self, show, files: None)
        evaluated(small_run)
    other = write_small_run(tmp_path / "runs" / "other", seed=1)
    small_run.student.rename(tmp_path / "old")
    other.student.rename(small_run.student)
    said: list[str] = []
    evaluated(small_run, said)
    assert said == []


def test_a_damaged_chunk_is_named_and_done_again(small_run, unprobed, monkeypatch):
    """Catches a damaged file that is believed, or that stops the evaluation."""
    whole = evaluated(small_run)
    with monkeypatch.context() as patch:
        patch.setattr(job.Campaign, "finish", lambda self, show, files: None)
        evaluated(small_run)
    damaged = sorted(small_run.evaluations.glob("*/chunk-*.npz"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    said: list[str] = []
    assert evaluated(small_run, said) == whole
    assert str(damaged) in said[0]
    assert "3 of 4" in said[1]


def test_changed_data_are_refused(small_run):
    """Catches a student tested on what it may have learned from."""
    record = json.loads(small_run.recipe.read_text())
    small_run.recipe.write_text(json.dumps({**record, "data": {**record["data"], "sha256": "0" * 64}}))
    with pytest.raises(ConfigError, match="are not the ones the run was started with"):
        evaluated(small_run)


def test_shares_put_together_are_the_whole(tmp_path, monkeypatch):
    """Catches a chunk that no rank does, one that two do, and cuts that move with the number of ranks."""
    barrier = threading.Barrier(3, timeout=60)

    class Thread(Ranks):
        def agree(self, digest: str) -> None:
            barrier.wait()

        def wait(self) -> None:
            barrier.wait()

    data = dataset(n=300)
    store = ChunkStore(folder=tmp_path, digest=digest_of({}))
    saved: list[int] = []
    save = ChunkStore.save
    monkeypatch.setattr(ChunkStore, "save", lambda self, first, found: (saved.append(first), save(self, first, found)))

    networks = [network(classes=3) for _ in range(3)]
    count_cost(networks[0].architecture)  # tracing, which these threads could not do at the same time

    def attacked(ranks: Ranks, store: ChunkStore | None):
        return attack_network(
            networks[ranks.rank],
            data.test,
            name="net",
            split="test",
            of=len(data.test),
            class_names=data.class_names,
            threat_model=THREAT,
            seed=5,
            progress=Silent(),
            chunk=16,
            store=store,
            ranks=ranks,
        )

    alone = attacked(Ranks(), None)
    with ThreadPoolExecutor(3) as pool:
        shares = list(pool.map(lambda rank: attacked(Thread(rank=rank, world=3), store), range(3)))
    assert sorted(saved) == list(range(0, 100, 16))
    for share in shares:
        assert share.evaluation == alone.evaluation
        assert_array_equal(share.samples.images_adv, alone.samples.images_adv)


def test_the_environment_of_torchrun_is_checked(monkeypatch):
    """Catches a traceback, or a wait for ever, where WORLD_SIZE was set by something else."""
    with open_ranks() as alone:
        assert alone.first
        assert alone.world == 1
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE"), open_ranks():
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="RANK"), open_ranks():
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match="torchrun"), open_ranks():
        pass


def test_the_features_of_a_graph_are_not_attacked_and_that_is_said(monkeypatch, tmp_path):
    """Catches an evaluation that stops at a gradient no graph has, and an attack left out in silence."""
    (tmp_path / "adapters.safetensors").touch()
    said, graph = Listening(), graph_network(onnx_from_network(network(classes=3)))
    monkeypatch.setattr(job, "teacher_of", lambda record: graph)
    campaign = SimpleNamespace(
        run=RunFolder(tmp_path),
        record=SimpleNamespace(teacher="graph"),
        ranks=SimpleNamespace(device=torch.device("cpu")),
        progress=said,
    )
    student = job.Subject(name="student", network=network(classes=3), sha256="0" * 64)
    assert job._at_features(campaign, student) == ()  # type: ignore[arg-type]  what of a campaign it looks at
    assert said.lines == ["The student's features are not attacked: the teacher's (ONNX graph) have no gradient"]
