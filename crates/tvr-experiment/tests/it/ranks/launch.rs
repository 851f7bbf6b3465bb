//! Launchers: which rank a process is, by the variables that whoever started it has set.

use tvr_experiment::collective::launch::{Place, place, variables};

fn launched(variables: &[(&str, &str)]) -> Result<Option<Place>, String> {
    let look =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
    place(&look).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    })
}

#[test]
fn every_launcher_says_rank_and_size() {
    let expected = Ok(Some(Place { rank: 5, size: 8, local_rank: 1 }));
    for names in [
        ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"],
        ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"],
        ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
        ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"],
    ] {
        assert_eq!(launched(&[(names[0], "5"), (names[1], "8"), (names[2], "1")]), expected, "{names:?}");
        assert_eq!(
            launched(&[(names[0], "5"), (names[1], "8")]),
            Ok(Some(Place { rank: 5, size: 8, local_rank: 5 }))
        );
    }
    assert_eq!(launched(&[]), Ok(None));
    assert_eq!(launched(&[("RANK", "1")]), Ok(None), "a rank without a size is some other program's");
    assert_eq!(launched(&[("RANK", "captain")]), Ok(None), "and may say anything");
    assert_eq!(launched(&[("WORLD_SIZE", "large")]), Ok(None));
    let batch = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8"), ("SLURM_LOCALID", "0")];
    assert_eq!(launched(&batch), Ok(None), "a script of sbatch is one process, whatever srun could start");
}

#[test]
fn a_process_without_the_variables_of_launchers_trains_alone() {
    let names: Vec<&str> = variables().collect();
    for name in ["OMPI_COMM_WORLD_RANK", "PMI_SIZE", "LOCAL_RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX"] {
        assert!(names.contains(&name), "{name}");
    }
    let look = |name: &str| (!names.contains(&name)).then(|| "3".to_string());
    assert_eq!(place(&look).unwrap(), None);
}

#[test]
fn a_launcher_inside_another_is_asked_alone() {
    let slurm = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "2")];
    let inner = [("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "4")];
    let found = launched(&[slurm, inner].concat()).unwrap().unwrap();
    assert_eq!((found.rank, found.size), (3, 4));
    let inner = [("JOB_COMPLETION_INDEX", "1"), ("RANK", "7"), ("WORLD_SIZE", "8")];
    let found = launched(&inner).unwrap().unwrap();
    assert_eq!((found.rank, found.size), (7, 8));
}

#[test]
fn a_rank_s_number_on_its_machine_is_taken_from_whoever_says_it_of_the_same_ranks() {
    // srun --mpi=pmi2 on the second machine of two.
    let pmi = [("PMI_RANK", "5"), ("PMI_SIZE", "8")];
    let slurm = [("SLURM_PROCID", "5"), ("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_LOCALID", "1")];
    let found = launched(&[&pmi[..], &slurm].concat()).unwrap().unwrap();
    assert_eq!(found, Place { rank: 5, size: 8, local_rank: 1 });
    // srun has started one mpiexec a machine, which has started this one.
    let outer = [("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_LOCALID", "0")];
    let found = launched(&[&pmi[..], &outer].concat()).unwrap().unwrap();
    assert_eq!(found, Place { rank: 5, size: 8, local_rank: 5 });
}

#[test]
fn launchers_that_disagree_and_variables_that_make_no_sense_are_refused() {
    let both =
        [("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "4"), ("RANK", "0"), ("WORLD_SIZE", "4")];
    assert_eq!(
        launched(&both).unwrap_err(),
        "Open MPI says rank 3 of 4, and torchrun says rank 0 of 4; unset the variables of one of them"
    );
    assert_eq!(
        launched(&[("RANK", "4"), ("WORLD_SIZE", "4")]).unwrap_err(),
        "RANK = 4, but WORLD_SIZE = 4; a rank must be below the size"
    );
    assert_eq!(
        launched(&[("PMI_RANK", "x"), ("PMI_SIZE", "4")]).unwrap_err(),
        "PMI_RANK = \"x\", but it must be a number; unset it or mend the launcher"
    );
    for (name, value) in [("RANK", "-1"), ("WORLD_SIZE", ""), ("LOCAL_RANK", "gpu0")] {
        let mut all = [("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")];
        all.iter_mut().filter(|(known, _)| *known == name).for_each(|variable| variable.1 = value);
        let sentence = format!("{name} = {value:?}, but it must be a number; unset it or mend the launcher");
        assert_eq!(launched(&all).unwrap_err(), sentence);
    }
    assert_eq!(
        launched(&[("JOB_COMPLETION_INDEX", "2")]).unwrap_err(),
        "JOB_COMPLETION_INDEX = 2, but Kubernetes sets no number of ranks; set RANK and WORLD_SIZE, to 0 and 1 where every pod trains alone"
    );
}
