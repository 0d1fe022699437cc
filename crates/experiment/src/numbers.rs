//! Numbers as people read them.

/// A number with so many decimals; what rounds to zero has no sign.
///
/// ```
/// assert_eq!(experiment::decimals(-0.0004, 3), "0.000");
/// assert_eq!(experiment::decimals(-0.0005, 3), "-0.001");
/// ```
pub fn decimals(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(size) if size.chars().all(|letter| matches!(letter, '0' | '.')) => size.to_owned(),
        _ => text,
    }
}

/// As [`decimals`], with a plus before what is above zero.
///
/// ```
/// assert_eq!(experiment::signed_decimals(0.25, 3), "+0.250");
/// assert_eq!(experiment::signed_decimals(-0.0004, 3), "0.000");
/// ```
pub fn signed_decimals(value: f64, digits: usize) -> String {
    let text = decimals(value, digits);
    if value > 0.0 { format!("+{text}") } else { text }
}
