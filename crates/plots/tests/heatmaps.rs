//! What heatmaps must show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use plots::{Heatmap, Image, PlotError};
use proptest::prelude::*;

fn heatmap(values: &[&[f64]], range: Option<(f64, f64)>) -> Heatmap {
    Heatmap {
        title: "title".into(),
        subtitle: String::new(),
        x_label: "x".into(),
        y_label: "y".into(),
        columns: names(values.first().map_or(0, |row| row.len())),
        rows: names(values.len()),
        values: values.iter().map(|row| row.to_vec()).collect(),
        range,
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("name {index}")).collect()
}

/// The colour of each cell of a row of two or more cells, at a place where no number is written.
fn tints(values: &[f64], range: Option<(f64, f64)>) -> Vec<[u8; 3]> {
    let image = heatmap(&[values], range).draw().unwrap();
    let frame = [150, 154, 160];
    let pixel = |x: usize, y: usize| -> [u8; 3] {
        let at = 3 * (y * image.width as usize + x);
        image.pixels[at..at + 3].try_into().unwrap()
    };
    // the frame of the cells is the first thing on the way down that is as wide
    let row = (0..image.height as usize)
        .find(|&y| (0..image.width as usize).filter(|&x| pixel(x, y) == frame).count() > 200)
        .unwrap();
    let mut columns = (0..image.width as usize).filter(|&x| pixel(x, row) == frame);
    let left = columns.next().unwrap();
    let mut right = left;
    while columns.next().is_some_and(|x| x == right + 1) {
        right += 1;
    }
    let width = (right - left) as f64 / values.len() as f64;
    (0..values.len()).map(|i| pixel(left + ((i as f64 + 0.5) * width) as usize, row + 6)).collect()
}

fn brightness(colour: [u8; 3]) -> u32 {
    colour.iter().map(|byte| u32::from(*byte)).sum()
}

#[test]
fn larger_values_are_darker() {
    let found = tints(&[-2.0, 0.0, 1.0, 5.0], None);
    assert!(found.windows(2).all(|pair| brightness(pair[0]) > brightness(pair[1]) + 20), "{found:?}");
    assert!(brightness(found[0]) > 700 && brightness(found[3]) < 150);
}

#[test]
fn tints_follow_the_range_and_stop_at_its_ends() {
    let found = tints(&[-1.0, 0.0, 0.5, 1.0, 9.0], Some((0.0, 1.0)));
    assert_eq!((found[0], found[3]), (found[1], found[4]));
    assert_eq!(tints(&[0.0, 5.0, 10.0], None)[1], found[2]);
    assert_ne!(tints(&[0.5, 0.5], Some((0.0, 1.0)))[0], tints(&[0.5, 0.5], Some((0.0, 10.0)))[0]);
}

#[test]
fn values_all_alike_have_the_middle_tint() {
    for value in [0.0, 3.2e-5, -7.0, 1e300] {
        assert_eq!(tints(&[value; 2], None)[0], tints(&[0.5; 2], Some((0.0, 1.0)))[0]);
    }
}

#[test]
fn a_cell_without_a_number_is_grey_and_empty() {
    assert_eq!(tints(&[0.0, f64::NAN, f64::INFINITY, 1.0], None)[1..3], [[214; 3]; 2]);
    let grey = |image: &Image| image.pixels.chunks_exact(3).filter(|pixel| *pixel == [214; 3]).count();
    let size = |values: &[f64]| grey(&heatmap(&[values], None).draw().unwrap());
    // a written number would hide some of the grey
    assert!(size(&[f64::NAN; 4]).abs_diff(4 * size(&[f64::NAN, 0.1, 0.2, 0.3])) < 400);
}

#[test]
fn numbers_are_written_so_that_they_can_be_read() {
    let count = |value: f64, colour: [u8; 3]| {
        let image = heatmap(&[&[value; 5][..]; 5], Some((0.0, 1.0))).draw().unwrap();
        image.pixels.chunks_exact(3).filter(|pixel| *pixel == colour).count()
    };
    let (dark, white) = ([28, 30, 33], [255; 3]);
    assert!(count(0.05, dark) > count(0.95, dark) + 500, "dark letters on light cells");
    assert!(count(0.95, white) > count(0.05, white) + 500, "white letters on dark cells");
    let one = heatmap(&[&[0.11, 0.2]], Some((0.0, 1.0))).draw().unwrap();
    assert_ne!(one, heatmap(&[&[0.12, 0.2]], Some((0.0, 1.0))).draw().unwrap());
}

#[test]
fn the_size_grows_with_the_cells_and_nothing_is_cut() {
    let draw = |rows: usize, columns: usize| {
        let row = vec![-0.25; columns];
        heatmap(&vec![&row[..]; rows], Some((0.0, 1.0))).draw().unwrap()
    };
    assert_eq!(draw(3, 3).width, 1200);
    assert!(draw(20, 3).height > draw(10, 3).height);
    assert!(draw(2, 60).width > 1200);
    for image in [draw(1, 1), draw(20, 20), draw(2, 60)] {
        let width = 3 * image.width as usize;
        let white = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 255);
        assert!(image.pixels.chunks_exact(width).all(|row| white(&row[..36]) && white(&row[width - 36..])));
        assert!(white(&image.pixels[image.pixels.len() - 12 * width..]));
    }
    assert_eq!(draw(4, 4), draw(4, 4));
}

#[test]
fn data_that_does_not_fit_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Heatmap)| {
        let mut map = heatmap(&[&[0.1, 0.2], &[0.3, 0.4]], None);
        change(&mut map);
        map.draw().unwrap_err().to_string()
    };
    let text = "row `name 1` of heatmap `title` has 1 values where 2 are needed; give one value for each";
    assert_eq!(refused(&|map| _ = map.values[1].pop()), text);
    assert!(refused(&|map| _ = map.values.pop()).starts_with("`values` of heatmap `title` has 1 values"));
    assert!(refused(&|map| map.columns.clear()).contains("give it at least one column"));
    assert!(refused(&|map| map.rows.clear()).contains("give it at least one row"));
    for range in [(1.0, 0.0), (0.0, f64::NAN), (0.5, 0.5)] {
        assert!(refused(&|map| map.range = Some(range)).starts_with("the range of heatmap `title`"));
    }
    let row = vec![0.123; 1000];
    let many = heatmap(&vec![&row[..]; 1000], None);
    assert!(matches!(many.draw(), Err(PlotError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_numbers_draw_or_are_refused(
        columns in 1..7_usize,
        rows in 1..5_usize,
        numbers in prop::collection::vec(
            prop_oneof![
                3 => -10.0..10.0,
                1 => prop::num::f64::ANY,
                1 => prop::sample::select(vec![0.0, -0.0, 1e300, -1e300, f64::MAX, 5e-324, f64::NAN]),
            ],
            35,
        ),
        ranged in any::<bool>(),
        names in prop::collection::vec(".{0,30}", 7),
    ) {
        let map = Heatmap {
            title: names.concat(),
            subtitle: names[0].clone(),
            x_label: names[1].clone(),
            y_label: names[2].clone(),
            columns: names[..columns].to_vec(),
            rows: names[..rows].to_vec(),
            values: numbers.chunks(columns).take(rows).map(<[f64]>::to_vec).collect(),
            range: ranged.then_some((numbers[33], numbers[34])),
        };
        match map.draw() {
            Ok(image) => prop_assert_eq!(image.pixels.len(), 3 * (image.width * image.height) as usize),
            Err(error) => prop_assert!(matches!(error, PlotError::OutOfRange { .. }), "{error}"),
        }
    }
}
