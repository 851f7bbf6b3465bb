//! Gradients that devices add up among themselves: as the host's, and a device that hangs or cannot is told of.
//!
//! Two parts of the processor stand in for devices, and add up through a table between them; CUDA devices do it
//! themselves where there are any.

use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_experiment::collective::{Add, Collective, sum_gradients, threads};
use tvr_experiment::step::{Way, gradients};
use tvr_experiment::{Event, device};
use tvr_heads::MeanPoolingConfig;
use tvr_objectives::SymmetricConfig;

use crate::step::{batch, corpus, flat};

#[path = "../../src/device/guard.rs"]
mod guard;
#[path = "../../src/device/together.rs"]
mod together;

fn patient() -> Duration {
    Duration::from_secs(60)
}

/// Two threads lay their rows on a table, and each takes the sum.
fn table() -> Add {
    let (rows, full) = (Mutex::new(Vec::new()), Barrier::new(2));
    Arc::new(move |own: Tensor<1>| {
        rows.lock().unwrap().push(own);
        full.wait();
        let sum = {
            let rows = rows.lock().unwrap();
            rows[0].clone() + rows[1].clone()
        };
        if full.wait().is_leader() {
            rows.lock().unwrap().clear();
        }
        full.wait();
        sum
    })
}

/// More than a bucket of numbers; `lonely` has a gradient on the last rank alone, `idle` has none anywhere.
#[derive(Module, Debug)]
struct Parameters {
    first: Param<Tensor<1>>,
    large: Param<Tensor<2>>,
    idle: Param<Tensor<1>>,
    larger: Param<Tensor<2>>,
    lonely: Param<Tensor<3>>,
}

fn parameters(device: &Device) -> Parameters {
    let matrix = |rows| Param::from_tensor(Tensor::ones([rows, 3000], device));
    Parameters {
        first: Param::from_tensor(Tensor::ones([7], device)),
        large: matrix(2500),
        idle: Param::from_tensor(Tensor::ones([4], device)),
        larger: matrix(3200),
        lonely: Param::from_tensor(Tensor::ones([2, 3, 5], device)),
    }
}

/// What a rank has found for its parameters.
fn found(model: &Parameters, rank: usize, of: usize) -> GradientsParams {
    struct Found<'a>(&'a Parameters, usize, bool, GradientsParams);
    impl ModuleVisitor for Found<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if parameter.id == self.0.idle.id || parameter.id == self.0.lonely.id && !self.2 {
                return;
            }
            let value = parameter.val().inner();
            let count = value.shape().num_elements();
            // Waves with another length on every rank.
            let turn = 0.3 + 0.1 * self.1 as f32;
            let numbers = (0..count).map(|place| (turn * (place % 9973) as f32).sin()).collect::<Vec<f32>>();
            let data = TensorData::new(numbers, value.shape());
            self.3.register(parameter.id, Tensor::<D>::from_data(data, &value.device()));
        }
    }
    let mut found = Found(model, rank, rank + 1 == of, GradientsParams::new());
    model.visit(&mut found);
    found.3
}

/// The sum over ranks as rank 0 sees it, all numbers and how many parameters have one.
fn sum(devices: &[Device], add: Option<Add>) -> (Vec<f32>, usize) {
    let model = parameters(&devices[0].clone().autodiff());
    let forks = devices.iter().map(|device| model.clone().fork(&device.clone().autodiff())).collect();
    threads::run(forks, add, patient(), &mut |_| (), |ranks, model: Parameters, _| {
        let own = found(&model, ranks.rank(), ranks.size());
        let (sum, broken) = sum_gradients(ranks, &model, own)?;
        assert_eq!(broken, None);
        Ok((flat(&model, &sum), sum.len()))
    })
    .unwrap()
}

#[test]
fn devices_that_add_up_among_themselves_give_what_the_host_gives() {
    let _alone = crate::run::generator();
    let two = vec![Device::flex(); 2];
    let (expected, count) = sum(&two, None);
    let (found, same) = sum(&two, Some(table()));
    assert!(found == expected, "two numbers have one sum");
    assert_eq!((count, same), (4, 4));
}

#[test]
fn a_step_has_the_same_gradient_whoever_adds_up() {
    let _alone = crate::run::generator();
    let training = Device::flex().autodiff();
    let head = MeanPoolingConfig::reference().init(8, &training).unwrap();
    let model = crate::step::model(head, SymmetricConfig::ours().init().unwrap(), 0.0, &training);
    let step = |add, broken: Option<usize>| {
        let forks = (0..2).map(|_| model.clone().fork(&training)).collect();
        threads::run(forks, add, patient(), &mut |_| (), |ranks, mut model, _| {
            if broken == Some(ranks.rank()) {
                model.logit_scale = Param::from_data([f32::NAN], &training);
            }
            let way = Way { ranks, chunk: 2, device: &Device::flex(), random: 5, draws: true };
            let (sum, judged, _) = gradients(&model, &corpus(6), &batch(), &way)?;
            Ok((flat(&model, &sum), judged.loss, judged.broken))
        })
        .unwrap()
    };
    let (expected, loss, broken) = step(None, None);
    assert!(expected.iter().any(|number| number.abs() > 1e-3), "the gradient is nothing");
    assert_eq!(step(Some(table()), None), (expected, loss, broken));
    assert_eq!(broken, None);
    assert_eq!(step(Some(table()), Some(1)).2, Some(1));
}

#[test]
fn a_rank_whose_gradients_are_not_finite_is_named() {
    let model = parameters(&Device::flex().autodiff());
    for add in [None, Some(table())] {
        let broken = threads::run(vec![0, 1], add, patient(), &mut |_| (), |ranks, rank, _| {
            let mut own = GradientsParams::new();
            let number = if rank == 1 { f32::INFINITY } else { 1.0 };
            own.register(model.first.id, Tensor::<1>::full([7], number, &Device::flex()));
            Ok(sum_gradients(ranks, &model, own)?.1)
        });
        assert_eq!(broken.unwrap(), Some(1));
    }
}

#[test]
fn ranks_with_models_of_other_sizes_do_not_wait_for_each_other() {
    let training = Device::flex().autodiff();
    let sizes = vec![3, 4];
    let error = threads::run(sizes, Some(table()), patient(), &mut |_| (), |ranks, size: usize, _| {
        let model = Param::from_tensor(Tensor::<1>::ones([size], &training));
        sum_gradients(ranks, &model, GradientsParams::new()).map(|_| ())
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "the gradients: the ranks hold models of different sizes");
}

#[test]
fn devices_that_hang_are_told_of() {
    let began = Instant::now();
    let mut stuck = None;
    let mut listen = |event| {
        if let Event::Stuck(reason) = event {
            stuck = Some((reason, began.elapsed()));
        }
    };
    let hangs: Add = Arc::new(|own| {
        std::thread::sleep(Duration::from_millis(1500));
        own
    });
    let model = parameters(&Device::flex().autodiff());
    let patience = Duration::from_millis(200);
    let error = threads::run(vec![(); 2], Some(hangs), patience, &mut listen, |ranks, (), _| {
        let mut own = GradientsParams::new();
        own.register(model.first.id, Tensor::<1>::ones([7], &Device::flex()));
        sum_gradients(ranks, &model, own).map(|_| ())
    })
    .unwrap_err();
    let (reason, after) = stuck.unwrap();
    assert_eq!(reason, error.to_string());
    let sentence = "rank 0 of 2: its device did not add up rows with the others within 0.2 s; it hangs";
    assert!(reason.starts_with(sentence), "{reason}");
    assert!(after < Duration::from_millis(1000), "{after:?}");
}

#[test]
fn what_devices_cannot_add_up_is_one_sentence_before_the_run() {
    let two = vec![Device::flex(); 2];
    assert_eq!(together::add_up(&two, &table(), patient()), Ok(()));

    let missing: Add = Arc::new(|_| panic!("no transport between its devices"));
    let word = together::add_up(&two, &missing, patient()).unwrap_err();
    assert!(word.starts_with("no transport between its devices; NCCL must be found as libnccl.so"), "{word}");
    assert_eq!(word.lines().count(), 1);

    let alone: Add = Arc::new(|own| own);
    let word = together::add_up(&two, &alone, patient()).unwrap_err();
    assert_eq!(word, "they add up [1.0, 2.0] where it is [2.0, 4.0]; look at driver and NCCL");

    let hangs: Add = Arc::new(|own| {
        std::thread::sleep(Duration::from_millis(500));
        own
    });
    let word = together::add_up(&two, &hangs, Duration::from_millis(50)).unwrap_err();
    assert!(word.starts_with("they do not answer each other within 0.05 s; "), "{word}");
}

#[test]
fn the_processor_lets_the_host_add_up() {
    assert!(device::adder(&vec![Device::flex(); 2], patient()).unwrap().is_none());
}

/// One device is a world of one to NCCL: library, communicator, streams and our rows are the same, but nothing is added.
#[test]
fn cuda_devices_add_up_what_the_host_adds_up() {
    let _alone = crate::run::generator();
    if !device::features().contains(&"cuda") {
        println!("skipped: the feature cuda is not compiled in");
        return;
    }
    let mut devices = Vec::new();
    loop {
        match device::open(&format!("cuda:{}", devices.len())) {
            Ok(device) => devices.push(device),
            Err(reason) if devices.is_empty() => {
                println!("skipped: {reason}");
                return;
            }
            Err(_) => break,
        }
    }
    let count = devices.len();
    let add = match device::adder(&devices, patient()) {
        Ok(add) => add.unwrap(),
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("libnccl.so"), "{said}");
            assert_eq!((said.lines().count(), error.exit_code()), (1, 1), "{said}");
            println!("skipped, {count} CUDA devices: {said}");
            return;
        }
    };
    let (expected, wanted) = sum(&devices, None);
    let (found, same) = sum(&devices, Some(add));
    assert_eq!(same, wanted);
    let pairs = found.iter().zip(&expected);
    let gaps = pairs.map(|(a, b)| (a - b).abs());
    let apart = gaps.fold(0.0, |most: f32, gap| if gap <= most { most } else { gap }); // NaN is the largest
    // Each number is at most as many as there are devices.
    assert!(apart <= 1e-6 * count as f32, "{count} devices: {apart} off");
    println!("{count} CUDA devices took part, {} numbers, {apart} off", found.len());
}
