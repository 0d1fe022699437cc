//! stub
use crate::Error;
use crate::finetune::{Network, Surroundings};
/// x
pub fn measure(
    _n: &Network,
    _a: Surroundings<'_>,
    _say: impl Fn(&str) -> Result<(), Error>,
) -> Result<u8, Error> {
    Ok(0)
}
