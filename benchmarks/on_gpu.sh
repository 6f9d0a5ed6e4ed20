#!/usr/bin/env bash
# What needs a GPU, in ten minutes: its tests, speed and memory, then Table 2 of the preset `mini` with as many steps as
# fit. Everything is written to OUTPUT, and packed into OUTPUT/on_gpu.tar.gz. Each part has its own time limit.
#
#     benchmarks/on_gpu.sh OUTPUT IMAGES [SECONDS]
#
# IMAGES: folder with the image sets BSDS400, Set5 and Set14, each as `python -m sisr fetch --from` accepts it.
# SECONDS: time limit of everything (default 570).
# Rehearsal without a GPU, in some minutes: DEVICE=cpu SMALL=yes benchmarks/on_gpu.sh OUTPUT IMAGES 300
set -u
if [ $# -lt 2 ]; then sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
output=$(mkdir -p "$1" && cd "$1" && pwd) || exit 2
images=$(cd "$2" && pwd) || exit 2
seconds=${3:-570}
device=${DEVICE:-cuda}
python=${PYTHON:-python}
cd "$(dirname "$0")/.." || exit 2

left() { echo $((seconds - SECONDS)); }
part() { # part NAME LIMIT COMMAND…: run a command within its time, and keep what it says
    local name=$1 limit=$2
    shift 2
    echo "$SECONDS s: $name"
    timeout "$limit" "$@" > "$output/$name.log" 2>&1
    echo "    status $?, $output/$name.log"
}

size=() attention=() smaller=() preset_size=(--blocks 16 --channels 64 --batch 16 --patch 48 --scale 4)
if [ -n "${SMALL:-}" ]; then
    size=(--blocks 2 --channels 16 --batch 2 --patch 24 --repeats 3 --warm-up 1)
    attention=(--quick --repeats 3)
    preset_size=("${size[@]}" --scale 4)
    smaller=('network.blocks=2' 'network.channels=16' 'network.slots=[0,2]' 'training.batch=2')
fi

if [ "$device" = cuda ]; then nvidia-smi > "$output/nvidia-smi.log" 2>&1; fi
part tests 60 "$python" -m pytest -q -n 0 -p no:cacheprovider -k "cuda or gpu or triton or fused" \
    tests/models/test_attention_triton.py tests/evaluation/test_inference.py tests/evaluation/test_metrics.py \
    tests/training/test_training_processes.py
part attention 45 "$python" -m benchmarks.attention --device "$device" --output "$output" "${attention[@]}"
part training_step 60 "$python" -m benchmarks.training_step --device "$device" --output "$output" "${size[@]}"
# the step of `mini`: bfloat16, channels last, not compiled
part mini_step 30 "$python" -m benchmarks.training_step --device "$device" --output "$output/mini_step" \
    --forms 3 "${preset_size[@]}"

# four variants share the GPU: at worst each step takes four times as long; a quarter of the time is for the rest
scale=$("$python" - "$output/mini_step/training_step.json" "$(left)" << 'END'
import json, sys
try:
    milliseconds = json.load(open(sys.argv[1]))["rows"][0]["milliseconds"]
except (OSError, KeyError):
    milliseconds = None
print(min(1.0, max(0.001, 0.75 * int(sys.argv[2]) / (4 * (milliseconds or 50) / 1000) / 20_000)))
END
)
[ -z "${SMALL:-}" ] || scale=0.002
echo "$SECONDS s: Table 2 of mini with $scale of its steps"
for seed in 0 1; do
    [ "$(left)" -gt 60 ] || break
    part "mini_seed_$seed" $(($(left) - 15)) "$python" -m sisr launch config/mini.yaml --from "$images" \
        --data "$output/data" --output "$output/mini" --device "$device" --experiments table2 --scale-steps "$scale" \
        --set 'data.test=[Set5,Set14]' 'seeds=[0'"$([ $seed = 1 ] && echo ,1)"']' "${smaller[@]}" \
        --minutes "$(awk "BEGIN {print ($(left) - 30) / 60}")" --grace 15
done
packed=$(mktemp) # elsewhere: tar complains where its folder changes
tar -czf "$packed" -C "$output" --exclude='checkpoint*' --exclude=data --exclude='*.tar.gz' . && mv "$packed" "$output/on_gpu.tar.gz"
echo "$SECONDS s: $output/on_gpu.tar.gz"
