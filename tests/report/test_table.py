"""Tables of text."""

from dataclasses import replace

import pytest

from edgerkd.cli.output import show_verification
from edgerkd.core.by_class import by_class
from edgerkd.core.engine import DeviceRecord
from edgerkd.core.verification import Latency
from edgerkd.report.origins import asker_words
from edgerkd.report.table import class_table, comparison_rows, conditions, verdict_lines, verification_text
from edgerkd.report.words import reasons
from tests.report import samples

PASS = """\
accuracy of the engine: 96.6% [94.7%, 97.9%] on 503 images, before any attack
accuracy of the model in float32: 96.8% [94.9%, 98.0%]; 98.21% of the answers are the same; 3 images are right on \
the engine alone, 11 on the model alone: no difference is shown (McNemar's exact test, p = 0.057)
least accurate class: zero, 91.0% [81.8%, 95.8%] of 67 images, 92.5% [83.7%, 96.8%] on the model

gate             required        measured [99%]         verdict  asked by
---------------  --------------  ---------------------  -------  ---------------
clean accuracy   at least 88.3%  96.6% [94.7%, 97.9%]   pass     teacher (claim)
robust accuracy  at least 77.1%  89.7% [86.7%, 92.0%]   pass     teacher (claim)
retention        at least 95.0%  99.5% [98.8%, 100.2%]  pass     profile

attack         source       robust accuracy [99%]
-------------  -----------  ---------------------
replay         replay       92.0% [89.4%, 94.1%]
PGD-21 CE      direct       90.9% [88.0%, 93.1%]
PGD-21 margin  direct       89.9% [86.9%, 92.2%]
worst case     all of them  89.7% [86.7%, 92.0%]

limit                 at most              measured             verdict
--------------------  -------------------  -------------------  ---------------
parameters            120,000              19,234 (claimed)     within
multiply-accumulates  6,000,000            1,730,512 (claimed)  within
engine file           1 MiB (1,048,576 B)  79.4 KiB (81,307 B)  within
latency (median)      2.5 ms               -                    not judged here

parity                               measured              required
-----------------------------------  --------------------  ---------------------
images compared                      1006
largest difference of a logit        3.43e-06              at most 0.00171
same answer                          100.00%               always, where the
                                                           host is decided
gradient twin gives the same answer  99.92%
twin's slope is the engine's         58 of 61, 1 wrong, 2  at most 4 wrong
                                     flat
correlation of random slopes         0.914 [0.891, 0.936]  at least 0.60
the same network                     yes

latency  p50 ms  p95 ms  p99 ms  runs
-------  ------  ------  ------  ----
batch 1  0.0423  0.0517  0.0931  222

class        images  clean acc. [99%]      robust acc. [99%]
-----------  ------  --------------------  --------------------
zero         67      91.0% [81.8%, 95.8%]  61.2% [49.2%, 72.0%]
one (worst)  73      95.9% [88.6%, 98.6%]  31.5% [22.0%, 42.9%]

PASS on onnx 1.77.2 (this CPU); toy-board itself is not verified
  every gate is met and no limit judged here is exceeded
  engine:  onnx 1.77.2 on toy64 CPU (Toy CPU @ 1 GHz), variant fp32, sha256 0f1e2d3c4b5a
  attacks: Linf 9/255, decided after 503 of 617 images, drawn with seed 8191, seed 13
  images:  503 of digits, chosen by the bundle's maker
  bundle:  toy-run, manifest sha256 abababababab
  latency: after 43 runs of warm-up: governor schedutil; cpu 2.91 to 2.93 GHz; hottest zone 48 to 48 C
  latency: energy: 0.718 mJ an inference (Toy meter; 1,433 in 1.06 s)
  origin:  measured here: accuracy, robust accuracy, row by row and class by class, parity, gradient check, \
latency, engine's digest and device, engine file
  origin:  claimed by the bundle: images and labels, radius, what is required, what retention is a share of, host's \
and teacher's accuracies, parameters, multiply-accumulates
  note:    no image of two: nothing here is about these classes
  note:    beside what was measured this rests on a signature by a key you trust: the bundle is signed by the key \
fafafafafafafafafafafafafafafafafafafafafafafafafafafafafafafafa
  note:    trt is not used: libnvinfer.so was not found
  note:    gates that the teacher sets are shares of accuracies that only the bundle says it reached: a lower claim \
makes them easier, --min-clean and --min-robust replace them
  note:    this verdict is about onnx on toy64 CPU (Toy CPU @ 1 GHz); Toy Board 3000 runs trt: run `edgerkd verify` \
there, latency is judged there too
"""


def test_the_whole_verification():
    """Catches any figure that is lost, swapped or shown as a bare fraction."""
    assert verification_text(samples.verification()) == PASS


def test_it_fits_a_terminal():
    """Catches tables and a headline that 80 columns would break; names of devices and notes may be longer."""
    _, *tables, verdict = verification_text(samples.verification()).split("\n\n")
    assert len(tables) == 6
    assert max(len(line) for line in [*"\n".join(tables).splitlines(), verdict.partition("\n")[0]]) <= 80


@pytest.mark.parametrize(
    ("verdict", "meaning"),
    [
        ("pass", "every gate is met and no limit judged here is exceeded"),
        ("fail", "at least one requirement is not met: the tables say which"),
        ("inconclusive", "nothing failed, but the evidence is not enough: this is not a pass"),
        ("measured", "figures alone, held against no threshold: this is not a pass"),
    ],
)
def test_the_verdict_is_unmistakable_and_has_its_scope(verdict, meaning):
    """Catches a verdict softened, without a reason, or about nothing in particular."""
    report = samples.verification(verdict)
    lines = verdict_lines(report)
    assert lines[0] == f"{verdict.upper()} on onnx 1.77.2 (this CPU); toy-board itself is not verified"
    assert lines[1] == f"  {meaning}"
    because = [line for line in lines if "because" in line]
    assert because == [f"  because: {reason}" for reason in reasons(report)]
    assert len(because) == (verdict in ("fail", "inconclusive"))
    engine = "  engine:  onnx 1.77.2 on toy64 CPU (Toy CPU @ 1 GHz), variant fp32, sha256 0f1e2d3c4b5a"
    assert engine in lines
    assert "  attacks: Linf 9/255, decided after 503 of 617 images, drawn with seed 8191, seed 13" in lines
    words = "\n".join(lines)
    assert [word for word in ("PASS", "FAIL", "INCONCLUSIVE", "MEASURED") if word in words] == [verdict.upper()]


CPU = DeviceRecord(kind="cpu", name="Toy CPU", machine="toy64")
GPU = DeviceRecord(kind="gpu", name="Toy GPU", capability="9.9")


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive", "measured"])
@pytest.mark.parametrize(
    ("device", "reached", "about"),
    [
        (CPU, None, "on onnx 1.77.2 (this CPU)"),
        (CPU, True, "on onnx 1.77.2 (this CPU)"),
        (CPU, False, "on onnx 1.77.2 (this CPU); toy-board itself is not verified"),
        (GPU, None, "on onnx 1.77.2 (this Toy GPU)"),
        (GPU, True, "on onnx 1.77.2 (this Toy GPU)"),
        (GPU, False, "on onnx 1.77.2 (this Toy GPU); toy-board itself is not verified"),
    ],
)
def test_the_first_line_names_what_the_verdict_is_about(verdict, device, reached, about):
    """Catches a pass on a server that reads like one on the profile's device, whatever the verdict and the machine."""
    report = samples.verification(verdict)
    assert report.target is not None
    target = None if reached is None else replace(report.target, reached=reached)
    found = replace(report, engine=replace(report.engine, device=device), target=target)
    first = verdict_lines(found)[0]
    assert first == f"{verdict.upper()} {about}"
    assert ("toy-board" in first) == ("itself is not verified" in first)
    assert any("run `edgerkd verify` there" in line for line in verdict_lines(found)) is (reached is False)


@pytest.mark.parametrize(
    ("told", "mode", "in_modes"),
    [
        (("MAXN", "MAXN"), "MAXN", None),
        (("15W", "15W"), "MAXN", "15W"),
        (("MAXN", "15W"), "MAXN", "MAXN then 15W"),
        (("15W", "15W"), None, None),
    ],
)
def test_another_power_mode_is_not_the_profiles_device(told, mode, in_modes):
    """Catches a pass at 15 W that reads like one at full power, and a note that does not say what is different."""
    report = samples.verification()
    before, after = (replace(report.timing.before, power_mode=each) for each in told)
    found = replace(
        report,
        engine=replace(report.engine, device=replace(GPU, multiprocessors=4)),
        target=replace(samples.TARGET, reached=True, sms=16, power_mode=mode),
        timing=replace(report.timing, before=before, after=after),
    )
    lines = verdict_lines(found)
    assert lines[0].endswith("; toy-board itself is not verified") is (in_modes is not None)
    words = f"on Toy GPU (compute capability 9.9, 4 SMs) in power mode {in_modes}; Toy Board 3000 runs trt on 16 SMs in"
    assert any(f"{words} power mode MAXN: " in line for line in lines) is (in_modes is not None)


def test_every_figure_says_who_says_it():
    """Catches parameters of the manifest's that read as if counted here, and gates whose asker nobody knows."""
    report = samples.verification()
    lines = "\n".join(verdict_lines(report))
    measured, claimed = (
        next(line for line in lines.splitlines() if line.startswith(f"  origin:  {words}"))
        for words in ("measured here", "claimed by the bundle")
    )
    assert "robust accuracy" in measured
    assert "engine file" in measured
    assert "parameters" in claimed
    assert "host's and teacher's accuracies" in claimed
    assert "brought by the verifier" not in lines
    brought = replace(report, origins=replace(report.origins, fields={**report.origins.fields, "samples": "brought"}))
    assert "  origin:  brought by the verifier: images and labels" in verdict_lines(brought)
    assert "19,234 (claimed)" in verification_text(report)


@pytest.mark.parametrize(
    ("asker", "above_chance", "shown"),
    [
        ("teacher", 0.0, "chance; teacher (claim) less"),
        ("maker", 0.0, "chance; maker less"),
        ("teacher", 0.1, "teacher (claim)"),
        ("verifier", 0.0, "verifier"),
    ],
)
def test_a_gate_that_was_raised_to_chance_says_so(asker, above_chance, shown):
    """Catches a threshold that is said to be a share of the teacher's accuracy, and is chance."""
    report = samples.verification()
    asked = replace(report.requirement, min_clean_acc=report.plain.floor + above_chance)
    origins = replace(report.origins, thresholds={**report.origins.thresholds, "clean_acc": asker})
    assert asker_words(replace(report, requirement=asked, origins=origins), "clean_acc") == shown


def test_broken_parity_is_loud():
    """Catches an engine that is another network, in a table that looks as always."""
    report = samples.verification("fail")
    text = verification_text(replace(report, parity=replace(report.parity, ok=False, agreement=0.9996)))
    assert "the same network                     NO" in text
    assert "99.96%" in text


def test_an_exceeded_limit_is_told_from_an_unjudged_one():
    """Catches None that passes for True or False."""
    report = samples.verification("fail")
    exceeded = replace(report.budget[3], measured=2.53, ok=False)
    text = verification_text(replace(report, budget=(exceeded,)))
    assert "latency (median)  2.5 ms   2.53 ms   exceeded" in text
    assert "not judged here" not in text


@pytest.mark.parametrize(("ms", "shown"), [(0.04234, "0.0423"), (1.5, "1.5"), (41.68, "41.7"), (1234.4, "1234")])
def test_milliseconds_keep_three_digits(ms, shown):
    """Catches 0.0 ms for a fast engine, and 1.23e+03 for a slow one."""
    report = replace(samples.verification(), latency_ms=Latency(p50=ms, p95=7777, p99=8888, batch=3, runs=5))
    assert f"\nbatch 3  {shown} " in verification_text(report)


def test_the_terminal_gets_the_same_text(capsys):
    """Catches markup, wrapping or colour where stdout is not a terminal."""
    show_verification(samples.verification())
    assert capsys.readouterr().out == PASS


def test_comparison():
    """Catches networks or figures that change places."""
    headers, rows = comparison_rows(samples.facts())
    assert headers == ("network", "params", "MACs", "clean acc. [95%]", "robust acc. [95%]")
    assert rows == (
        ("teacher", "313 k", "18.9 M", "98.2% [97.1%, 99.0%]", "96.0% [94.4%, 97.1%]"),
        ("student", "19.2 k", "1.73 M", "96.7% [95.3%, 97.8%]", "89.5% [87.1%, 91.4%]"),
        ("standard-trained", "19.2 k", "1.73 M", "98.9% [97.9%, 99.4%]", "4.9% [3.6%, 6.6%]"),
    )


def test_comparison_leaves_out_what_was_not_evaluated():
    """Catches a row of nothing."""
    facts = replace(samples.facts(), baseline=None, teacher=None)
    assert [row[0] for row in comparison_rows(facts).rows] == ["student"]


def test_networks_that_were_not_measured_alike_are_said_to_be_so():
    """Catches a student's FGSM beside its teacher's PGD under one line for both, and a warning where all are alike."""
    facts = samples.facts()
    assert facts.student is not None
    (alike,) = conditions(facts)
    assert alike == "Linf 9/255, 797 test images, seed 11, " + ", ".join(row.attack for row in facts.student.rows)
    weaker = replace(facts.student, rows=(replace(facts.student.rows[0], attack="FGSM"),))
    first, *each = conditions(replace(facts, student=weaker))
    assert first == "These were not measured alike: compare with care."
    assert each[1] == "student: Linf 9/255, 797 test images, seed 11, FGSM"
    assert len(each) == 3
    assert conditions(replace(facts, student=None, teacher=None, baseline=None)) == ()


@pytest.mark.parametrize(("robust", "marked"), [((1.0, 1.0), []), ((0.0, 0.0), []), ((1.0, 0.5), ["b (worst)"])])
def test_no_class_is_the_worst_of_equals(robust, marked):
    """Catches a class without a fault that is called the worst."""
    names = "ab"
    found = by_class(names, [0, 0, 1, 1], [True] * 4, [n < share * 2 for share in robust for n in range(2)])
    assert [row[0] for row in class_table(found).rows if "worst" in row[0]] == marked
