//! Splitting a batch over lanes, and adding up what they found in a fixed order.
//!
//! A lane is the buffers that one thread works with. Which thread runs a lane does not matter: a lane's rows
//! follow from the number of lanes alone, and the parts are added lane by lane, so that results repeat.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernels;

/// Numbers that a thread adds at a time.
const CHUNK: usize = 1 << 16;

/// The rows of lane `lane` where `rows` rows are split over `lanes` lanes, in order and as evenly as can be.
///
/// ```
/// use learning::lanes::rows_of;
///
/// let parts: Vec<_> = (0..3).map(|lane| rows_of(lane, 3, 10)).collect();
/// assert_eq!(parts, [0..3, 3..6, 6..10]);
/// ```
///
/// # Panics
/// Panics if there is no such lane.
#[inline]
pub fn rows_of(lane: usize, lanes: usize, rows: usize) -> Range<usize> {
    assert!(lane < lanes, "lane {lane} of {lanes}");
    lane * rows / lanes..(lane + 1) * rows / lanes
}

/// sum ← ((sum + first part) + second part) + …, element by element, on the current thread pool; no result depends
/// on how.
///
/// # Panics
/// Panics if a part has another length than `sum`.
pub fn add_in_order(sum: &mut [f32], parts: &[&[f32]]) {
    for part in parts {
        assert_eq!(part.len(), sum.len(), "a part of another length than the sum");
    }
    sum.par_chunks_mut(CHUNK).enumerate().for_each(|(index, sum)| {
        for part in parts {
            kernels::add_assign(sum, &part[index * CHUNK..][..sum.len()]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_lane() {
        for (lanes, rows) in [(1, 5), (3, 10), (4, 3), (7, 7), (5, 0)] {
            let mut next = 0;
            for lane in 0..lanes {
                let part = rows_of(lane, lanes, rows);
                assert_eq!(part.start, next, "{lanes} lanes, {rows} rows");
                next = part.end;
            }
            assert_eq!(next, rows);
        }
    }

    #[test]
    fn parts_are_added_one_after_another_whatever_the_threads() {
        let part = |salt: usize| -> Vec<f32> {
            (0..CHUNK + 100).map(|i| ((i * 7919 + salt * 31) % 997) as f32 * 1.0e-3).collect()
        };
        let (start, parts) = (part(1), [part(2), part(3), part(4)]);
        let expected: Vec<u32> = (0..start.len())
            .map(|i| parts.iter().fold(start[i], |sum, part| sum + part[i]).to_bits())
            .collect();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut sum = start.clone();
            let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
            pool.install(|| add_in_order(&mut sum, &parts));
            assert_eq!(sum.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), expected, "{threads} threads");
        }
    }
}
