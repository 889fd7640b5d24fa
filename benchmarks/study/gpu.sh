#!/bin/sh
# What fits into nine minutes of a GPU: the main rows from clicks, on CamVid and then on VOC. What is killed
# goes on at the next call.
#
#     timeout 525 sh benchmarks/study/gpu.sh CAMVID VOC2012 efficientnet-lite0.pth OUT
set -eu
study() {
    "${PYTHON:-python3}" "$(dirname "$0")" run --labels clicks --pull densecrf 0.1 \
        --rows pce,densecrf,gatedcrf,selflabel,mixture,full "$@"
}
for seed in 0 1 2; do study --data camvid --root "$1" --backbone "$3" --out "$4" --seeds $seed; done
for seed in 0 1 2; do study --data voc --root "$2" --backbone "$3" --out "$4" --seeds $seed; done
