use std::path::Path;

use crate::figure::{check_range, check_reference_lines};
use crate::{Band, Colour, Image, PlotError, ReferenceLine, bars};

/// One bar in every group of a panel.
///
/// A value that is not finite, or is larger than 10³⁰⁰ either way, leaves its bar and whisker out; such an end
/// of an interval leaves the whisker out.
#[derive(Clone, Debug, PartialEq)]
pub struct BarSeries {
    /// Its name in the legend; empty for none.
    pub label: String,
    /// The colour of its bars.
    pub colour: Colour,
    /// The ends of its bars on the y-axis, one for each group.
    pub values: Vec<f64>,
    /// The uncertainty of the values in units of the y-axis (not as differences from them), drawn as whiskers:
    /// one lower and one upper end for each group.
    pub interval: Option<Band>,
}

/// One pair of axes with groups of bars.
#[derive(Clone, Debug, PartialEq)]
pub struct BarPanel {
    /// Written in bold above the axes; empty for none.
    pub title: String,
    /// What the y-axis measures, with its unit; empty for none.
    pub y_label: String,
    /// The names of the groups, from the left; they wrap and, where they must, are written smaller.
    pub groups: Vec<String>,
    /// The bars of each group, from the left.
    pub series: Vec<BarSeries>,
    /// The lines to read them against, named at the right of the axes.
    pub reference_lines: Vec<ReferenceLine>,
    /// Bottom and top of the y-axis; `None` fits zero, bars, whiskers and reference lines. Where zero is
    /// outside, bars grow from the end that is nearer to it.
    pub y_range: Option<(f64, f64)>,
}

/// A picture of grouped bars: panels one above the other. Where all panels have the same series, one legend
/// stands above them; otherwise each has its own.
#[derive(Clone, Debug, PartialEq)]
pub struct BarChart {
    /// What the picture shows; empty for none. Long titles wrap.
    pub title: String,
    /// What one needs to know to read it (settings, seeds, what a whisker means); empty for none.
    pub subtitle: String,
    /// The axes, from the top.
    pub panels: Vec<BarPanel>,
}

impl BarChart {
    /// Draws the chart and writes it as a PNG; the file appears whole or not at all.
    ///
    /// # Errors
    /// Those of [`draw`](Self::draw) and of [`Image::write_png`].
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        self.draw()?.write_png(path)
    }

    /// Draws the chart: 1200 pixels wide and at least 720 high, wider where many bars and higher where many
    /// panels or lines of text need it. The same chart always gives the same pixels.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without panels or for a panel without groups or series,
    /// [`PlotError::LengthMismatch`] when a series does not have a value and an interval for each group,
    /// [`PlotError::OutOfRange`] for a `y_range` that does not rise or a reference line that is not finite,
    /// [`PlotError::TooLarge`] for far too many panels, bars or letters.
    pub fn draw(&self) -> Result<Image, PlotError> {
        self.check()?;
        bars::draw(self)
    }

    fn check(&self) -> Result<(), PlotError> {
        if self.panels.is_empty() {
            return Err(PlotError::Empty {
                what: format!("the list of panels of bar chart `{}`", self.title),
                remedy: "give it at least one panel",
            });
        }
        self.panels.iter().try_for_each(BarPanel::check)
    }
}

impl BarPanel {
    fn check(&self) -> Result<(), PlotError> {
        let lists = [
            ("groups", self.groups.is_empty(), "give it at least one group"),
            ("series", self.series.is_empty(), "give it at least one series"),
        ];
        for (list, empty, remedy) in lists {
            if empty {
                return Err(PlotError::Empty {
                    what: format!("`{list}` of bar panel `{}`", self.title),
                    remedy,
                });
            }
        }
        if let Some(range) = self.y_range {
            check_range(range, || format!("the y-range of bar panel `{}`", self.title))?;
        }
        check_reference_lines(&self.reference_lines)?;
        self.series.iter().try_for_each(|series| series.check(self.groups.len()))
    }
}

impl BarSeries {
    fn check(&self, groups: usize) -> Result<(), PlotError> {
        self.check_length("values", groups, &self.values)?;
        self.interval.as_ref().map_or(Ok(()), |interval| {
            self.check_length("interval.lower", groups, &interval.lower)?;
            self.check_length("interval.upper", groups, &interval.upper)
        })
    }

    fn check_length(&self, field: &str, expected: usize, values: &[f64]) -> Result<(), PlotError> {
        if values.len() == expected {
            return Ok(());
        }
        let what = format!("`{field}` of bar series `{}`", self.label);
        Err(PlotError::LengthMismatch { what, expected, found: values.len() })
    }
}
