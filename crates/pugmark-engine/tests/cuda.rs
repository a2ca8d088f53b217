//! What only a GPU has: memory of its own.

mod common;

use common::{emulated, every_operator, input_spec, spec};
use pugmark_cuda::{DeviceError, Emulator};
use pugmark_engine::{Cuda, Engine, EngineError, Precision, TrainingSpec};
use pugmark_graph::Architecture;

/// A plan takes the bytes that it was said to take: what is left out, vectors of a class or an image, is less than a hundredth.
#[test]
fn plans_take_the_memory_they_are_said_to() {
    let Some(cuda) = emulated() else { return };
    let graph = Architecture::ResNet18.graph(5);
    let tensors = graph.initialise(1);
    let input = input_spec(4, 64, 64);
    for precision in [Precision::F32, Precision::Bf16] {
        let cuda = cuda.clone().with_precision(precision);
        let free = || cuda.free_memory().unwrap() as f64;
        let before = free();
        let plan = cuda.inference(&graph, &tensors, &input, &[]).unwrap();
        let (taken, said) = (before - free(), cuda.inference_bytes(&graph, &input).unwrap() as f64);
        assert!((taken / said - 1.0).abs() < 0.01, "{precision:?}: {taken} bytes, {said} said");
        drop(plan);
        assert_eq!(free(), before);
        let spec = TrainingSpec { average: 0.9, ..spec() };
        let plan = cuda.training(&graph, &tensors, &input, &spec).unwrap();
        let (taken, said) = (before - free(), cuda.training_bytes(&graph, &input, &spec).unwrap() as f64);
        // The sums of several batches' gradients are taken when there are some.
        let sums = graph.params().iter().filter(|p| p.role.is_trained()).map(|p| 4 * p.len()).sum::<usize>();
        assert!(
            ((taken + sums as f64) / said - 1.0).abs() < 0.01,
            "{precision:?}: {taken} bytes, {said} said"
        );
        drop(plan);
        assert_eq!(free(), before);
    }
}

#[test]
fn a_plan_that_does_not_fit_says_so() {
    if !Emulator::is_possible() {
        return;
    }
    let cuda = Cuda::new(Emulator::new().unwrap().with_memory(10_000));
    let graph = every_operator(3);
    let Err(EngineError::Device(error)) =
        cuda.training(&graph, &graph.initialise(1), &input_spec(4, 10, 12), &spec())
    else {
        panic!("it fits");
    };
    assert!(matches!(error, DeviceError::Memory { total: 10_000, .. }), "{error}");
    assert!(error.to_string().contains("do not fit the memory of emulated GPU"), "{error}");
    assert_eq!(cuda.free_memory(), Some(10_000));
}
