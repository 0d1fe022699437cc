//! The `ppo-routed` command: see [`ppo_routed::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ppo_routed::cli::main()
}
