//! What policy pictures must show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use plots::{Image, Marker, MarkerKind, PlotError, PolicyGrid, PolicyPicture};
use proptest::prelude::*;

fn picture(probabilities: [f64; 4], background: Option<f64>, markers: Vec<Marker>) -> PolicyPicture {
    PolicyPicture {
        caption: "caption".into(),
        grids: vec![PolicyGrid {
            title: "grid".into(),
            rows: 3,
            cols: 4,
            probabilities: vec![probabilities; 12],
            background: background.map(|value| vec![value; 12]),
            markers,
        }],
        background_label: "gate".into(),
    }
}

/// How many pixels of the colour of text and arrows there are.
fn ink(image: &Image) -> usize {
    image.pixels.chunks_exact(3).filter(|pixel| *pixel == [28, 30, 33]).count()
}

fn draw(probabilities: [f64; 4]) -> Image {
    picture(probabilities, None, Vec::new()).draw().unwrap()
}

#[test]
fn arrows_grow_with_their_probability_and_point_somewhere() {
    let none = ink(&draw([0.0; 4]));
    let half = ink(&draw([0.5, 0.0, 0.0, 0.0]));
    let whole = ink(&draw([1.0, 0.0, 0.0, 0.0]));
    assert!(none < half && half < whole, "{none} {half} {whole}");
    let directions = [0, 1, 2, 3].map(|action| {
        let mut probabilities = [0.0; 4];
        probabilities[action] = 1.0;
        draw(probabilities)
    });
    for (a, first) in directions.iter().enumerate() {
        assert!(directions[..a].iter().all(|second| first != second));
    }
}

/// With one arrow, the ink of the middle cell lies on that arrow's side of the others' middle.
#[test]
fn the_actions_are_north_east_south_west() {
    let middle = |probabilities| {
        let image = draw(probabilities);
        let dark = image.pixels.chunks_exact(3).enumerate().filter(|(_, pixel)| *pixel == [28, 30, 33]);
        let (mut count, mut x, mut y) = (0.0, 0.0, 0.0);
        for (index, _) in dark {
            count += 1.0;
            x += f64::from(index as u32 % image.width);
            y += f64::from(index as u32 / image.width);
        }
        (x / count, y / count)
    };
    let [north, east, south, west] =
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]].map(middle);
    assert!(north.1 < east.1 && east.1 < south.1);
    assert!(west.0 < north.0 && north.0 < east.0);
}

#[test]
fn the_background_tints_cells_and_brings_a_colour_bar() {
    let plain = picture([0.25; 4], None, Vec::new()).draw().unwrap();
    let tinted = picture([0.25; 4], Some(1.0), Vec::new()).draw().unwrap();
    assert!(tinted.width > plain.width || tinted.width == 640);
    let blue = |image: &Image| image.pixels.chunks_exact(3).filter(|pixel| *pixel == [104, 178, 232]).count();
    assert_eq!(blue(&plain), 0);
    assert!(blue(&tinted) > 50_000);
    let unknown = picture([0.25; 4], Some(f64::NAN), Vec::new()).draw().unwrap();
    assert!(unknown.pixels.chunks_exact(3).filter(|pixel| *pixel == [214; 3]).count() > 50_000);
}

#[test]
fn a_cell_that_is_no_place_to_be_is_grey_whatever_the_background() {
    let grey = |probabilities| {
        let image = picture(probabilities, None, Vec::new()).draw().unwrap();
        image.pixels.chunks_exact(3).filter(|pixel| *pixel == [214; 3]).count()
    };
    assert!(grey([f64::NAN; 4]) > 50_000);
    assert_eq!((grey([0.0; 4]), grey([f64::NAN, 0.0, 0.0, 0.0])), (0, 0));
    assert!(ink(&draw([f64::NAN; 4])) < ink(&draw([0.0; 4])), "no dot in the middle of a wall");
}

#[test]
fn markers_differ_in_shape_and_share_a_cell() {
    let marked = |kinds: &[MarkerKind]| {
        let markers = kinds.iter().map(|kind| Marker { cell: 5, kind: *kind }).collect();
        let image = picture([0.25; 4], None, markers).draw().unwrap();
        let grey = |pixel: &[u8]| pixel.iter().map(|byte| u16::from(*byte)).sum::<u16>() < 600;
        image.pixels.chunks_exact(3).map(grey).collect::<Vec<bool>>()
    };
    let differ = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let nothing = marked(&[]);
    let diamond = marked(&[MarkerKind::Diamond]);
    let ghost = marked(&[MarkerKind::Ghost]);
    let both = marked(&[MarkerKind::Diamond, MarkerKind::Ghost]);
    assert!(differ(&nothing, &diamond) > 400);
    assert!(differ(&diamond, &ghost) > 200);
    assert!(differ(&both, &diamond) > 400, "the second marker covers the first");
}

#[test]
fn the_size_does_not_depend_on_the_probabilities() {
    let size = |image: Image| (image.width, image.height);
    assert_eq!(size(draw([0.25; 4])), size(draw([1.0, 0.0, 0.0, f64::NAN])));
    assert_eq!(draw([0.25; 4]), draw([0.25; 4]));
}

#[test]
fn more_than_five_grids_stand_in_rows_of_four() {
    let of = |grids: usize| {
        let mut picture = picture([0.25; 4], Some(0.5), Vec::new());
        picture.grids = vec![picture.grids[0].clone(); grids];
        picture.draw().unwrap()
    };
    let sizes = [4, 5, 6, 8, 15].map(|grids| (of(grids).width, of(grids).height));
    let [four, five, six, eight, fifteen] = sizes;
    assert!(five.1 < six.1, "{sizes:?}");
    assert_eq!((four.0, six, eight.0), (eight.0, eight, fifteen.0));
    assert_eq!(fifteen.1 - eight.1, 2 * (eight.1 - four.1));
}

#[test]
fn grids_that_do_not_fit_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut PolicyGrid)| {
        let mut picture = picture([0.25; 4], Some(0.5), Vec::new());
        change(&mut picture.grids[0]);
        picture.draw().unwrap_err().to_string()
    };
    let text =
        "`probabilities` of grid `grid` (3×4) has 11 values where 12 are needed; give one value for each";
    assert_eq!(refused(&|grid| _ = grid.probabilities.pop()), text);
    assert!(refused(&|grid| grid.background = Some(vec![0.5])).starts_with("`background` of grid"));
    assert!(
        refused(&|grid| grid.probabilities[3][1] = 1.5).starts_with("a probability in grid `grid` is 1.5")
    );
    assert!(
        refused(&|grid| grid.background = Some(vec![-2.0; 12])).contains("is -2, which is not in 0 to 1")
    );
    let outside = Marker { cell: 12, kind: MarkerKind::Ghost };
    assert!(refused(&|grid| grid.markers.push(outside)).contains("is 12, which is not in 0 to 11"));
    assert!(refused(&|grid| grid.rows = 0).contains("give it at least one row"));
    let nothing =
        PolicyPicture { caption: String::new(), grids: Vec::new(), background_label: String::new() };
    assert!(matches!(nothing.draw(), Err(PlotError::Empty { .. })));
}

#[test]
fn too_many_cells_are_refused_before_memory_is_taken() {
    let mut picture = picture([0.25; 4], None, Vec::new());
    let grid = &mut picture.grids[0];
    (grid.rows, grid.cols, grid.probabilities) = (1000, 1000, vec![[0.25; 4]; 1_000_000]);
    assert!(matches!(picture.draw(), Err(PlotError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_shares_draw_or_are_refused(
        rows in 1..5_usize,
        cols in 1..7_usize,
        value in prop_oneof![0.0..1.0, prop::num::f64::ANY],
        title in ".{0,60}",
    ) {
        let mut picture = picture([value; 4], Some(value), vec![Marker { cell: 0, kind: MarkerKind::Ghost }; 6]);
        let grid = &mut picture.grids[0];
        (grid.rows, grid.cols, grid.title) = (rows, cols, title);
        grid.probabilities = vec![[value; 4]; rows * cols];
        grid.background = Some(vec![value; rows * cols]);
        match picture.draw() {
            Ok(image) => prop_assert_eq!(image.pixels.len(), 3 * (image.width * image.height) as usize),
            Err(error) => prop_assert!(matches!(error, PlotError::OutOfRange { .. }), "{error}"),
        }
    }
}
