//! Numbers that have to be numbers.

use std::fmt::Write as _;

/// A loss or gradient that is NaN or infinite, with all that was watched beside it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{what} is {value} ({all})")]
pub struct NotFinite {
    /// Which number, such as `the value loss`.
    pub what: String,
    /// Its value.
    pub value: f64,
    /// Every watched number with its name.
    pub all: String,
}

/// Refuses numbers of which one is NaN or infinite.
///
/// ```
/// use learning::require_finite;
///
/// assert!(require_finite(&[("the loss", 0.5), ("the gradient's norm", 2.0)]).is_ok());
/// let fault = require_finite(&[("the loss", 0.5), ("the gradient's norm", f64::NAN)]).unwrap_err();
/// assert_eq!(fault.to_string(), "the gradient's norm is NaN (the loss 5.000e-1, the gradient's norm NaN)");
/// ```
///
/// # Errors
/// [`NotFinite`] for the first that is, with all of them.
pub fn require_finite<N: AsRef<str>>(watched: &[(N, f64)]) -> Result<(), NotFinite> {
    let Some((what, value)) = watched.iter().find(|(_, value)| !value.is_finite()) else { return Ok(()) };
    let mut all = String::new();
    for (name, value) in watched {
        let comma = if all.is_empty() { "" } else { ", " };
        // writing into a string cannot fail
        write!(all, "{comma}{} {value:.3e}", name.as_ref()).ok();
    }
    Err(NotFinite { what: what.as_ref().to_owned(), value: *value, all })
}
