#!/usr/bin/env bash
# Encodes a folder of frames in shares, a task of a job array each: sbatch docs/scale/slurm-encode.sh CHECKPOINT FRAMES OUT
#
# The shares do not speak with one another; one that failed is started again by itself: sbatch --array=7 and the same words.
# For another number of shares: SHARES=32 sbatch --array=0-31 and the same words.
#SBATCH --job-name=tvr-encode
#SBATCH --array=0-15
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --time=02:00:00
set -euo pipefail

weights=${1:?name a checkpoint} frames=${2:?name a folder of frames} out=${3:?name a folder for the shares}
xtask=${XTASK:-target/debug/xtask}
# Not SLURM_ARRAY_TASK_COUNT: that is 1 where one of them is started again.
shares=${SHARES:-16}
mkdir -p "$out"

export RAYON_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
exec "$xtask" encode --weights "$weights" --frames "$frames" --device cuda:0 --skip-bad --resume \
    --shard "$SLURM_ARRAY_TASK_ID/$shares" --out "$out/$SLURM_ARRAY_TASK_ID.safetensors"
