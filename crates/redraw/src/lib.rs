//! Every measured table and figure of the pages, made from result files: a page cannot say what no file holds.
//!
//! A page marks a block by `<!-- results: NAME -->` and `<!-- end -->`; what stands between is made here.
//! `docs/results/blocks.toml` says for each name which result files it is made of, which of their runs, and which
//! table or figure of their program it shows. Figures are drawn as `docs/images/NAME.png`.
//!
//! | to | use |
//! |---|---|
//! | know what the blocks are | [`Blocks`], [`Block`] |
//! | make one | [`Block::make`] |
//! | find the blocks of a page | [`Page`] |
//! | bring all pages up to date, or see whether they are | [`redraw`], [`check`] |
#![warn(missing_docs)]

mod blocks;
pub mod cli;
mod make;
mod page;
mod pages;
mod scale;

pub use blocks::{Block, Blocks, ProgramName, Shows};
pub use make::Made;
pub use page::{Page, Piece};
pub use pages::{check, redraw};
