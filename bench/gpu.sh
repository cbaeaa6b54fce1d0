#!/usr/bin/env bash
# What a machine with a GPU must show, in stages that each end within ten minutes; a short table comes last.
#
#   bench/gpu.sh --data FOLDER --wheels FOLDER --weights FILE.pt      all stages, on a bare machine
#   bench/gpu.sh --out FOLDER attacks engines                         these two, where everything is installed
#   SMALL=1 bench/gpu.sh                                              in miniature, without a GPU: figures mean nothing
#
# Stages, all of them if none is named
#   tests          the tests marked gpu; fails where none of them ran
#   distill-speed  a step of ours and of a plain published loop, ResNet-18 from WideResNet-28-10, against the ceiling
#   teacher        a robust network: --weights imported, or else one trained by N-FGSM; made once, by whoever needs it
#   attacks        torchattacks, foolbox, pyautoattack and ours on the same network and images, one after the other
#   train          students by MixACM (both maps), edgerkd, N-FGSM and RSLAD at equal wall-clock: clean, PGD-20, ensemble
#   engines        a short run exported, verified and timed on every backend that works here
#   ranks          two processes train what one trains
#
# Options, their paths from the repository's root
#   --data     holds cifar10.npz, or its parts cifar10.npz.part-*, which are joined here
#   --wheels   packages the machine lacks, edgerkd's own wheel among them for its entry points: unpacked, not installed,
#              and found before the machine's own; edgerkd's code is that of this folder in any case
#   --weights  a robust CIFAR-10 network, a file that `edgerkd teacher import` takes
#   --out      results.json, gpu.log, teacher.safetensors and the students (default build/gpu)
#
# A folder of wheels is made where there is a network by
#   grep -o '^[^ #]*==[^ ;]*' requirements/dev.txt >pins.txt
#   pip download --no-deps --only-binary :all: --python-version 3.12 --dest FOLDER -c pins.txt typer annotated-doc \
#     shellingham rich markdown-it-py mdurl pygments pydantic pydantic-core annotated-types typing-inspection \
#     array-api-compat pytest pluggy iniconfig hypothesis sortedcontainers torchattacks requests foolbox eagerpy \
#     gitpython gitdb smmap pyautoattack cryptography cffi pycparser
#   zip -d FOLDER/pyautoattack-*.whl '*.pt'      # an example's weights, 42 of 49 MB
#   python -m hatchling build -t wheel -d FOLDER
#
# What was computed is kept in build/gpu-work between calls; a teacher's training that was cut off goes on. The card's
# clocks and settings stay as they are. A stage that fails, or that the ten minutes cut off, does not stop the others;
# the exit status is the number of those that failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

STAGES=(tests distill-speed teacher attacks train engines ranks)
LIMIT=570 # seconds a stage
DATA='' WHEELS='' WEIGHTS='' OUT=build/gpu
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --data) DATA=${2:?} ;; --wheels) WHEELS=${2:?} ;; --weights) WEIGHTS=${2:?} ;; --out) OUT=${2:?} ;;
    *) echo "$1: no such option; see the head of $0" >&2; exit 2 ;;
  esac
  shift 2
done
[[ $# == 0 ]] || STAGES=("$@")

# Sizes: what the figures are quoted for, and what only shows that the script works.
if [[ -n "${SMALL:-}" ]]; then
  WORK=build/gpu-work-small SET=digits TEACHER_EPOCHS=2 IMAGES=24
  TESTS=()
  SPEED=(--batch 8 --rounds 2 --student-widths 8 16 --student-blocks 1 --teacher-widths 16 32 64 --teacher-blocks 1)
  STUDY=gpu-small BESIDE=2
else
  WORK=build/gpu-work SET=cifar10 TEACHER_EPOCHS=20 IMAGES=1000
  TESTS=(--run-gpu -m gpu)
  SPEED=(--batch 512 --rounds 15 --student-widths 64 128 256 512 --student-blocks 2 --teacher-widths 160 320 640
    --teacher-blocks 4)
  STUDY=gpu BESIDE=5
fi
TEACHER=gpu-$SET
RESULTS=$WORK/results
PYTHON=${PYTHON:-python3}

# Python, for as long as this stage still may run.
python() { timeout --kill-after=10 "$((DEADLINE > SECONDS ? DEADLINE - SECONDS : 1))" "$PYTHON" "$@"; }

prepare() {
  if [[ -n $WHEELS ]]; then
    for wheel in "$WHEELS"/*.whl; do "$PYTHON" -m zipfile -e "$wheel" "$WORK/packages" || return 1; done
  fi
  export PYTHONPATH=$PWD:$PWD/exporters:$PWD/$WORK/packages EDGERKD_CACHE=$PWD/$WORK/cache PYTHONUNBUFFERED=1
  if [[ -n $DATA ]]; then
    EDGERKD_DATA=$(cd "$DATA" && pwd) || return 1
    export EDGERKD_DATA
    if [[ ! -f $DATA/cifar10.npz ]] && compgen -G "$DATA/cifar10.npz.part-*" >/dev/null; then
      cat "$DATA"/cifar10.npz.part-* >"$DATA/joined" && mv "$DATA/joined" "$DATA/cifar10.npz" || return 1
    fi
  fi
  # It also says which backends work here, and on which card.
  "$PYTHON" -m edgerkd doctor --json >"$RESULTS/doctor.json"
}

stage_tests() { python -m pytest -q "${TESTS[@]}" tests/unit/test_gpu.py; }

# Random weights and images: speed does not depend on them.
stage_distill-speed() {
  python bench/distill.py "${SPEED[@]}" --teacher-family wideresnet --json "$RESULTS/distill-speed.json"
}

stage_teacher() {
  local kept=$WORK/cache/teachers/$TEACHER/weights.safetensors
  if [[ ! -f $kept ]]; then
    if [[ -n $WEIGHTS && $SET == cifar10 ]]; then
      python -m edgerkd teacher import "$WEIGHTS" --data "$SET" --name "$TEACHER" --json >"$RESULTS/teacher.json"
    else
      python -m edgerkd teacher train --method n-fgsm --data "$SET" --epochs "$TEACHER_EPOCHS" --name "$TEACHER" \
        --json >"$RESULTS/teacher.json"
    fi || return 1
  fi
  cp "$kept" "$OUT/teacher.safetensors"
}

# Each contender in its own process: one that is missing, or that the limit cuts off, leaves the others' figures.
# pyautoattack's ensemble comes last: it takes longest, and may have all of the time that is left.
stage_attacks() {
  local failed=0 contender
  stage_teacher || return 1
  for contender in pgd-edgerkd pgd-torchattacks pgd-foolbox ensemble-edgerkd ensemble-pyautoattack; do
    python bench/attacks.py "${contender%-*}" --only "${contender#*-}" --teacher "$TEACHER" --data "$SET" -n "$IMAGES" \
      --json "$RESULTS/attacks-$contender.json" || { echo "attacks: $contender did not end: status $?"; failed=1; }
  done
  return $failed
}

# As many processes beside each other as there are methods: one small student leaves most of a large GPU idle.
stage_train() {
  local status=0 process processes=()
  stage_teacher || return 1
  mkdir -p "$WORK/study"
  for ((process = 0; process < BESIDE; process++)); do
    python bench/study.py "bench/plans/$STUDY.toml" --out "$WORK/study" --work "$WORK/study" --teachers "$OUT" &
    processes+=($!)
  done
  for process in "${processes[@]}"; do wait "$process" || status=$?; done # the limit may cut the rest off
  cp "$WORK/study"/*.safetensors "$OUT" # to be attacked elsewhere, if need be
  cp "$WORK/study/$STUDY.json" "$RESULTS/train.json" && python bench/study_table.py "$RESULTS/train.json" || return 1
  return $status
}

stage_engines() {
  local failed=0 backend run=$WORK/run
  stage_teacher || return 1
  rm -rf "$run"
  python -m edgerkd distill --profile x86-cpu --data "$SET" --teacher "$TEACHER" --epochs 2 --run "$run" &&
    python -m edgerkd export --format onnx --run "$run" || return 1
  for backend in $("$PYTHON" -c "import json, sys
print(*(r['name'] for r in json.load(open(sys.argv[1]))['backends'] if r['runs'] is None))" "$RESULTS/doctor.json"); do
    python -m edgerkd verify "$run/bundle" --backend "$backend" --json >"$RESULTS/engines-verify-$backend.json"
    case $? in 0 | 1 | 7 | 8) ;; *) failed=1 ;; esac # pass, fail, inconclusive and pass as claimed are findings, not failures
    python bench/engine_latency.py "$run/bundle" --backend "$backend" --json "$RESULTS/engines-latency-$backend.json" ||
      failed=1
  done
  return $failed
}

stage_ranks() {
  python -m torch.distributed.run --standalone --nproc-per-node=2 bench/ranks.py --json "$RESULTS/ranks.json"
}

main() {
  local stage started verdict failed=0 table=''
  prepare || { echo "this machine is not ready: see --data and --wheels at the head of $0" >&2; return 1; }
  for stage in "${STAGES[@]}"; do
    printf '\n== %s\n' "$stage"
    [[ $stage == teacher ]] || rm -f "$RESULTS/$stage"*.json
    started=$SECONDS DEADLINE=$((SECONDS + LIMIT))
    if "stage_$stage"; then verdict='done'; else verdict=FAILED failed=$((failed + 1)); fi
    table+=$(printf '%-14s %-7s %4d s' "$stage" "$verdict" $((SECONDS - started)))$'\n'
    "$PYTHON" bench/gpu_results.py "$RESULTS" "$OUT/results.json" >"$WORK/table.txt" # after each, should we be cut off
  done
  printf '\n%s\n%s\n' "$table" "$(cat "$WORK/table.txt")"
  return $failed
}

for stage in "${STAGES[@]}"; do
  [[ $(type -t "stage_$stage") == function ]] || { echo "$stage: no such stage; see the head of $0" >&2; exit 2; }
done
mkdir -p "$OUT" "$RESULTS"
main > >(tee -a "$OUT/gpu.log") 2>&1
status=$?
wait $! # for tee
exit $status
