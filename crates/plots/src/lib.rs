//! Pictures of curves and policies, drawn without system fonts. Knows data, not experiments.
//!
//! A [`Figure`] is panels of curves over a shared x-axis, a [`PolicyPicture`] is grids of arrows, and
//! [`write_gif`] makes an animation from pictures in memory. All are plain data: fill the fields and draw.
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
pub use policy::{Marker, MarkerKind, PolicyGrid, PolicyPicture};
