#!/usr/bin/env bash
# Encodes a folder of frames in shares, a task of a job array each: sbatch docs/scale/slurm-encode.sh CHECKPOINT FRAMES OUT
#
# The shares do not speak with one another; one that failed is started again by itself.
#SBATCH --job-name=tvr-encode
#SBATCH --array=0-15
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --time=02:00:00
set -euo pipefail

weights=${1:?name a checkpoint} frames=${2:?name a folder of frames} out=${3:?name a folder for the shares}
xtask=${XTASK:-target/debug/xtask}
mkdir -p "$out"

export RAYON_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
exec "$xtask" encode --weights "$weights" --frames "$frames" --device cuda:0 --skip-bad --resume \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --out "$out/$SLURM_ARRAY_TASK_ID.safetensors"
