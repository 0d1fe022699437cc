//! Pictures of curves, bars, images, matrices and policies, drawn without system fonts. Knows data, not
//! experiments.
//!
//! | picture | shows |
//! |---|---|
//! | [`Figure`] | panels of curves with bands over a shared x-axis |
//! | [`BarChart`] | panels of grouped bars with whiskers |
//! | [`ImageGrid`] | rows of small grey images under labelled columns |
//! | [`Heatmap`] | a matrix with every number written in a cell of its tint |
//! | [`PolicyPicture`] | grids with arrows of action probabilities |
//!
//! All are plain data: fill the fields, then `draw` into memory or `write_png`. [`write_gif`] makes an animation
//! from pictures in memory. Colours are told apart with any common colour blindness; texts wrap, and a picture
//! grows before it cuts one.
//!
//! ```
//! use plots::{Colour, Figure, Panel, ReferenceLine, Scale, Series};
//!
//! let steps: Vec<f64> = (0..=20).map(|i| f64::from(i) * 1e5).collect();
//! let figure = Figure {
//!     title: "Return while training".into(),
//!     subtitle: String::new(),
//!     x_label: "environment steps".into(),
//!     x_scale: Scale::Linear,
//!     y_scale: Scale::Linear,
//!     panels: vec![Panel {
//!         title: String::new(),
//!         y_label: "return".into(),
//!         series: vec![Series {
//!             label: "routed".into(),
//!             y: steps.iter().map(|step| 1.0 - (-step / 4e5).exp()).collect(),
//!             x: steps,
//!             band: None,
//!             whiskers: None,
//!             colour: Colour::Blue,
//!             dash: false,
//!         }],
//!         reference_lines: vec![ReferenceLine { label: "best possible".into(), y: 1.0 }],
//!         y_range: None,
//!     }],
//! };
//! let image = figure.draw()?; // or figure.write_png(path)
//! assert_eq!((image.width, image.height), (1200, 720));
//! # Ok::<(), plots::PlotError>(())
//! ```
//!
//! Bars, here with whiskers from the lowest to the highest of several seeds:
//!
//! ```
//! use plots::{Band, BarChart, BarPanel, BarSeries, Colour};
//!
//! let series = |label: &str, colour, values: [f64; 2]| BarSeries {
//!     label: label.into(),
//!     colour,
//!     values: values.to_vec(),
//!     interval: Some(Band {
//!         lower: values.map(|value| value - 0.1).to_vec(),
//!         upper: values.map(|value| value + 0.1).to_vec(),
//!     }),
//! };
//! let chart = BarChart {
//!     title: "Loss before and after ablation".into(),
//!     subtitle: "mean of 4 seeds, whiskers from the lowest to the highest".into(),
//!     panels: vec![BarPanel {
//!         title: String::new(),
//!         y_label: "validation loss (nats per token)".into(),
//!         groups: vec!["forget set".into(), "retain set".into()],
//!         series: vec![
//!             series("before", Colour::Blue, [1.6, 1.5]),
//!             series("after", Colour::Vermillion, [2.7, 1.6]),
//!         ],
//!         reference_lines: Vec::new(),
//!         y_range: None,
//!     }],
//! };
//! assert_eq!(chart.draw()?.width, 1200);
//! # Ok::<(), plots::PlotError>(())
//! ```
//!
//! The letters are those of Inter, bundled in `assets/` under the SIL Open Font License.
#![warn(missing_docs)]

mod animation;
mod arrows;
mod bar_chart;
mod bars;
mod canvas;
mod cells;
mod colour;
mod colour_bar;
mod curves;
mod end_labels;
mod error;
mod figure;
mod heatmap;
mod image;
mod image_grid;
mod legend;
mod numbers;
mod placing;
mod policy;
mod sheet;
mod stretches;
mod text;
mod ticks;
mod tiles;

pub use animation::write_gif;
pub use bar_chart::{BarChart, BarPanel, BarSeries};
pub use colour::Colour;
pub use error::PlotError;
pub use figure::{Band, Figure, Panel, ReferenceLine, Scale, Series};
pub use heatmap::Heatmap;
pub use image::Image;
pub use image_grid::{ImageGrid, ImageRow};
pub use numbers::rounded;
pub use policy::{Marker, MarkerKind, PolicyGrid, PolicyPicture};
pub use ticks::{Axis, Tick};
