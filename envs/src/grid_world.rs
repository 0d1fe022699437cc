//! What the gridworlds of this crate can beyond the contract of every environment.

use crate::{EnvConfig, EnvError, EnvId, Layout, VectorEnv};

/// A batch of one of the gridworlds that [`make`](crate::make) knows: a [`VectorEnv`] that can be looked into, set up
/// and drawn.
///
/// Actions are `0` north, `1` east, `2` south, `3` west; an observation is `MultiBinary`, of shape
/// `[planes, rows, cols]`. A batch fresh from [`make`](crate::make) has been reset under seed 0.
pub trait GridWorld: VectorEnv {
    /// Which environment this is.
    fn id(&self) -> EnvId;

    /// The settings it was made with.
    fn config(&self) -> &EnvConfig;

    /// Where everything is in environment `index`.
    ///
    /// # Panics
    /// If there is no such environment.
    fn layout(&self, index: usize) -> Layout;

    /// Puts everything in environment `index` where `layout` says. Its random stream stays as it is.
    ///
    /// The distances that `WalledOversightGrid-v0` keeps when it draws a layout need not be kept here.
    ///
    /// # Errors
    /// [`EnvError::Index`] if there is no such environment, [`EnvError::Layout`] if it cannot be in that layout;
    /// nothing is changed then.
    fn set_layout(&mut self, index: usize, layout: &Layout) -> Result<(), EnvError>;

    /// Environment `index` as a picture, `[rows * CELL_PIXELS, cols * CELL_PIXELS, 3]`; the legend stands at
    /// [`Layout::render_rgb`].
    ///
    /// # Panics
    /// If there is no such environment.
    fn render_rgb(&self, index: usize) -> ndarray::Array3<u8>;
}
