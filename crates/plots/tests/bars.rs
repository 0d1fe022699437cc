//! What bar charts must show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use plots::{Band, BarChart, BarPanel, BarSeries, Colour, Image, PlotError, ReferenceLine};
use proptest::prelude::*;

fn series(colour: Colour, values: &[f64]) -> BarSeries {
    BarSeries { label: String::new(), colour, values: values.to_vec(), interval: None }
}

/// A panel from −1 to 1 with as many groups as the series have values.
fn panel(series: Vec<BarSeries>) -> BarPanel {
    BarPanel {
        title: String::new(),
        y_label: String::new(),
        groups: vec!["group".into(); series.first().map_or(1, |series| series.values.len())],
        series,
        reference_lines: Vec::new(),
        y_range: Some((-1.0, 1.0)),
    }
}

fn chart(panels: Vec<BarPanel>) -> BarChart {
    BarChart { title: "title".into(), subtitle: "subtitle".into(), panels }
}

fn draw(panel: BarPanel) -> Image {
    chart(vec![panel]).draw().unwrap()
}

/// Column and row of each pixel of a colour.
fn places(image: &Image, colour: [u8; 3]) -> Vec<(usize, usize)> {
    let width = image.width as usize;
    let pixels = image.pixels.chunks_exact(3).enumerate().filter(|(_, pixel)| *pixel == colour);
    pixels.map(|(index, _)| (index % width, index / width)).collect()
}

/// First and last row of the pixels of a colour.
fn rows(image: &Image, colour: Colour) -> (usize, usize) {
    let rows = places(image, colour.rgb()).into_iter().map(|(_, row)| row);
    (rows.clone().min().unwrap(), rows.max().unwrap())
}

/// First and last column of each run of columns with pixels of a colour.
fn stretches(image: &Image, colour: Colour) -> Vec<(usize, usize)> {
    let mut columns: Vec<usize> = places(image, colour.rgb()).into_iter().map(|(column, _)| column).collect();
    columns.sort_unstable();
    columns.dedup();
    columns.chunk_by(|a, b| b - a == 1).map(|run| (run[0], run[run.len() - 1])).collect()
}

#[test]
fn charts_are_drawn_at_a_readable_size_and_alike_each_time() {
    let one = chart(vec![panel(vec![series(Colour::Blue, &[0.5, -0.5])])]);
    let image = one.draw().unwrap();
    assert_eq!((image.width, image.height), (1200, 720));
    assert_eq!(image, one.draw().unwrap());
    let three = chart(vec![one.panels[0].clone(); 3]).draw().unwrap();
    assert!(three.width == 1200 && three.height > 720);
}

#[test]
fn bars_grow_from_zero_as_long_as_their_values() {
    let (top, zero) = rows(&draw(panel(vec![series(Colour::Blue, &[0.8])])), Colour::Blue);
    let (half, _) = rows(&draw(panel(vec![series(Colour::Blue, &[0.4])])), Colour::Blue);
    let (_, bottom) = rows(&draw(panel(vec![series(Colour::Blue, &[-0.8])])), Colour::Blue);
    assert!((zero - top).abs_diff(2 * (zero - half)) <= 4, "{top} {half} {zero}");
    assert!((zero - top).abs_diff(bottom - zero) <= 4, "{top} {zero} {bottom}");
    assert!(zero - top > 100);
}

#[test]
fn without_zero_on_the_axis_bars_grow_from_the_nearer_end() {
    let ranged = |low, high, value| {
        let panel = BarPanel { y_range: Some((low, high)), ..panel(vec![series(Colour::Blue, &[value])]) };
        rows(&draw(panel), Colour::Blue)
    };
    let full = ranged(0.0, 1.0, 1.0);
    let above = ranged(1.0, 2.0, 1.5);
    let below = ranged(-2.0, -1.0, -1.5);
    assert!(above.1.abs_diff(full.1) <= 2 && below.0.abs_diff(full.0) <= 2, "{full:?} {above:?} {below:?}");
    assert!((above.1 - above.0).abs_diff((full.1 - full.0) / 2) <= 3);
    assert!((below.1 - below.0).abs_diff((full.1 - full.0) / 2) <= 3);
}

#[test]
fn the_axis_begins_at_zero_unless_told_otherwise() {
    let length = |value: f64| {
        let panel = BarPanel { y_range: None, ..panel(vec![series(Colour::Blue, &[100.0, value])]) };
        let image = draw(panel);
        let (left, right) = stretches(&image, Colour::Blue)[1];
        places(&image, Colour::Blue.rgb())
            .iter()
            .filter(|(column, _)| *column == usize::midpoint(left, right))
            .count()
    };
    assert!(length(100.0).abs_diff(2 * length(50.0)) <= 4);
}

#[test]
fn groups_stand_apart_with_a_bar_for_each_series() {
    let image = draw(panel(vec![
        series(Colour::Blue, &[0.5, 0.5, 0.5]),
        series(Colour::Orange, &[0.5, -0.5, f64::NAN]),
    ]));
    let (blue, orange) = (stretches(&image, Colour::Blue), stretches(&image, Colour::Orange));
    assert_eq!((blue.len(), orange.len()), (3, 2), "a value that is not a number has a bar");
    for (blue, orange) in blue.iter().zip(&orange) {
        assert!((1..5).contains(&(orange.0 - blue.1)), "the bars of a group are apart: {blue:?} {orange:?}");
    }
    assert!(blue[1].0 - orange[0].1 > 30);
}

#[test]
fn a_value_of_zero_is_seen_and_differs_from_none() {
    let ink = |value| places(&draw(panel(vec![series(Colour::Blue, &[value])])), Colour::Blue.rgb()).len();
    assert!(ink(0.0) > 60);
    assert_eq!(ink(f64::NAN), 0);
    assert_eq!(ink(f64::INFINITY), 0);
}

#[test]
fn whiskers_reach_from_the_lower_to_the_upper_end() {
    let zero_and_top = rows(&draw(panel(vec![series(Colour::Blue, &[1.0])])), Colour::Blue);
    let unit = (zero_and_top.1 - zero_and_top.0) as f64;
    let dark = |lower, upper| {
        let interval = Some(Band { lower: vec![lower], upper: vec![upper] });
        let bare = series(Colour::Sky, &[0.5]);
        let bar = BarSeries { interval, ..bare.clone() };
        let (with, without) = (draw(panel(vec![bar])), draw(panel(vec![bare])));
        let changed = with.pixels.chunks_exact(3).zip(without.pixels.chunks_exact(3)).enumerate();
        changed
            .filter(|(_, (with, without))| with != without && with[0] < 60)
            .map(|(index, _)| index / 1200)
            .collect::<Vec<usize>>()
    };
    let found = dark(0.2, 0.9);
    let length = (found[found.len() - 1] - found[0]) as f64;
    assert!((length / unit - 0.7).abs() < 0.03, "{length} of {unit}");
    assert!(dark(f64::NAN, 0.9).is_empty());
}

#[test]
fn nothing_leaves_the_axes() {
    let image = draw(panel(vec![series(Colour::Blue, &[30.0, -1e200])]));
    let full = draw(panel(vec![series(Colour::Blue, &[1.0, -1.0])]));
    let ((top, bottom), (full_top, full_bottom)) = (rows(&image, Colour::Blue), rows(&full, Colour::Blue));
    assert!(top.abs_diff(full_top) <= 2 && bottom.abs_diff(full_bottom) <= 2);
}

#[test]
fn reference_lines_are_drawn_and_named_at_the_right() {
    let lined = |label: &str, y| {
        let reference_lines = vec![ReferenceLine { label: label.into(), y }];
        let image = draw(BarPanel { reference_lines, ..panel(vec![series(Colour::Blue, &[0.2])]) });
        let row = |row: &[u8]| row.chunks_exact(3).filter(|pixel| *pixel == [84, 88, 94]).count() > 800;
        let found = image.pixels.chunks_exact(3 * 1200).position(row);
        (found, stretches(&image, Colour::Blue)[0])
    };
    let (low, high) = (lined("", -0.5).0.unwrap(), lined("", 0.5).0.unwrap());
    assert!(low > high + 100);
    assert_eq!(lined("", 1.5).0, None, "outside the axes");
    let (unnamed, named) = (lined("", 0.5).1, lined("a name", 0.5).1);
    assert!(named.0 < unnamed.0 - 20, "the bars make room for the name");
}

#[test]
fn the_legend_is_shared_only_by_panels_with_the_same_series() {
    let named = |label: &str, colour| BarSeries { label: label.into(), ..series(colour, &[0.0, 0.0]) };
    let squares = |panels: Vec<BarPanel>, colour: Colour| {
        let image = chart(panels).draw().unwrap();
        // squares of 20 × 20; the bars of zero are lower
        let rows: Vec<usize> = places(&image, colour.rgb()).into_iter().map(|(_, row)| row).collect();
        rows.chunk_by(|a, b| b - a <= 1).filter(|run| run.len() == 400).count()
    };
    let blue = || panel(vec![named("a", Colour::Blue)]);
    let other = || panel(vec![named("b", Colour::Blue)]);
    assert_eq!(squares(vec![blue(), blue()], Colour::Blue), 1);
    assert_eq!(squares(vec![blue(), other()], Colour::Blue), 2);
    assert_eq!(squares(vec![panel(vec![named("", Colour::Blue)])], Colour::Blue), 0);
}

/// No text and no bar reaches into the outermost pixels, and no name touches its neighbour.
#[test]
fn full_charts_keep_their_margins_and_names_apart() {
    for (groups, count) in [(10, 3), (4, 6), (200, 8)] {
        let mut named = panel(vec![series(Colour::Blue, &vec![0.5; groups]); count]);
        named.groups = vec!["handwritten digits".into(); groups];
        named.y_range = Some((0.0, 1.0));
        let image = draw(named);
        let white =
            |row: &[u8], from: usize, to: usize| row[3 * from..3 * to].iter().all(|byte| *byte == 255);
        let width = image.width as usize;
        let mut lines = image.pixels.chunks_exact(3 * width);
        assert!(lines.all(|row| white(row, 0, 12) && white(row, width - 12, width)));
        assert!(image.pixels.ends_with(&vec![255; 3 * width * 12]));

        let bars = stretches(&image, Colour::Blue);
        let below = rows(&image, Colour::Blue).1 + 6;
        let ends = bars.iter().zip(bars.iter().skip(1)).filter(|(a, b)| b.0 - a.1 > 8);
        for (left, right) in ends {
            let middle = usize::midpoint(left.1, right.0);
            let empty = |row: &[u8]| white(row, middle, middle + 1);
            assert!(image.pixels.chunks_exact(3 * width).skip(below).all(empty), "a name is cut at {middle}");
        }
    }
}

#[test]
fn data_that_does_not_fit_is_refused_by_name() {
    let message = |panel: BarPanel| chart(vec![panel]).draw().unwrap_err().to_string();
    let two = || series(Colour::Blue, &[0.1, 0.2]);
    let short = BarSeries { label: "routing".into(), ..series(Colour::Blue, &[0.5]) };
    let text = "`values` of bar series `routing` has 1 values where 2 are needed; give one value for each";
    assert_eq!(message(panel(vec![two(), short])), text);
    let interval = Some(Band { lower: vec![0.0; 2], upper: vec![0.0] });
    let text = message(panel(vec![BarSeries { interval, ..two() }]));
    assert!(text.starts_with("`interval.upper` of bar series"), "{text}");
    assert!(message(panel(Vec::new())).contains("give it at least one series"));
    let empty = BarPanel { groups: Vec::new(), ..panel(vec![two()]) };
    assert!(message(empty).contains("give it at least one group"));
    for y_range in [Some((1.0, 0.0)), Some((0.0, f64::NAN)), Some((0.5, 0.5))] {
        let text = message(BarPanel { y_range, ..panel(vec![two()]) });
        assert!(text.starts_with("the y-range of bar panel"), "{text}");
    }
    let reference_lines = vec![ReferenceLine { label: "best".into(), y: f64::NAN }];
    let text = message(BarPanel { reference_lines, ..panel(vec![two()]) });
    assert!(text.starts_with("the height of reference line `best` is NaN"));
    assert!(matches!(chart(Vec::new()).draw(), Err(PlotError::Empty { .. })));
    let many = panel(vec![series(Colour::Blue, &vec![0.5; 100_000])]);
    assert!(matches!(chart(vec![many]).draw(), Err(PlotError::TooLarge { .. })));
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => -10.0..10.0,
        1 => prop::num::f64::ANY,
        1 => prop::sample::select(vec![0.0, -0.0, 1e300, -1e300, f64::MAX, 5e-324, f64::NAN, f64::INFINITY]),
    ]
}

fn any_panel() -> impl Strategy<Value = BarPanel> {
    (1..9_usize, 1..5_usize).prop_flat_map(|(groups, count)| {
        let numbers = move || prop::collection::vec(any_number(), groups);
        let band = prop::option::of((numbers(), numbers()));
        let series = (".{0,30}", numbers(), band).prop_map(|(label, values, band)| BarSeries {
            label,
            colour: Colour::Green,
            values,
            interval: band.map(|(lower, upper)| Band { lower, upper }),
        });
        let names = prop::collection::vec(".{0,30}", groups);
        let lines = prop::collection::vec((".{0,30}", any_number()), 0..3);
        let range = prop::option::of((any_number(), any_number()));
        (names, prop::collection::vec(series, count), lines, range, ".{0,80}").prop_map(
            |(groups, series, lines, y_range, title)| BarPanel {
                y_label: title.clone(),
                title,
                groups,
                series,
                reference_lines: lines.into_iter().map(|(label, y)| ReferenceLine { label, y }).collect(),
                y_range,
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_numbers_draw_or_are_refused(panels in prop::collection::vec(any_panel(), 1..3)) {
        match chart(panels).draw() {
            Ok(image) => prop_assert_eq!(image.pixels.len(), 3 * (image.width * image.height) as usize),
            Err(error) => prop_assert!(matches!(error, PlotError::OutOfRange { .. }), "{error}"),
        }
    }
}
