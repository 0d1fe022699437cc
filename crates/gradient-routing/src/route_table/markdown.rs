//! The table as people read it.

use std::fmt;

use super::{Class, RouteTable, Semantics, Site};

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Activations => "at activations",
            Self::Parameters(Semantics::ZeroGradient) => "at parameters, where 0 is a gradient of zeros",
            Self::Parameters(Semantics::Frozen) => "at parameters, where 0 freezes",
        })
    }
}

impl fmt::Display for RouteTable {
    /// The Markdown of [`RouteTable::to_markdown`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Gradient weights {}:\n", self.site)?;
        let groups = || self.groups.iter().map(|group| escaped(&group.name));
        header(f, ["class".to_owned(), "loss".to_owned()].into_iter().chain(groups()))?;
        for class in &self.classes {
            let head = [escaped(&class.name), class.loss_weight.to_string()].into_iter();
            row(f, head.chain((0..self.groups.len()).map(|group| cell(class, group))))?;
        }
        if self.profiles.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        header(f, std::iter::once("profile".to_owned()).chain(groups()))?;
        for profile in &self.profiles {
            let kept = |group| if profile.keep.contains(&group) { "kept" } else { "" };
            let kept = (0..self.groups.len()).map(|group| kept(group).to_owned());
            row(f, std::iter::once(escaped(&profile.name)).chain(kept))?;
        }
        Ok(())
    }
}

/// The gradient weight, with the forward weight where that is not 1.
fn cell(class: &Class, group: usize) -> String {
    let (forward, gradient) = (class.forward[group], class.gradient[group]);
    #[expect(clippy::float_cmp, reason = "1 is what leaves the forward pass alone, and nothing near it")]
    let plain = forward == 1.0;
    if plain { gradient.to_string() } else { format!("{gradient}, forward {forward}") }
}

/// A row, and the rule that Markdown wants under the first.
fn header(f: &mut fmt::Formatter<'_>, cells: impl Iterator<Item = String>) -> fmt::Result {
    let cells = cells.collect::<Vec<_>>();
    let rule = "---|".repeat(cells.len());
    row(f, cells.into_iter())?;
    writeln!(f, "|{rule}")
}

fn row(f: &mut fmt::Formatter<'_>, cells: impl Iterator<Item = String>) -> fmt::Result {
    f.write_str("|")?;
    for cell in cells {
        write!(f, " {cell} |")?;
    }
    writeln!(f)
}

/// A name that does not end its cell.
fn escaped(name: &str) -> String {
    name.replace('|', "\\|").replace('\n', " ")
}
