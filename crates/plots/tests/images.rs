//! What image grids must show.

use plots::{Colour, Image, ImageGrid, ImageRow, PlotError};
use proptest::prelude::*;

fn grid(tile: (usize, usize), rows: &[&[Vec<f32>]]) -> ImageGrid {
    ImageGrid {
        title: String::new(),
        subtitle: String::new(),
        column_labels: Vec::new(),
        rows: rows.iter().map(|tiles| ImageRow { label: String::new(), tiles: tiles.to_vec() }).collect(),
        tile,
    }
}

/// Left, top, right and bottom of the pixels of a colour, and how many there are.
fn bounds(image: &Image, colour: [u8; 3]) -> (usize, usize, usize, usize, usize) {
    let width = image.width as usize;
    let pixels = image.pixels.chunks_exact(3).enumerate().filter(|(_, pixel)| *pixel == colour);
    pixels.map(|(index, _)| (index % width, index / width)).fold(
        (usize::MAX, usize::MAX, 0, 0, 0),
        |(left, top, right, bottom, count), (x, y)| {
            (left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1), count + 1)
        },
    )
}

#[test]
fn a_pixel_becomes_a_square_of_its_shade_in_its_place() {
    // red, green and blue of 51 appear nowhere else
    let mut tile = vec![1.0; 12];
    tile[6] = 0.2;
    let image = grid((4, 3), &[&[vec![1.0; 12], tile]]).draw().unwrap();
    let (left, top, right, bottom, count) = bounds(&image, [51; 3]);
    let side = right - left;
    assert!(side > 20 && bottom - top == side && count == side * side, "not a sharp square");
    // the first pixel of that image is two to the left and one above
    let mut tile = vec![1.0; 12];
    tile[0] = 0.2;
    let image = grid((4, 3), &[&[vec![1.0; 12], tile.clone()]]).draw().unwrap();
    let first = bounds(&image, [51; 3]);
    assert_eq!((first.0 + 2 * side, first.1 + side), (left, top));
    // and the other image is to its left
    let image = grid((4, 3), &[&[tile, vec![1.0; 12]]]).draw().unwrap();
    assert!(bounds(&image, [51; 3]).2 + 2 * side < first.0);
}

#[test]
fn shades_are_clamped_and_what_is_not_a_number_stands_out() {
    let count = |value: f32, colour| bounds(&grid((1, 1), &[&[vec![value]]]).draw().unwrap(), colour).4;
    assert_eq!(count(-3.0, [0; 3]), count(0.0, [0; 3]));
    assert!(count(0.0, [0; 3]) > 1000);
    assert_eq!(count(7.0, [255; 3]), count(1.0, [255; 3]));
    assert_eq!(count(f32::INFINITY, [255; 3]), count(1.0, [255; 3]));
    assert!(count(0.502, [128; 3]) > 1000);
    assert_eq!(count(f32::NAN, Colour::Vermillion.rgb()), count(0.0, [0; 3]));
}

#[test]
fn twenty_columns_of_digits_fill_the_width_with_room_for_labels() {
    let tiles = vec![vec![0.0; 28 * 28]; 20];
    let mut picture = grid((28, 28), &[&tiles, &tiles]);
    let image = picture.draw().unwrap();
    let (left, _, right, _, count) = bounds(&image, [0; 3]);
    assert_eq!((image.width, right - left), (1200, 20 * 56 + 19));
    assert_eq!(count, 2 * 20 * 56 * 56);
    picture.rows[1].label = "what the row shows".into();
    let wider = picture.draw().unwrap();
    assert!(wider.width > 1250);
    assert_eq!(bounds(&wider, [0; 3]).4, count, "labels cost the images no pixels");
    assert_eq!(wider, picture.draw().unwrap());
}

#[test]
fn large_images_stay_whole_and_few_do_not_become_huge() {
    let image = grid((300, 200), &[&vec![vec![0.0; 60_000]; 6]]).draw().unwrap();
    assert!(image.width > 6 * 300);
    assert_eq!(bounds(&image, [0; 3]).4, 6 * 60_000);
    assert!(bounds(&grid((28, 28), &[&[vec![0.0; 784]]]).draw().unwrap(), [0; 3]).4 <= 200 * 200);
}

#[test]
fn labels_side_by_side_that_are_the_same_are_written_once_over_a_line() {
    let labelled = |labels: [&str; 4]| {
        let mut picture = grid((2, 2), &[&vec![vec![1.0; 4]; 4]]);
        picture.column_labels = labels.map(str::to_owned).to_vec();
        picture.draw().unwrap()
    };
    let letters = |image: &Image| bounds(image, [28, 30, 33]);
    let line = |image: &Image| bounds(image, [110, 114, 120]).4;
    let (apart, shared) = (labelled(["digit", "other", "digit", "other"]), labelled(["digit"; 4]));
    assert_eq!(line(&apart), 0);
    assert!(line(&shared) > 500);
    let (left, _, right, _, ink) = letters(&shared);
    assert!(right - left < 100, "written more than once");
    assert!(ink < letters(&apart).4 / 2);
    let middle = usize::midpoint(left, right);
    let (left, _, right, ..) = bounds(&shared, [150, 154, 160]);
    assert!(middle.abs_diff(usize::midpoint(left, right)) <= 2, "not centred");
    assert_eq!(line(&labelled(["", "", "digit", ""])), 0, "no line without a label");
}

#[test]
fn grids_that_do_not_fit_are_refused_by_name() {
    let tiles = vec![vec![0.5; 6]; 3];
    let refused = |change: &dyn Fn(&mut ImageGrid)| {
        let mut picture = grid((3, 2), &[&tiles, &tiles]);
        picture.title = "digits".into();
        picture.rows[1].label = "input".into();
        picture.draw().unwrap();
        change(&mut picture);
        picture.draw().unwrap_err().to_string()
    };
    let text = "image 2 in row 1 (`input`) of image grid `digits` has 5 values where 6 are needed; give one \
                value for each";
    assert_eq!(refused(&|grid| _ = grid.rows[1].tiles[2].pop()), text);
    assert!(refused(&|grid| _ = grid.rows[1].tiles.pop()).starts_with("`tiles` of row 1 (`input`)"));
    assert!(
        refused(&|grid| grid.column_labels.push("a".into())).starts_with("`column_labels` of image grid")
    );
    assert!(refused(&|grid| grid.rows.clear()).contains("give it at least one row"));
    assert!(refused(&|grid| grid.rows[0].tiles.clear()).contains("give it at least one image in each row"));
    assert!(refused(&|grid| grid.tile = (0, 4)).contains("give its images a width and a height"));
    let many = grid((1, 1), &[&vec![vec![0.0]; 30_000]]);
    assert!(matches!(many.draw(), Err(PlotError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_images_are_drawn(
        (columns, rows, width, height) in (1..6_usize, 1..4_usize, 1..12_usize, 1..12_usize),
        values in prop::collection::vec(prop_oneof![0.0..1.0_f32, prop::num::f32::ANY], 1..40),
        title in ".{0,80}",
        labels in prop::collection::vec(".{0,30}", 6),
        labelled in any::<bool>(),
    ) {
        let mut values = values.iter().copied().cycle();
        let tile = |_| values.by_ref().take(width * height).collect::<Vec<f32>>();
        let tiles: Vec<Vec<f32>> = (0..columns).map(tile).collect();
        let rows = labels[..rows].iter().map(|label| ImageRow { label: label.clone(), tiles: tiles.clone() });
        let picture = ImageGrid {
            title: title.clone(),
            subtitle: title,
            column_labels: if labelled { labels[..columns].to_vec() } else { Vec::new() },
            rows: rows.collect(),
            tile: (width, height),
        };
        let image = picture.draw().unwrap();
        prop_assert_eq!(image.pixels.len(), 3 * (image.width * image.height) as usize);
    }
}
