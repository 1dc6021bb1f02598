#!/bin/sh
# Trains and sweeps checkpoints, each on one core, resumable: sh runs/queue.sh NAME...   (all built-in ones without names)
# Two queues side by side use two cores. A run that was killed goes on where its last saved state is. See runs/README.md.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ $# -gt 0 ] || set -- shapes-dual-bn shapes-dual-ap shapes-dual-ns shapes-single shapes-madry shapes-standard shapes-ap-ns-tuned shapes-ap-tuned
for name in "$@"; do
  folder=checkpoints/$name
  # The state goes last, after the card's accuracies, so weights beside a state belong to an unfinished run.
  if [ ! -f "$folder/weights.safetensors" ] || [ -f "$folder/.state.safetensors" ]; then
    nice "$python" -m engine train "$folder/train.toml" --resume --threads 1 ${DATA_ARGS:-} 2>>"runs/$name.log"
  fi
  if [ -n "${HEADLINE_ARGS:-}" ]; then
    nice "$python" -m engine headline "$name" --threads 1 $HEADLINE_ARGS ${DATA_ARGS:-} 2>>"runs/$name.log"
  fi
  nice "$python" -m engine sweep "$name" --threads 1 ${SWEEP_ARGS:-} ${DATA_ARGS:-} 2>>"runs/$name.log"
done
