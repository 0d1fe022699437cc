//! stub
use crate::Error;
use crate::data::Dataset;
use crate::finetune::{Network, Surroundings};
use std::path::Path;
/// x
pub fn read_tokens(_path: &Path) -> Result<Vec<String>, Error> {
    Ok(vec![])
}
/// x
pub fn known_tokens(_dataset: &Dataset, _tokens: &[String]) -> Result<Vec<u16>, Error> {
    Ok(vec![])
}
/// x
pub fn measure(
    _n: &Network,
    _a: Surroundings<'_>,
    _t: &[u16],
    _say: impl Fn(&str) -> Result<(), Error>,
) -> Result<u8, Error> {
    Ok(0)
}
