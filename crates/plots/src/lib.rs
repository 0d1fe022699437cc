//! Curves with bands, bars, image grids, policy arrows and GIFs, without system fonts
