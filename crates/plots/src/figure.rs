use std::path::Path;

use crate::{Colour, Image, PlotError, curves};

/// One line of a panel.
///
/// A point whose `x` or `y` is not finite, is larger than 10³⁰⁰ either way, or is not above 0 on a
/// logarithmic axis, leaves a gap in the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name, written at the right end of the line; empty for none.
    pub label: String,
    /// Where the points lie on the x-axis.
    pub x: Vec<f64>,
    /// Where they lie on the y-axis, one for each `x`.
    pub y: Vec<f64>,
    /// The uncertainty around the line, if it is known.
    pub band: Option<Band>,
    /// The uncertainty of each point, drawn as a bar with ends: for few points, where bands of several lines would
    /// cover each other.
    pub whiskers: Option<Band>,
    /// The colour of line and band.
    pub colour: Colour,
    /// Whether the line is dashed.
    pub dash: bool,
}

/// The uncertainty around a line: an interval, quantiles or extremes.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The lower edge, one value for each point of the series.
    pub lower: Vec<f64>,
    /// The upper edge, one value for each point of the series.
    pub upper: Vec<f64>,
}

/// A thin horizontal line that a curve is read against, with its name written on it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceLine {
    /// What the line stands for.
    pub label: String,
    /// Its height on the y-axis.
    pub y: f64,
}

/// One pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Written in bold above the axes; empty for none.
    pub title: String,
    /// What the y-axis measures, with its unit; empty for none.
    pub y_label: String,
    /// The lines, later ones over earlier ones.
    pub series: Vec<Series>,
    /// The lines to read them against.
    pub reference_lines: Vec<ReferenceLine>,
    /// Bottom and top of the y-axis; `None` fits series, bands and reference lines. On a logarithmic axis both are above 0.
    pub y_range: Option<(f64, f64)>,
}

/// How a value becomes a place on an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equally long.
    #[default]
    Linear,
    /// Equal ratios are equally long.
    Log,
}

/// A picture of curves: panels one above the other over a shared x-axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What the picture shows; empty for none. Long titles wrap.
    pub title: String,
    /// What one needs to know to read it (settings, seeds, what a band means); empty for none.
    pub subtitle: String,
    /// What the x-axis measures, with its unit; empty for none.
    pub x_label: String,
    /// The scale of the x-axis.
    pub x_scale: Scale,
    /// The scale of every panel's y-axis.
    pub y_scale: Scale,
    /// The axes, from the top.
    pub panels: Vec<Panel>,
}

impl Figure {
    /// A figure of one panel on a linear axis, without subtitle and reference lines.
    pub fn of_panel(title: &str, x_label: &str, y_label: &str, series: impl Into<Vec<Series>>) -> Self {
        let panel = Panel {
            title: String::new(),
            y_label: y_label.to_owned(),
            series: series.into(),
            reference_lines: Vec::new(),
            y_range: None,
        };
        Self {
            title: title.to_owned(),
            subtitle: String::new(),
            x_label: x_label.to_owned(),
            x_scale: Scale::Linear,
            y_scale: Scale::Linear,
            panels: vec![panel],
        }
    }

    /// Draws the figure and writes it as a PNG; the file appears whole or not at all.
    ///
    /// # Errors
    /// Those of [`draw`](Self::draw) and of [`Image::write_png`].
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        self.draw()?.write_png(path)
    }

    /// Draws the figure: 1200 pixels wide and at least 720 high, higher where many panels, labels or lines of
    /// text need it. The same figure always gives the same pixels.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without panels or for a series without points, [`PlotError::LengthMismatch`] when
    /// `x`, `y` and band of a series differ in length, [`PlotError::OutOfRange`] for a `y_range` that does not
    /// rise or has no place on a logarithmic axis or a reference line that is not finite, [`PlotError::TooLarge`] for far too many panels, series or
    /// letters.
    pub fn draw(&self) -> Result<Image, PlotError> {
        self.check()?;
        curves::draw(self)
    }

    fn check(&self) -> Result<(), PlotError> {
        if self.panels.is_empty() {
            return Err(PlotError::Empty {
                what: format!("the list of panels of figure `{}`", self.title),
                remedy: "give it at least one panel",
            });
        }
        self.panels.iter().try_for_each(|panel| panel.check(self.y_scale))
    }
}

impl Panel {
    fn check(&self, scale: Scale) -> Result<(), PlotError> {
        if let Some(range) = self.y_range {
            let what = || format!("the y-range of panel `{}`", self.title);
            check_range(range, what)?;
            if scale == Scale::Log && range.0 < 1e-300 {
                let value = format!("({}, {})", range.0, range.1);
                let allowed = "pairs of numbers above 0 on a logarithmic axis".to_owned();
                return Err(PlotError::OutOfRange { what: what(), value, allowed });
            }
        }
        check_reference_lines(&self.reference_lines)?;
        self.series.iter().try_for_each(Series::check)
    }
}

impl Series {
    fn check(&self) -> Result<(), PlotError> {
        if self.x.is_empty() {
            return Err(PlotError::Empty {
                what: format!("`x` of series `{}`", self.label),
                remedy: "leave the series out or give it a point",
            });
        }
        self.check_length("y", &self.y)?;
        for (field, band) in [("band", &self.band), ("whiskers", &self.whiskers)] {
            if let Some(band) = band {
                self.check_length(&format!("{field}.lower"), &band.lower)?;
                self.check_length(&format!("{field}.upper"), &band.upper)?;
            }
        }
        Ok(())
    }

    fn check_length(&self, field: &str, values: &[f64]) -> Result<(), PlotError> {
        if values.len() == self.x.len() {
            return Ok(());
        }
        Err(PlotError::LengthMismatch {
            what: format!("`{field}` of series `{}`", self.label),
            expected: self.x.len(),
            found: values.len(),
        })
    }
}

/// Whether a number has a place on an axis. The limit keeps the length of an axis finite.
pub(crate) fn drawable(value: f64) -> bool {
    value.abs() <= 1e300
}

/// Refuses ends of an axis, or of a range of colours, that do not rise.
pub(crate) fn check_range((low, high): (f64, f64), what: impl Fn() -> String) -> Result<(), PlotError> {
    if drawable(low) && drawable(high) && high - low > 1e-300 {
        return Ok(());
    }
    Err(PlotError::OutOfRange {
        what: what(),
        value: format!("({low}, {high})"),
        allowed: "pairs of finite numbers of which the second is larger".to_owned(),
    })
}

/// Refuses reference lines that have no place on an axis.
pub(crate) fn check_reference_lines(lines: &[ReferenceLine]) -> Result<(), PlotError> {
    match lines.iter().find(|line| !drawable(line.y)) {
        Some(line) => Err(PlotError::OutOfRange {
            what: format!("the height of reference line `{}`", line.label),
            value: line.y.to_string(),
            allowed: "the finite numbers up to 1e300".to_owned(),
        }),
        None => Ok(()),
    }
}
