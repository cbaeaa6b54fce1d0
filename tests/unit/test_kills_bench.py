"""bench/kills.py: what it takes for whole, and what for left behind."""

import json

from tests.benches import bench

KILLS = bench("kills")


def test_what_is_half_written_or_left_is_seen(tmp_path):
    """Catches 200 kills that find nothing because nothing is looked at."""
    folder = tmp_path / "trial"
    kept = folder / KILLS.RUN / "engines" / "bundle-0123456789ab"
    kept.mkdir(parents=True)
    (tmp_path / "trial.out").write_text(json.dumps({"engine_sha256": "ab"}))
    (kept / ".engine.json-x.part").write_text("{")  # a killed writer's, which has no final name
    assert KILLS.broken(folder) == []
    usual = KILLS.Undisturbed(seconds=1.0, changes=1, files=KILLS.files_in(folder), found=(0, "ab"))
    assert KILLS.wrong(folder, "build", 0, usual) == []
    (kept / "verify.json").write_text("{")
    assert [problem.partition(":")[0] for problem in KILLS.wrong(folder, "build", 0, usual)] == [
        "verify.json",
        "left behind",
    ]
    (kept / "verify.json").unlink()
    (kept.with_name("bundle-ba9876543210")).mkdir()  # only the digest differs: one name in both, twice here
    assert KILLS.wrong(folder, "build", 0, usual) == ["left behind: runs/kept/engines/bundle-#"]
    assert "found" in KILLS.wrong(folder, "build", 6, usual)[0]
