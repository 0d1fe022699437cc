//! Draws one picture of every kind from made-up data: `cargo run -p plots --example gallery -- FOLDER`.

mod tables;

use std::path::{Path, PathBuf};

use plots::{
    Band, Colour, Figure, Image, Marker, MarkerKind, Panel, PlotError, PolicyGrid, PolicyPicture,
    ReferenceLine, Scale, Series, write_gif,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("name the folder to draw into")?.into();
    std::fs::create_dir_all(&folder)?;
    reward_curve().write_png(&folder.join("reward_curve.png"))?;
    routing_shares().write_png(&folder.join("routing_shares.png"))?;
    methods().write_png(&folder.join("methods.png"))?;
    sweep().write_png(&folder.join("sweep.png"))?;
    awkward().write_png(&folder.join("awkward.png"))?;
    one_level().write_png(&folder.join("one_level.png"))?;
    policies(&folder)?;
    tables::draw(&folder)?;
    Ok(())
}

/// Three policies with bands over four seeds, against the best that can be reached.
fn reward_curve() -> Figure {
    let curve = |label: &str, colour, end: f64, dash| {
        let x = steps(200, 2.0e6);
        let y: Vec<f64> =
            x.iter().zip(noise(label.len() as u64, 0.02)).map(|(x, e)| end * rise(*x, 5e5) + e).collect();
        let width: Vec<f64> = x.iter().map(|x| 0.03 + 0.07 * rise(*x, 9e5)).collect();
        let band = Band {
            lower: y.iter().zip(&width).map(|(y, w)| y - w).collect(),
            upper: y.iter().zip(&width).map(|(y, w)| y + w).collect(),
        };
        Series { label: label.into(), x, y, band: Some(band), whiskers: None, colour, dash }
    };
    Figure {
        title: "Routing with 10% oversight: what each policy earns".into(),
        subtitle: "PPO, 512 environments, mean of 4 seeds with 95% interval (±1.96 standard errors), Γ → 1 for the Diamond policy".into(),
        x_label: "environment steps".into(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: "stepwise ground-truth return".into(),
            series: vec![
                curve("Diamond policy (steered)", Colour::Blue, 0.70, false),
                curve("Ghost policy", Colour::Vermillion, -0.66, false),
                curve("full mixture", Colour::Grey, 0.02, true),
            ],
            reference_lines: ceilings(),
            y_range: None,
        }],
    }
}

fn ceilings() -> Vec<ReferenceLine> {
    let line = |label: &str, y| ReferenceLine { label: label.into(), y };
    vec![
        line("0.908 shortest path to Diamond avoiding Ghost", 0.908),
        line("0.78 shortest path to Diamond ignoring Ghost", 0.78),
    ]
}

/// Two stacked panels over shared steps, the first with a fixed range.
fn routing_shares() -> Figure {
    let series = |label: &str, colour, y: &dyn Fn(f64) -> f64, seed| {
        let x = steps(180, 2.9e6);
        let y = x.iter().zip(noise(seed, 0.012)).map(|(x, e)| (y(*x) + e).clamp(0.0, 1.0)).collect();
        Series { label: label.into(), x, y, band: None, whiskers: None, colour, dash: false }
    };
    let panel = |title: &str, y_label: &str, series| Panel {
        title: title.into(),
        y_label: y_label.into(),
        series,
        reference_lines: Vec::new(),
        y_range: Some((0.0, 1.0)),
    };
    Figure {
        title: "Where gradients went, and what the gate learned".into(),
        subtitle: "routing, p = 0.1, seed 0".into(),
        x_label: "environment steps".into(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![
            panel(
                "Routes",
                "share of steps",
                vec![
                    series("diamond", Colour::Blue, &|x| 0.06 * rise(x, 4e5), 1),
                    series("ghost", Colour::Vermillion, &|x| 0.05 * rise(x, 3e5), 2),
                    series("both", Colour::Grey, &|x| 1.0 - 0.11 * rise(x, 3e5), 3),
                ],
            ),
            panel(
                "Gate",
                "mean Γ",
                vec![
                    series("steps that end on Diamond", Colour::Blue, &|x| 0.5 + 0.38 * rise(x, 8e5), 4),
                    series("steps that end on Ghost", Colour::Vermillion, &|x| 0.5 - 0.33 * rise(x, 8e5), 5),
                ],
            ),
        ],
    }
}

/// Six methods that end close together, one of them early, with a gap in another.
fn methods() -> Figure {
    let ends = [0.69, 0.72, 0.71, 0.13, 0.70, 0.05];
    let names = [
        "routing",
        "naive outcomes",
        "data filtering",
        "no gate",
        "oracle (x stretched by 1/p)",
        "no routing",
    ];
    let colours = [Colour::Blue, Colour::Orange, Colour::Green, Colour::Purple, Colour::Black, Colour::Sky];
    let mut series: Vec<Series> = (0..6)
        .map(|i| {
            let x = steps(150, if i == 2 { 1.9e6 } else { 2.9e6 });
            let errors = noise(10 + i as u64, 0.02);
            let y = x.iter().zip(errors).map(|(x, e)| ends[i] * rise(*x, 3e5 + 6e4 * i as f64) + e).collect();
            Series {
                label: names[i].into(),
                x,
                y,
                band: None,
                whiskers: None,
                colour: colours[i],
                dash: i == 4,
            }
        })
        .collect();
    series[1].y[60..75].fill(f64::NAN);
    Figure {
        title: "Methods at 10% oversight".into(),
        subtitle: "mean over 4 seeds".into(),
        x_label: "environment steps".into(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: "stepwise ground-truth return".into(),
            series,
            reference_lines: ceilings(),
            y_range: None,
        }],
    }
}

/// Few points with dots on a logarithmic axis.
fn sweep() -> Figure {
    let p = vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
    let series = |label: &str, y: [f64; 7], colour| Series {
        label: label.into(),
        x: p.clone(),
        band: Some(Band { lower: y.map(|y| y - 0.05).to_vec(), upper: y.map(|y| y + 0.05).to_vec() }),
        whiskers: None,
        y: y.to_vec(),
        colour,
        dash: false,
    };
    Figure {
        title: "Return against oversight".into(),
        subtitle: "final return, mean of 4 seeds; bands from the lowest to the highest seed".into(),
        x_label: "share of terminal cells under oversight, p".into(),
        x_scale: Scale::Log,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: "stepwise ground-truth return".into(),
            series: vec![
                series("routing", [0.05, 0.22, 0.45, 0.6, 0.69, 0.72, 0.76], Colour::Blue),
                series("naive", [0.0, 0.02, 0.08, 0.3, 0.72, 0.76, 0.8], Colour::Orange),
                series("filtering", [0.01, 0.03, 0.06, 0.25, 0.71, 0.75, 0.79], Colour::Green),
            ],
            reference_lines: ceilings(),
            y_range: None,
        }],
    }
}

/// A title that wraps, values all alike, a lone point, a panel without data and one that leaves its range.
fn awkward() -> Figure {
    let series = |label: &str, x: Vec<f64>, y: Vec<f64>, colour| Series {
        label: label.into(),
        x,
        y,
        band: None,
        whiskers: None,
        colour,
        dash: false,
    };
    let panel = |title: &str, series, y_range| Panel {
        title: title.into(),
        y_label: "value".into(),
        series,
        reference_lines: Vec::new(),
        y_range,
    };
    let x = steps(60, 30_000.0);
    let alike = series("always 3", x.clone(), vec![3.0; x.len()], Colour::Green);
    let lone = series("a lone point", vec![12_000.0], vec![3.0], Colour::Purple);
    let nothing = series("never finite", vec![1.0, 2.0], vec![f64::NAN, f64::INFINITY], Colour::Black);
    let leaves = series(
        "leaves the range",
        x.clone(),
        x.iter().map(|x| (x / 1500.0).sin() * 2.0).collect(),
        Colour::Blue,
    );
    Figure {
        title: "A title so long that it cannot stand in one line, because it names everything that was held fixed, everything that was varied and everything that was measured".into(),
        subtitle: "supercalifragilisticexpialidocious_run_name_with_no_spaces_in_it_at_all_and_a_great_many_letters_in_between_the_ends_of_it_0123456789".into(),
        x_label: "updates".into(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![
            panel("Values all alike and a lone point", vec![alike, lone], None),
            panel("Nothing finite", vec![nothing], None),
            panel("Out of range", vec![leaves], Some((-1.0, 1.0))),
        ],
    }
}

/// One level with three methods beside each other, whose intervals leave the axes, and a method that is below them.
fn one_level() -> Figure {
    let series = |label: &str, x: f64, y: f64, half: f64, colour| Series {
        label: label.into(),
        x: vec![x],
        y: vec![y],
        band: None,
        whiskers: Some(Band { lower: vec![y - half], upper: vec![y + half] }),
        colour,
        dash: false,
    };
    Figure {
        title: "One level of oversight, two seeds".into(),
        subtitle: "mean and its 95% interval, which leaves the axes where an arrow says so".into(),
        x_label: "share of terminal cells under oversight, p".into(),
        x_scale: Scale::Log,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: "stepwise ground-truth return".into(),
            series: vec![
                series("routing", 0.097, 0.7, 0.9, Colour::Blue),
                series("naive", 0.1, 0.0, 0.2, Colour::Vermillion),
                series("filtering", 0.103, 1.0, 0.1, Colour::Green),
                series("below the axes, so without a label", 0.1, -0.8, 0.1, Colour::Purple),
            ],
            reference_lines: ceilings(),
            y_range: Some((0.0, 1.0)),
        }],
    }
}

/// Snapshots of a policy as it learns, as pictures and as an animation.
fn policies(folder: &Path) -> Result<(), PlotError> {
    let frames: Vec<Image> =
        (0..=8).map(|i| snapshot(f64::from(i) / 8.0).draw()).collect::<Result<_, _>>()?;
    for index in [0, 3, 8] {
        frames[index].write_png(&folder.join(format!("policy_{index}.png")))?;
    }
    write_gif(&folder.join("policy.gif"), &frames, 300, 2000)
}

fn snapshot(learned: f64) -> PolicyPicture {
    let (diamond, ghost) = (1, 13);
    let grid = |title: &str, goal: Option<usize>, gate: bool| PolicyGrid {
        title: title.into(),
        rows: 5,
        cols: 5,
        // the last row is a wall
        probabilities: (0..25)
            .map(|cell| if cell < 20 { towards(cell, goal, learned) } else { [f64::NAN; 4] })
            .collect(),
        background: gate.then(|| {
            let nearer = |cell: usize| (distance(cell, ghost) - distance(cell, diamond)) / 5.0;
            (0..25).map(|cell| 0.5 + 0.5 * learned * nearer(cell).clamp(-1.0, 1.0)).collect()
        }),
        markers: vec![
            Marker { cell: diamond, kind: MarkerKind::Diamond },
            Marker { cell: ghost, kind: MarkerKind::Ghost },
        ],
    };
    PolicyPicture {
        caption: format!("Policy after {} updates", (learned * 4000.0) as u32),
        grids: vec![
            grid("mixture", None, true),
            grid("Diamond policy", Some(diamond), false),
            grid("Ghost policy", Some(ghost), false),
        ],
        background_label: "gate Γ".into(),
    }
}

/// Probabilities of going north, east, south and west towards a goal, or to the nearer one of two.
fn towards(cell: usize, goal: Option<usize>, learned: f64) -> [f64; 4] {
    let goal = goal.unwrap_or(if distance(cell, 1) <= distance(cell, 13) { 1 } else { 13 });
    let apart = |a: usize, b: usize| b as f64 - a as f64;
    let (down, right) = (apart(cell / 5, goal / 5), apart(cell % 5, goal % 5));
    let scores = [-down, right, down, -right].map(|score| (3.0 * learned * score.clamp(-1.0, 1.0)).exp());
    scores.map(|score| score / scores.iter().sum::<f64>())
}

fn distance(a: usize, b: usize) -> f64 {
    ((a / 5).abs_diff(b / 5) + (a % 5).abs_diff(b % 5)) as f64
}

fn steps(count: u32, end: f64) -> Vec<f64> {
    (0..count).map(|i| end * f64::from(i) / f64::from(count - 1)).collect()
}

fn rise(x: f64, time: f64) -> f64 {
    1.0 / (1.0 + (-(x - 1.6 * time) / (0.3 * time)).exp())
}

/// Made-up measurement errors: a small linear congruential generator.
fn noise(seed: u64, size: f64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(size * ((state >> 40) as f64 / f64::from(1 << 23) - 1.0))
    })
}
