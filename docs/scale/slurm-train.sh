#!/usr/bin/env bash
# Trains one recipe over machines, a rank for each GPU: sbatch docs/scale/slurm-train.sh recipes/world-seq-transf.toml
#
# Two minutes before the time is over every rank is told; rank 0 writes a checkpoint, and the same command goes on there.
#SBATCH --job-name=tvr-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:4
#SBATCH --time=04:00:00
#SBATCH --signal=INT@120
set -euo pipefail

recipe=${1:?name a recipe, as recipes/world-seq-transf.toml}
# Built beforehand, with the cluster's MPI: cargo build -p xtask --features cuda,mpi
xtask=${XTASK:-target/debug/xtask}

# srun does not take --cpus-per-task from the job (Slurm 22.05 and later): without it a rank would have one core for all threads.
cpus=${SLURM_CPUS_PER_TASK:-1}
export RAYON_NUM_THREADS=$cpus
# A rank takes the device that its number on its machine gives it. srun must speak the MPI's protocol: srun --mpi=list.
exec srun --mpi="${TVR_MPI:-pmix}" --cpus-per-task="$cpus" --kill-on-bad-exit=1 "$xtask" train "$recipe" --devices cuda:0-3 --resume
