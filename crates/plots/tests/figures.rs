//! What figures of curves must show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use plots::{Band, Colour, Figure, Image, Panel, PlotError, ReferenceLine, Scale, Series};
use proptest::prelude::*;

fn series(x: &[f64], y: &[f64]) -> Series {
    Series {
        label: String::new(),
        x: x.to_vec(),
        y: y.to_vec(),
        band: None,
        whiskers: None,
        colour: Colour::Blue,
        dash: false,
    }
}

fn panel(series: Vec<Series>) -> Panel {
    Panel {
        title: String::new(),
        y_label: String::new(),
        series,
        reference_lines: Vec::new(),
        y_range: Some((0.0, 1.0)),
    }
}

fn figure(panels: Vec<Panel>) -> Figure {
    Figure {
        title: "title".into(),
        subtitle: "subtitle".into(),
        x_label: "steps".into(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels,
    }
}

fn draw(series: Vec<Series>) -> Image {
    figure(vec![panel(series)]).draw().unwrap()
}

/// The columns of the pixels of a colour, in rising order.
fn columns(image: &Image, colour: [u8; 3]) -> Vec<usize> {
    let pixels = image.pixels.chunks_exact(3).enumerate();
    let mut columns: Vec<usize> =
        pixels.filter(|(_, pixel)| *pixel == colour).map(|(i, _)| i % image.width as usize).collect();
    columns.sort_unstable();
    columns
}

/// The first row from above with a pixel of a colour.
fn top(image: &Image, colour: [u8; 3]) -> f64 {
    let at = image.pixels.chunks_exact(3).position(|pixel| pixel == colour).unwrap();
    (at / image.width as usize) as f64
}

fn long_x() -> Vec<f64> {
    (0..=100).map(f64::from).collect()
}

#[test]
fn figures_are_drawn_at_a_readable_size_and_alike_each_time() {
    let one = figure(vec![panel(vec![series(&[0.0, 1.0], &[0.2, 0.8])])]);
    let image = one.draw().unwrap();
    assert_eq!((image.width, image.height), (1200, 720));
    assert_eq!(image.pixels.len(), 3 * 1200 * 720);
    assert!(image.pixels.iter().any(|byte| *byte < 100), "blank");
    assert_eq!(image, one.draw().unwrap());
    let three = figure(vec![panel(Vec::new()); 3]).draw().unwrap();
    assert!(three.width == 1200 && three.height > 720);
}

#[test]
fn a_long_title_makes_the_figure_higher_instead_of_being_cut() {
    let mut long = figure(vec![panel(Vec::new()); 3]);
    let before = long.draw().unwrap();
    long.title = "a title with many words ".repeat(10);
    let after = long.draw().unwrap();
    assert!(after.height >= before.height + 60);
    let margin = |image: &Image| {
        image.pixels.chunks_exact(3 * 1200).all(|row| row[3 * 1180..].iter().all(|byte| *byte == 255))
    };
    assert!(margin(&after), "the title runs over the margin");
}

#[test]
fn reference_lines_stand_at_their_heights() {
    let row = |y: f64| {
        let mut panel = panel(Vec::new());
        panel.reference_lines.push(ReferenceLine { label: String::new(), y });
        let image = figure(vec![panel]).draw().unwrap();
        let ink = [84, 88, 94];
        let full = |row: &[u8]| row.chunks_exact(3).filter(|pixel| *pixel == ink).count() > 800;
        image.pixels.chunks_exact(3 * 1200).position(full).unwrap()
    };
    let (low, middle, high) = (row(0.25), row(0.5), row(0.75));
    assert!(high < middle && middle < low);
    assert!((low - middle).abs_diff(middle - high) <= 1, "{low} {middle} {high}");
}

#[test]
fn the_name_of_a_reference_line_is_written() {
    let dark = |label: &str| {
        let mut panel = panel(Vec::new());
        panel.reference_lines.push(ReferenceLine { label: label.into(), y: 0.5 });
        let image = figure(vec![panel]).draw().unwrap();
        columns(&image, [84, 88, 94]).len()
    };
    assert!(dark("shortest path") > dark("") + 100);
}

#[test]
fn the_name_of_a_reference_line_stands_beside_the_axes_where_it_would_cover_a_curve() {
    let line = ReferenceLine { label: "0.5 as good as it gets".into(), y: 0.5 };
    // the right end of the axes, which a curve reaches
    let end = |y: Vec<f64>, whiskers: Option<Band>| {
        let series = Series { whiskers, ..series(&long_x(), &y) };
        let with = Panel { reference_lines: vec![line.clone()], ..panel(vec![series]) };
        *columns(&figure(vec![with]).draw().unwrap(), Colour::Blue.rgb()).last().unwrap()
    };
    let up_to = |upper: f64| Some(Band { lower: vec![0.1; 101], upper: vec![upper; 101] });
    let far = end(vec![0.1; 101], None);
    assert_eq!(end(vec![0.1; 101], up_to(0.2)), far);
    let crossing = end((0..=100).map(|i| f64::from(i % 2)).collect(), None);
    assert!(crossing + 150 < far, "{crossing} {far}");
    assert_eq!(end(vec![0.1; 101], up_to(0.9)), crossing, "whiskers are a part of the curve");
}

#[test]
fn values_that_are_not_finite_leave_a_gap() {
    let x = long_x();
    let mut y = vec![0.5; x.len()];
    let widest = |image: &Image| {
        let columns = columns(image, Colour::Blue.rgb());
        columns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    };
    assert!(widest(&draw(vec![series(&x, &y)])) <= 1);
    y[40..60].fill(f64::NAN);
    y[50] = f64::INFINITY;
    assert!(widest(&draw(vec![series(&x, &y)])) > 150);
}

#[test]
fn points_without_a_line_stand_out_from_one_of_their_colour() {
    let x = long_x();
    let line = series(&x, &vec![0.5; x.len()]);
    let widest = |image: &Image| {
        let columns = columns(image, Colour::Blue.rgb());
        columns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    };
    let ink = |image: &Image| columns(image, Colour::Blue.rgb()).len();
    let apart = series(&[30.0, 30.0, 60.0], &[0.5, f64::NAN, 0.9]);
    let joined = series(&[30.0, 60.0], &[0.5, 0.9]);
    let (apart, joined) = (draw(vec![line.clone(), apart]), draw(vec![line.clone(), joined]));
    assert!(ink(&apart) < ink(&joined), "a line joins them");
    assert!(widest(&draw(vec![line])) <= 1 && widest(&joined) <= 1);
    assert!((3..=6).contains(&widest(&apart)), "no rim: {}", widest(&apart));
}

#[test]
fn lines_end_at_the_edge_of_the_axes() {
    let x = long_x();
    let outside = draw(vec![series(&x, &vec![1.5; x.len()])]);
    assert!(columns(&outside, Colour::Blue.rgb()).is_empty());
    let through: Vec<f64> = x.iter().map(|x| x / 10.0 - 4.0).collect();
    assert!(!columns(&draw(vec![series(&x, &through)]), Colour::Blue.rgb()).is_empty());
}

#[test]
fn dashes_and_bands_show() {
    let x = long_x();
    let solid = series(&x, &vec![0.5; x.len()]);
    let ink = |image: &Image| columns(image, Colour::Blue.rgb()).len() as f64;
    let dashed = Series { dash: true, ..solid.clone() };
    let share = ink(&draw(vec![dashed])) / ink(&draw(vec![solid.clone()]));
    assert!((0.4..0.8).contains(&share), "{share}");

    let painted = |image: &Image| image.pixels.chunks_exact(3).filter(|pixel| pixel[0] < pixel[2]).count();
    let band = Band { lower: vec![0.3; x.len()], upper: vec![0.7; x.len()] };
    let banded = Series { band: Some(band), ..solid.clone() };
    assert!(painted(&draw(vec![banded])) > painted(&draw(vec![solid])) + 100_000);
}

#[test]
fn a_label_is_written_beside_the_axes() {
    let mut named = series(&[0.0, 1.0], &[0.5, 0.5]);
    let last = |image: &Image| *columns(image, Colour::Blue.rgb()).last().unwrap();
    let unnamed = last(&draw(vec![named.clone()]));
    named.label = "a name at the right".into();
    assert!(last(&draw(vec![named])) < unnamed - 100);
}

#[test]
fn a_line_that_is_not_to_be_seen_has_no_label() {
    let named = |y: f64| Series { label: "a name".into(), ..series(&[0.0, 1.0], &[y, y]) };
    let ink = |image: &Image| columns(image, [28, 30, 33]).len();
    let nothing = ink(&draw(vec![series(&[0.0, 1.0], &[0.5, 0.5])]));
    assert!(ink(&draw(vec![named(0.5)])) > nothing + 100);
    for y in [1.5, -0.2, f64::NAN] {
        assert_eq!(ink(&draw(vec![named(y)])), nothing, "{y}");
    }
    // one that leaves the axes has begun within them
    let leaves = Series { label: "a name".into(), ..series(&[0.0, 1.0], &[0.5, 1.5]) };
    assert!(ink(&draw(vec![leaves])) > nothing + 100);
}

#[test]
fn a_point_on_the_edge_of_the_axes_is_whole() {
    let ink = |y: f64| columns(&draw(vec![series(&[1.0], &[y])]), Colour::Blue.rgb()).len();
    assert!(ink(0.5) > 50);
    assert_eq!((ink(0.0), ink(1.0)), (ink(0.5), ink(0.5)));
    assert_eq!(ink(1.01), 0);
}

#[test]
fn a_whisker_that_leaves_the_axes_ends_in_an_arrow() {
    let whiskers = |lower: f64, upper: f64| {
        let whiskers = Some(Band { lower: vec![lower], upper: vec![upper] });
        let image = draw(vec![Series { whiskers, ..series(&[1.0], &[0.5]) }]);
        image.pixels.chunks_exact(3).filter(|pixel| pixel[0] < pixel[2]).count()
    };
    // an arrow is more than the line across that another one ends in, which has all of its length
    assert!(whiskers(0.5, 2.0) > whiskers(0.5, 1.0) + 20);
    assert!(whiskers(-1.0, 0.5) > whiskers(0.0, 0.5) + 20);
    assert_eq!(whiskers(0.5, 2.0), whiskers(0.5, 9.0));
    // one that lies beyond them is not there
    assert_eq!(whiskers(1.1, 2.0), whiskers(-2.0, -0.1));
    assert!(whiskers(1.1, 2.0) < whiskers(0.5, 0.5));
}

#[test]
fn places_beside_each_other_do_not_fill_a_logarithmic_axis() {
    let near = Figure {
        x_scale: Scale::Log,
        ..figure(vec![panel(vec![series(&[0.097], &[0.5]), series(&[0.103], &[0.5])])])
    };
    let columns = columns(&near.draw().unwrap(), Colour::Blue.rgb());
    let (first, last) = (columns[0], columns[columns.len() - 1]);
    assert!((20..150).contains(&(last - first)), "{first} {last}");
}

#[test]
fn equal_ratios_are_equally_high_on_a_logarithmic_axis() {
    let heights = |y_scale| {
        let lines = [Colour::Blue, Colour::Orange, Colour::Green].into_iter().zip([1.0, 10.0, 100.0]);
        let lines = lines.map(|(colour, y)| Series { colour, ..series(&[0.0, 1.0], &[y, y]) });
        let figure = Figure { y_scale, ..figure(vec![Panel { y_range: None, ..panel(lines.collect()) }]) };
        let image = figure.draw().unwrap();
        [Colour::Blue, Colour::Orange, Colour::Green].map(|colour| top(&image, colour.rgb()))
    };
    let [one, ten, hundred] = heights(Scale::Log);
    assert!((one - ten - (ten - hundred)).abs() <= 1.0 && one > hundred + 300.0, "{one} {ten} {hundred}");
    let [one, ten, hundred] = heights(Scale::Linear);
    assert!(ten - hundred > 8.0 * (one - ten), "{one} {ten} {hundred}");
}

#[test]
fn a_logarithmic_axis_has_no_range_that_begins_at_zero() {
    let ranged = Panel { y_range: Some((0.0, 1.0)), ..panel(vec![series(&[0.0, 1.0], &[0.5, 1.0])]) };
    let error =
        Figure { y_scale: Scale::Log, ..figure(vec![ranged.clone()]) }.draw().unwrap_err().to_string();
    assert!(error.contains("above 0 on a logarithmic axis"), "{error}");
    figure(vec![ranged]).draw().unwrap();
}

#[test]
fn little_data_is_drawn_too() {
    for series in [vec![], vec![series(&[3.0], &[0.5])], vec![series(&[f64::NAN], &[f64::NAN])]] {
        for x_scale in [Scale::Linear, Scale::Log] {
            for y_range in [None, Some((0.0, 1.0))] {
                let panel = Panel { y_range, ..panel(series.clone()) };
                let image = Figure { x_scale, ..figure(vec![panel]) }.draw().unwrap();
                let points = columns(&image, Colour::Blue.rgb()).len();
                let finite = series.iter().any(|series| series.x[0].is_finite());
                assert_eq!(points > 20, finite);
            }
        }
    }
}

#[test]
fn data_that_does_not_fit_is_refused_by_name() {
    let message = |panel: Panel| figure(vec![panel]).draw().unwrap_err().to_string();
    let mut short = series(&[0.0, 1.0], &[0.5]);
    short.label = "routing".into();
    let text = "`y` of series `routing` has 1 values where 2 are needed; give one value for each";
    assert_eq!(message(panel(vec![short])), text);
    let mut banded = series(&[0.0], &[0.5]);
    banded.band = Some(Band { lower: vec![0.0], upper: vec![] });
    assert!(message(panel(vec![banded])).starts_with("`band.upper` of series"));
    assert!(message(panel(vec![series(&[], &[])])).contains("is empty; leave the series out"));
    for y_range in [Some((1.0, 0.0)), Some((0.0, f64::NAN)), Some((0.5, 0.5))] {
        assert!(message(Panel { y_range, ..panel(Vec::new()) }).starts_with("the y-range of panel"));
    }
    let line = ReferenceLine { label: "best".into(), y: f64::NAN };
    let text = message(Panel { reference_lines: vec![line], ..panel(Vec::new()) });
    assert!(text.starts_with("the height of reference line `best` is NaN"));
    assert!(matches!(figure(Vec::new()).draw(), Err(PlotError::Empty { .. })));
    assert!(matches!(figure(vec![panel(Vec::new()); 200]).draw(), Err(PlotError::TooLarge { .. })));
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => -10.0..10.0,
        1 => prop::num::f64::ANY,
        1 => prop::sample::select(vec![
            0.0, -0.0, 1e300, -1e300, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, f64::NAN, f64::INFINITY,
        ]),
    ]
}

fn any_series() -> impl Strategy<Value = Series> {
    (1..12_usize).prop_flat_map(|count| {
        let numbers = || prop::collection::vec(any_number(), count);
        let band = prop::option::of((numbers(), numbers()));
        (numbers(), numbers(), band, any::<bool>(), ".{0,30}").prop_map(|(x, y, band, dash, label)| Series {
            label,
            x,
            y,
            band: band.map(|(lower, upper)| Band { lower, upper }),
            whiskers: None,
            colour: Colour::Orange,
            dash,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_numbers_draw_or_are_refused(
        series in prop::collection::vec(any_series(), 0..4),
        y_range in prop::option::of((any_number(), any_number())),
        reference in any_number(),
        log in any::<(bool, bool)>(),
        title in ".{0,200}",
    ) {
        let reference_lines = vec![ReferenceLine { label: title.clone(), y: reference }];
        let panel = Panel { title: title.clone(), reference_lines, y_range, ..panel(series) };
        let [x_scale, y_scale] = [log.0, log.1].map(|log| if log { Scale::Log } else { Scale::Linear });
        match (Figure { title, x_scale, y_scale, ..figure(vec![panel]) }).draw() {
            Ok(image) => prop_assert_eq!(image.pixels.len(), 3 * (image.width * image.height) as usize),
            Err(error) => prop_assert!(matches!(error, PlotError::OutOfRange { .. }), "{error}"),
        }
    }
}
