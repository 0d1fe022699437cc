//! Parameters in parts, of which a step moves some and leaves the others as they are.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::LearningError;

/// Which part of a parameter each of its channels along one dimension belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The dimension.
    pub dim: usize,
    /// The part of each channel, counted from 0: as many as the dimension is long.
    pub parts: Vec<usize>,
}

impl Partition {
    /// The elements of a parameter of that shape that lie side by side and are of one part, with that part: all
    /// elements, in their order. Nothing where the shape has not as many channels in that dimension.
    pub fn runs(&self, shape: &[usize]) -> Option<Vec<(Range<usize>, usize)>> {
        let Self { dim, parts } = self;
        if shape.get(*dim) != Some(&parts.len()) {
            return None;
        }
        let inner: usize = shape[dim + 1..].iter().product();
        let outer: usize = shape[..*dim].iter().product();
        let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
        for (index, part) in (0..outer).flat_map(|_| parts).enumerate() {
            let range = index * inner..(index + 1) * inner;
            match runs.last_mut() {
                Some((last, of)) if of == part => last.end = range.end,
                _ => runs.push((range, *part)),
            }
        }
        Some(runs)
    }
}

/// For parameters by name, whether a step moves each of their parts; one without a partition has one part.
/// A parameter that is not named moves as a whole.
pub type Moves = BTreeMap<String, Vec<bool>>;

/// A partition of a parameter's elements.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub count: usize,
    /// Elements that lie side by side and are of one part, with that part; in their order, of all elements.
    pub runs: Vec<(Range<usize>, usize)>,
}

impl Parts {
    /// One part with all elements.
    pub(super) fn whole(elements: usize) -> Self {
        Self { count: 1, runs: vec![(0..elements, 0)] }
    }

    /// The parts of a parameter of this shape.
    pub(super) fn new(partition: &Partition, shape: &[usize], name: &str) -> Result<Self, LearningError> {
        let Partition { dim, parts } = partition;
        let Some(runs) = partition.runs(shape) else {
            let (expected, found) = (shape.to_vec(), vec![*dim, parts.len()]);
            return Err(LearningError::Partition { name: name.to_owned(), expected, found });
        };
        Ok(Self { count: parts.iter().max().map_or(0, |last| last + 1), runs })
    }
}

/// Whether a step moves a part of a parameter.
pub(super) fn moved(moves: &Moves, name: &str, part: usize) -> bool {
    moves.get(name).and_then(|moves| moves.get(part)).copied().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::{Adam, AdamConfig, Parameters, WeightDecay};

    fn partition(dim: usize, parts: &[usize]) -> Partition {
        Partition { dim, parts: parts.to_vec() }
    }

    #[test]
    fn neighbours_of_one_part_are_one_run() {
        let runs = |dim, parts: &[usize], shape: &[usize]| {
            let parts = Parts::new(&partition(dim, parts), shape, "w").unwrap();
            parts.runs.into_iter().map(|(run, part)| (run.start, run.end, part)).collect::<Vec<_>>()
        };
        assert_eq!(runs(0, &[0, 0, 1], &[3, 2]), [(0, 4, 0), (4, 6, 1)]);
        // the last channel of a row and the first of the next are of other parts
        assert_eq!(runs(1, &[0, 1], &[2, 2]), [(0, 1, 0), (1, 2, 1), (2, 3, 0), (3, 4, 1)]);
        assert_eq!(runs(1, &[1, 1], &[2, 2]), [(0, 4, 1)]);
        let error = Parts::new(&partition(1, &[0, 1, 1]), &[2, 2], "w").unwrap_err().to_string();
        assert_eq!(
            error,
            "the partition of w is of dimension 1, with 3 channels; the parameter has the shape [2, 2]"
        );
    }

    /// Two parameters: `w` with a column of another part, and `b`.
    fn optimised() -> (Parameters, Adam) {
        let mut parameters = Parameters::default();
        let w = Tensor::new(&[[0.5f32, -1.0, 2.0], [1.5, 0.25, -0.75]], &Device::Cpu).unwrap();
        parameters.insert("b", &Tensor::new(&[1f32, -1.0], &Device::Cpu).unwrap()).unwrap();
        parameters.insert("w", &w).unwrap();
        let config = AdamConfig { weight_decay: WeightDecay::Decoupled(0.1), ..AdamConfig::default() };
        let partitions = BTreeMap::from([("w".to_owned(), partition(1, &[0, 1, 0]))]);
        let adam = Adam::with_partitions(&parameters, config, &partitions).unwrap();
        (parameters, adam)
    }

    fn bits(parameters: &Parameters, adam: &Adam, kind: &str) -> Vec<u32> {
        let values = match kind {
            "weights" => parameters.get("w").unwrap().as_detached_tensor(),
            moment => adam.state().unwrap()[&format!("{moment}.w")].clone(),
        };
        values.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_part_that_does_not_move_keeps_its_bits_under_decay_and_moments() {
        let (parameters, mut adam) = optimised();
        let gradients = vec![vec![1.0, 2.0], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]];
        // so that there are moments that would move it
        adam.step_slices(&gradients, 1.0, 0.1).unwrap();
        let before: Vec<_> =
            ["weights", "first", "second"].map(|kind| bits(&parameters, &adam, kind)).to_vec();
        let moves = Moves::from([("w".to_owned(), vec![false, true]), ("b".to_owned(), vec![false])]);
        let b = parameters.get("b").unwrap().to_vec1::<f32>().unwrap();
        adam.step_parts(&gradients, 1.0, 0.1, &moves).unwrap();
        for (kind, before) in ["weights", "first", "second"].into_iter().zip(before) {
            let after = bits(&parameters, &adam, kind);
            let same: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a == b).collect();
            assert_eq!(same, [true, false, true, true, false, true], "{kind}");
        }
        assert_eq!(parameters.get("b").unwrap().to_vec1::<f32>().unwrap(), b);
        let steps = |name: &str| adam.state().unwrap()[&format!("steps.{name}")].to_vec1::<i64>().unwrap();
        assert_eq!((steps("w"), steps("b")), (vec![1, 2], vec![1]));
    }

    #[test]
    fn parts_that_move_make_the_step_of_parameters_of_their_own() {
        let (parameters, mut adam) = optimised();
        let mut alone = Parameters::default();
        alone.insert("w", &Tensor::new(&[-1f32, 0.25], &Device::Cpu).unwrap()).unwrap();
        let config = AdamConfig { weight_decay: WeightDecay::Decoupled(0.1), ..AdamConfig::default() };
        let mut other = Adam::new(&alone, config).unwrap();
        let moves = |own: bool| Moves::from([("w".to_owned(), vec![!own, own])]);
        let gradients = vec![vec![0.0; 2], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]];
        for step in 0..6 {
            let own = step % 2 == 0;
            adam.step_parts(&gradients, 0.5, 0.1, &moves(own)).unwrap();
            if own {
                other.step_slices(&[vec![0.2, 0.5]], 0.5, 0.1).unwrap();
            }
        }
        let whole = parameters.get("w").unwrap().to_vec2::<f32>().unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&[whole[0][1], whole[1][1]]), bits(&alone.to_flat_vec().unwrap()));
    }

    #[test]
    fn what_does_not_move_has_no_part_in_the_norm_and_a_saved_state_goes_on() {
        let (parameters, mut adam) = optimised();
        let mut gradients = vec![vec![1.0, 2.0], vec![1.0; 6]];
        adam.zero_unmoved(&mut gradients, &Moves::from([("w".to_owned(), vec![false, true])]));
        assert_eq!(gradients, [vec![1.0, 2.0], vec![0.0, 1.0, 0.0, 0.0, 1.0, 0.0]]);
        adam.step_parts(&gradients, 1.0, 0.1, &Moves::from([("w".to_owned(), vec![false, true])])).unwrap();
        let (state, values) = (adam.state().unwrap(), parameters.snapshot().unwrap());
        adam.step_slices(&gradients, 1.0, 0.1).unwrap();
        let (again, mut resumed) = optimised();
        again.load(&values, "checkpoint").unwrap();
        resumed.load_state(&state, "checkpoint").unwrap();
        resumed.step_slices(&gradients, 1.0, 0.1).unwrap();
        assert_eq!(again.to_flat_vec().unwrap(), parameters.to_flat_vec().unwrap());
        // one count for each part
        let mut other = state;
        other.insert("steps.w".to_owned(), Tensor::new(&[1i64], &Device::Cpu).unwrap());
        let error = resumed.load_state(&other, "checkpoint").unwrap_err().to_string();
        assert!(error.contains("steps.w in shape [1], the model needs [2]"), "{error}");
        let error = resumed.step(&candle_core::backprop::GradStore::default(), 0.1).unwrap_err().to_string();
        assert_eq!(error, "w has 2 parts: it moves by step_parts");
    }
}
