//! The `ppo-routed` command line.
fn main() {}
