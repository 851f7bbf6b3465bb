//! Launchers: which rank a process is, from the variables that whoever started it has set.
//!
//! | launcher | rank | size | rank on its machine |
//! |---|---|---|---|
//! | Open MPI | `OMPI_COMM_WORLD_RANK` | `OMPI_COMM_WORLD_SIZE` | `OMPI_COMM_WORLD_LOCAL_RANK` |
//! | MPICH and Intel MPI (Hydra) | `PMI_RANK` | `PMI_SIZE` | `MPI_LOCALRANKID` |
//! | torchrun, Kubeflow | `RANK` | `WORLD_SIZE` | `LOCAL_RANK` |
//! | SLURM (`srun`) | `SLURM_PROCID` | `SLURM_STEP_NUM_TASKS` | `SLURM_LOCALID` |
//! | Kubernetes indexed job | `JOB_COMPLETION_INDEX` | – | – |
//!
//! A launcher counts where its rank and its size are set. SLURM gives a batch script a rank too, but the size of a step to
//! none but what `srun` starts. An indexed job sets no size, so by itself it is refused (a job
//! array shares work with `--shard I/N` instead). The last two often start one of the first three on each machine, which
//! then inherits their variables: they are asked where none of those speaks. Two that are asked must say the same. A launcher
//! that does not say the rank on its machine takes it from one that counts the same ranks.
//!
//! Source: the launchers' manuals: Open MPI "Environmental variables", MPICH `hydra`, PyTorch `torchrun`, SLURM `srun`
//! "OUTPUT ENVIRONMENT VARIABLES", Kubernetes "Indexed Job".

use crate::error::ExperimentError;

/// Where a process stands among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub rank: usize,
    /// Ranks in all.
    pub size: usize,
    /// From 0, on this machine; the rank itself where the launcher does not say.
    pub local_rank: usize,
}

/// A launcher and its variables.
#[derive(Clone, Copy, Debug)]
struct Launcher {
    /// Its name, for messages.
    name: &'static str,
    /// The variable of the rank.
    rank: &'static str,
    /// The variable of the size; `None` where it sets none.
    size: Option<&'static str>,
    /// The variable of the rank on its machine.
    local_rank: Option<&'static str>,
    /// Whether it may start another launcher, which then inherits its variables.
    outer: bool,
}

/// Every launcher that is known.
const LAUNCHERS: [Launcher; 5] = [
    Launcher {
        name: "Open MPI",
        rank: "OMPI_COMM_WORLD_RANK",
        size: Some("OMPI_COMM_WORLD_SIZE"),
        local_rank: Some("OMPI_COMM_WORLD_LOCAL_RANK"),
        outer: false,
    },
    Launcher {
        name: "MPICH",
        rank: "PMI_RANK",
        size: Some("PMI_SIZE"),
        local_rank: Some("MPI_LOCALRANKID"),
        outer: false,
    },
    Launcher {
        name: "torchrun",
        rank: "RANK",
        size: Some("WORLD_SIZE"),
        local_rank: Some("LOCAL_RANK"),
        outer: false,
    },
    Launcher {
        name: "SLURM",
        rank: "SLURM_PROCID",
        size: Some("SLURM_STEP_NUM_TASKS"),
        local_rank: Some("SLURM_LOCALID"),
        outer: true,
    },
    Launcher { name: "Kubernetes", rank: "JOB_COMPLETION_INDEX", size: None, local_rank: None, outer: true },
];

/// Every variable of the table: a process that is to train alone is started without them.
pub fn variables() -> impl Iterator<Item = &'static str> {
    LAUNCHERS.iter().flat_map(|launcher| [Some(launcher.rank), launcher.size, launcher.local_rank]).flatten()
}

/// Reads the table. `variable` looks a variable up; `None` is the answer where no launcher started this process.
///
/// # Errors
/// A variable that is no number, a rank outside its size, or two launchers that disagree, each by name.
pub fn place(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Place>, ExperimentError> {
    match asked(variable, false)? {
        Some(place) => Ok(Some(place)),
        None => asked(variable, true),
    }
}

fn asked(variable: &dyn Fn(&str) -> Option<String>, outer: bool) -> Result<Option<Place>, ExperimentError> {
    let mut found: Option<(Launcher, Place)> = None;
    for launcher in LAUNCHERS.into_iter().filter(|launcher| launcher.outer == outer) {
        // Before anything is read: one of the two alone is some other program's, whatever it says.
        let is_set = |name| variable(name).is_some();
        if !is_set(launcher.rank) || launcher.size.is_some_and(|size| !is_set(size)) {
            continue;
        }
        let rank = number(variable, launcher.rank)?;
        let Some(size_name) = launcher.size else {
            return Err(ExperimentError::request(format!(
                "{} = {rank}, but {} sets no number of ranks; set RANK and WORLD_SIZE, to 0 and 1 where every pod trains alone",
                launcher.rank, launcher.name
            )));
        };
        let size = number(variable, size_name)?;
        if rank >= size {
            return Err(ExperimentError::request(format!(
                "{} = {rank}, but {size_name} = {size}; a rank must be below the size",
                launcher.rank
            )));
        }
        let own = match launcher.local_rank {
            Some(name) if is_set(name) => Some(number(variable, name)?),
            _ => None,
        };
        let local_rank = own.or_else(|| of_another(variable, rank, size)).unwrap_or(rank);
        let place = Place { rank, size, local_rank };
        match found {
            Some((other, before)) if (before.rank, before.size) != (rank, size) => {
                return Err(ExperimentError::request(format!(
                    "{} says rank {} of {}, and {} says rank {rank} of {size}; unset the variables of one of them",
                    other.name, before.rank, before.size, launcher.name
                )));
            }
            Some(_) => {}
            None => found = Some((launcher, place)),
        }
    }
    Ok(found.map(|(_, place)| place))
}

/// The rank on its machine as a launcher says it that counts the same ranks: `srun --mpi=pmi2` sets MPICH's rank and size, and
/// SLURM's own variables.
fn of_another(variable: &dyn Fn(&str) -> Option<String>, rank: usize, size: usize) -> Option<usize> {
    let said = |name: &str| variable(name)?.trim().parse::<usize>().ok();
    LAUNCHERS.iter().find_map(|launcher| {
        let same = said(launcher.rank)? == rank && said(launcher.size?)? == size;
        if same { said(launcher.local_rank?) } else { None }
    })
}

fn number(variable: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<usize, ExperimentError> {
    let text = variable(name).unwrap_or_default();
    text.trim().parse().map_err(|_| {
        ExperimentError::request(format!(
            "{name} = {text:?}, but it must be a number; unset it or mend the launcher"
        ))
    })
}
