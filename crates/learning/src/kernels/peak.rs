//! How fast a processor multiplies: the ceiling to compare a training step with.

use std::time::Instant;

use super::{Matrix, Write, matmul};

/// Operations of a try, on each thread.
const OPERATIONS: usize = 10_000_000_000;

/// GFLOP/s of a layer's product on each of `threads` threads at once, all of them together: the best of five tries.
///
/// # Shapes
/// `[rows, inputs, outputs]`: (rows, inputs) times the transpose of (outputs, inputs).
pub fn peak_gflops(threads: usize, [rows, inputs, outputs]: [usize; 3]) -> f64 {
    let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect() };
    let (input, weight) = (values(rows * inputs), values(outputs * inputs));
    let product = 2 * rows * inputs * outputs;
    let times = OPERATIONS.div_ceil(product);
    let work = || {
        let mut output = vec![0.0; rows * outputs];
        for _ in 0..times {
            let (a, b) = (Matrix::new(&input, rows, inputs), Matrix::new(&weight, outputs, inputs));
            matmul(&mut output, a, b.t(), Write::Set);
        }
        std::hint::black_box(&output);
    };
    let tries = (0..5).map(|_| {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        (threads * times * product) as f64 / began.elapsed().as_secs_f64() / 1e9
    });
    tries.fold(0.0, f64::max)
}
