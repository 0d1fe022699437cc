//! Where labels go so that they cover neither each other nor what they name.

use crate::canvas::Rect;

/// Moves blocks apart along a line, each as little as it takes: blocks that would touch form a group around
/// the mean of their wishes. `wishes` are centres and heights; the centres come back in the same order.
///
/// Blocks that do not fit between `low` and `high` together run over the end.
pub(crate) fn spread(wishes: &[(f64, f64)], low: f64, high: f64) -> Vec<f64> {
    struct Group {
        members: usize,
        height: f64,
        /// Sum over the members of where the group's upper edge would be if it were up to the member alone.
        edges: f64,
    }
    impl Group {
        fn top(&self, low: f64, high: f64) -> f64 {
            (self.edges / self.members as f64).min(high - self.height).max(low)
        }
    }
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by(|a, b| wishes[*a].0.total_cmp(&wishes[*b].0));
    let mut groups: Vec<Group> = Vec::new();
    for &index in &order {
        let (centre, height) = wishes[index];
        groups.push(Group { members: 1, height, edges: centre - height / 2.0 });
        while let [.., upper, lower] = &mut groups[..] {
            if upper.top(low, high) + upper.height <= lower.top(low, high) {
                break;
            }
            upper.edges += lower.edges - lower.members as f64 * upper.height;
            upper.members += lower.members;
            upper.height += lower.height;
            groups.pop();
        }
    }
    let mut centres = vec![0.0; wishes.len()];
    let mut members = order.into_iter();
    for group in &groups {
        let mut top = group.top(low, high);
        for index in members.by_ref().take(group.members) {
            let height = wishes[index].1;
            centres[index] = top + height / 2.0;
            top += height;
        }
    }
    centres
}

/// The place for a label on a horizontal line at height `y`: above or below it and anywhere along it, where
/// the fewest `points` (of curves) lie under it, and as far as possible not on `taken` ground nor outside
/// `bounds`. Of equally good places the first from the left, above the line, is taken. True beside it where no point
/// lies under it.
pub(crate) fn place_on_line(
    (width, height): (f64, f64),
    y: f64,
    bounds: &Rect,
    taken: &[Rect],
    points: &[(f64, f64)],
) -> (Rect, bool) {
    const GAP: f64 = 5.0;
    const STEP: f64 = 12.0;
    let steps = ((bounds.width() - width).max(0.0) / STEP) as usize;
    let tops = [y - GAP - height, y + GAP];
    let candidates = (0..=steps).flat_map(|step| {
        let left = bounds.left + step as f64 * STEP;
        tops.map(|top| Rect { left, top, right: left + width, bottom: top + height })
    });
    let cost = |place: &Rect| {
        let outside = usize::from(place.top < bounds.top || place.bottom > bounds.bottom);
        let collisions = taken.iter().filter(|other| place.overlaps(other)).count();
        let room = place.grown(3.0);
        let covered = points
            .iter()
            .filter(|(x, y)| (room.left..room.right).contains(x) && (room.top..room.bottom).contains(y))
            .count();
        (outside + collisions, covered, place.top > y)
    };
    let fallback = Rect { left: bounds.left, top: tops[0], right: bounds.left + width, bottom: y - GAP };
    let best = candidates.min_by_key(cost).unwrap_or(fallback);
    (best, cost(&best).1 == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_apart_stay_and_blocks_together_share_the_way() {
        let near = |found: &[f64], expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        };
        near(&spread(&[(80.0, 10.0), (20.0, 10.0)], 0.0, 100.0), &[80.0, 20.0]);
        near(&spread(&[(50.0, 10.0), (50.0, 10.0)], 0.0, 100.0), &[45.0, 55.0]);
        near(&spread(&[(98.0, 10.0), (97.0, 20.0)], 0.0, 100.0), &[95.0, 80.0]);
    }

    proptest! {
        #[test]
        fn blocks_that_fit_are_in_bounds_in_order_and_apart(
            wishes in prop::collection::vec((-50.0..150.0_f64, 1.0..9.0_f64), 0..11)
        ) {
            let centres = spread(&wishes, 0.0, 100.0);
            let mut blocks: Vec<(f64, f64, f64)> =
                wishes.iter().zip(&centres).map(|((wish, height), centre)| (*centre, *height, *wish)).collect();
            blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (centre, height, _) in &blocks {
                prop_assert!(centre - height / 2.0 >= -1e-9 && centre + height / 2.0 <= 100.0 + 1e-9);
            }
            for pair in blocks.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 / 2.0 <= pair[1].0 - pair[1].1 / 2.0 + 1e-9);
                prop_assert!(pair[0].2 <= pair[1].2);
            }
        }
    }

    #[test]
    fn a_label_keeps_off_curves_edges_and_other_labels() {
        let bounds = Rect { left: 0.0, top: 0.0, right: 400.0, bottom: 300.0 };
        let size = (100.0, 20.0);
        let (free, _) = place_on_line(size, 150.0, &bounds, &[], &[]);
        assert_eq!(free, Rect { left: 0.0, top: 125.0, right: 100.0, bottom: 145.0 });
        let (below_the_top, _) = place_on_line(size, 10.0, &bounds, &[], &[]);
        assert!(below_the_top.top > 10.0);
        let (beside_the_label, _) = place_on_line(size, 150.0, &bounds, &[free], &[]);
        assert!(!beside_the_label.overlaps(&free));
        let curve: Vec<(f64, f64)> =
            (0..200).map(|x| (f64::from(x), 150.0 + f64::from(x % 40) - 20.0)).collect();
        let (right_of_the_curve, clear) = place_on_line(size, 150.0, &bounds, &[], &curve);
        assert!(clear && right_of_the_curve.left >= 180.0);
        let everywhere: Vec<(f64, f64)> = curve.iter().map(|(x, y)| (2.0 * x, *y)).collect();
        assert!(!place_on_line(size, 150.0, &bounds, &[], &everywhere).1);
    }
}
