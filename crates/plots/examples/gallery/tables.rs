//! Bars, images and matrices.

use std::path::Path;

use plots::{
    Band, BarChart, BarPanel, BarSeries, Colour, Heatmap, ImageGrid, ImageRow, PlotError, ReferenceLine,
};

use crate::noise;

const COLOURS: [Colour; 6] =
    [Colour::Blue, Colour::Vermillion, Colour::Grey, Colour::Orange, Colour::Green, Colour::Purple];

pub(crate) fn draw(folder: &Path) -> Result<(), PlotError> {
    after_ablation().write_png(&folder.join("bars.png"))?;
    classes().write_png(&folder.join("bars_many_groups.png"))?;
    methods().write_png(&folder.join("bars_many_series.png"))?;
    awkward().write_png(&folder.join("bars_awkward.png"))?;
    reconstructions().write_png(&folder.join("images.png"))?;
    few_images().write_png(&folder.join("images_few.png"))?;
    confusion().write_png(&folder.join("heatmap.png"))?;
    sweep().write_png(&folder.join("heatmap_many.png"))?;
    small_matrix().write_png(&folder.join("heatmap_small.png"))
}

/// A bar with a whisker of `half` to both sides.
fn series(label: &str, colour: Colour, values: Vec<f64>, half: f64) -> BarSeries {
    let interval = Band {
        lower: values.iter().map(|value| value - half).collect(),
        upper: values.iter().map(|value| value + half).collect(),
    };
    BarSeries { label: label.into(), colour, values, interval: Some(interval) }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What most charts are: few groups, two series, one line to read them against.
fn after_ablation() -> BarChart {
    BarChart {
        title: "Ablating the routed part raises the loss on its topic only".into(),
        subtitle: "mean of 5 seeds with 95% interval (Student's t)".into(),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: "validation loss (nats per token)".into(),
            groups: names(&["forget set", "retain set", "unrelated text"]),
            series: vec![
                series("before ablation", Colour::Blue, vec![1.62, 1.58, 1.91], 0.04),
                series("after ablation", Colour::Vermillion, vec![2.74, 1.63, 1.93], 0.09),
            ],
            reference_lines: vec![ReferenceLine { label: "never trained on the topic".into(), y: 2.9 }],
            y_range: None,
        }],
    }
}

/// Ten groups of three bars, in two panels with the same series.
fn classes() -> BarChart {
    let groups: Vec<String> = (0..10)
        .map(|digit| if digit == 7 { "handwritten seven".into() } else { format!("digit {digit}") })
        .collect();
    let values = |seed: u64, base: f64| -> Vec<f64> {
        noise(seed, 0.3).take(10).map(|error| base + error.abs()).collect()
    };
    let panel = |title: &str, seed| BarPanel {
        title: title.into(),
        y_label: "mean absolute error".into(),
        groups: groups.clone(),
        series: vec![
            series("whole encoding", Colour::Grey, values(seed, 0.1), 0.03),
            series("top half of the encoding", Colour::Blue, values(seed + 1, 0.4), 0.05),
            series("bottom half of the encoding", Colour::Vermillion, values(seed + 2, 0.5), 0.06),
        ],
        reference_lines: Vec::new(),
        y_range: Some((0.0, 1.0)),
    };
    BarChart {
        title: "Each half decodes its own digits".into(),
        subtitle: "validation images, mean of 4 seeds; whiskers from the lowest to the highest seed".into(),
        panels: vec![panel("Routed", 3), panel("Not routed", 9)],
    }
}

/// Four groups of six bars, some below zero, one missing.
fn methods() -> BarChart {
    let labels = [
        "routing",
        "naive outcomes",
        "data filtering",
        "no gate",
        "oracle (steps stretched by 1/p)",
        "no routing",
    ];
    let series = labels.iter().zip(COLOURS).enumerate().map(|(index, (label, colour))| {
        let errors = noise(index as u64, 0.5).take(4);
        let values = errors.enumerate().map(|(group, error)| 0.1 * group as f64 + error).collect();
        series(label, colour, values, 0.08)
    });
    let mut series: Vec<BarSeries> = series.collect();
    series[2].values[1] = f64::NAN;
    let line = |label: &str, y| ReferenceLine { label: label.into(), y };
    BarChart {
        title: "Return after training, by share of oversight".into(),
        subtitle: "stepwise ground-truth return of the steered policy, mean of 4 seeds ± 1 standard error"
            .into(),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: "stepwise ground-truth return".into(),
            groups: names(&["p = 0.01", "p = 0.03", "p = 0.1 (as in the paper)", "p = 1"]),
            series,
            reference_lines: vec![line("0.908 shortest path", 0.908), line("0.78 ignoring the Ghost", 0.78)],
            y_range: None,
        }],
    }
}

/// Names without spaces, bars of zero, a black bar under its whisker, zero outside the axis, nothing at all.
fn awkward() -> BarChart {
    let panel = |title: &str, groups: &[&str], series, y_range| BarPanel {
        title: title.into(),
        y_label: "value".into(),
        groups: names(groups),
        series,
        reference_lines: vec![ReferenceLine {
            label: "a line whose name is long, so that it wraps".into(),
            y: 0.5,
        }],
        y_range,
    };
    let bare = |label: &str, colour, values: Vec<f64>| BarSeries {
        label: label.into(),
        colour,
        values,
        interval: None,
    };
    let groups = ["expanded_dimensions_removed", "supercalifragilisticexpialidocious", "c", "", "e f"];
    BarChart {
        title: "A title so long that it cannot stand in one line, because it names everything that was held fixed and everything that was varied".into(),
        subtitle: String::new(),
        panels: vec![
            panel(
                "Zeros, gaps and a black bar",
                &groups.repeat(3),
                vec![
                    series("black", Colour::Black, [0.9, 0.0, f64::NAN, -0.4, 0.3].repeat(3), 0.2),
                    bare("yellow", Colour::Yellow, [0.2, 0.0, 0.7, 0.4, f64::INFINITY].repeat(3)),
                ],
                None,
            ),
            panel(
                "Zero outside the axis",
                &["one", "two"],
                vec![bare("only one series", Colour::Sky, vec![0.55, 0.8])],
                Some((0.4, 0.7)),
            ),
            panel("Nothing finite", &["one"], vec![bare("", Colour::Sky, vec![f64::NAN])], None),
        ],
    }
}

/// A ring with a stroke, from `kind`, as a made-up digit of 28 × 28.
fn digit(kind: usize, blur: f32) -> Vec<f32> {
    let radius = 5.0 + (kind % 5) as f32;
    let pixel = |index: usize| {
        let (x, y) = ((index % 28) as f32 - 13.5, (index / 28) as f32 - 13.5);
        let ring = (x.hypot(y) - radius).abs();
        let stroke = if kind.is_multiple_of(2) { x.abs() } else { y.abs() };
        (1.4 - ring.min(stroke) / blur).clamp(0.0, 1.0)
    };
    (0..28 * 28).map(pixel).collect()
}

/// Twenty columns of 28 × 28 with shared labels.
fn reconstructions() -> ImageGrid {
    let row = |label: &str, blur| ImageRow {
        label: label.into(),
        tiles: (0..20).map(|column| digit(column / 2, blur)).collect(),
    };
    ImageGrid {
        title: "The top half of the encoding holds digits 0 to 4".into(),
        subtitle: "two validation images of each digit and what each decoder makes of them".into(),
        column_labels: (0..20).map(|column| format!("{}", column / 2)).collect(),
        rows: vec![
            row("input", 1.5),
            row("whole encoding", 2.0),
            row("top half", 3.0),
            row("bottom half, decoded after training", 9.0),
        ],
        tile: (28, 28),
    }
}

/// Few images, light and not square, with labels of which some are empty, and a pixel that is not a number.
fn few_images() -> ImageGrid {
    let mut tiles: Vec<Vec<f32>> =
        (1..=5).map(|step| (0..12).map(|i| i as f32 * 0.04 * step as f32 + 0.4).collect()).collect();
    tiles[2][5] = f32::NAN;
    ImageGrid {
        title: "Few images".into(),
        subtitle: String::new(),
        column_labels: names(&["a label that is long", "", "c", "", "internationalisation"]),
        rows: vec![ImageRow { label: String::new(), tiles }],
        tile: (4, 3),
    }
}

fn confusion() -> Heatmap {
    let topics = ["virology", "general science", "history", "sport and games", "cooking"];
    let value = |row: usize, column: usize| {
        if row == column { 0.93 - 0.05 * row as f64 } else { 0.02 * (row + column) as f64 }
    };
    Heatmap {
        title: "Which part is active on which topic".into(),
        subtitle: "mean share of the mask, validation texts".into(),
        x_label: "topic of the text".into(),
        y_label: "part of the network".into(),
        columns: names(&topics),
        rows: topics.iter().map(|topic| format!("part routed to {topic}")).collect(),
        values: (0..5).map(|row| (0..5).map(|column| value(row, column)).collect()).collect(),
        range: Some((0.0, 1.0)),
    }
}

/// Many cells, one of them empty, numbers of both signs.
fn sweep() -> Heatmap {
    let numbers: Vec<f64> = noise(5, 12.0).take(20 * 12).collect();
    let mut values: Vec<Vec<f64>> = numbers.chunks(20).map(<[f64]>::to_vec).collect();
    values[3][4] = f64::NAN;
    Heatmap {
        title: "Many cells".into(),
        subtitle: String::new(),
        x_label: "learning rate".into(),
        y_label: "seed".into(),
        columns: (0..20).map(|i| format!("{}e-4 rate", i + 1)).collect(),
        rows: (0..12).map(|i| i.to_string()).collect(),
        values,
        range: None,
    }
}

fn small_matrix() -> Heatmap {
    Heatmap {
        title: "One row of large numbers".into(),
        subtitle: String::new(),
        x_label: "method".into(),
        y_label: String::new(),
        columns: names(&["routing", "filtering"]),
        rows: names(&["steps to half of the best return"]),
        values: vec![vec![1.25e6, 3.4e5]],
        range: None,
    }
}
