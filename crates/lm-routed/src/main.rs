//! The `lm-routed` command: see [`lm_routed::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lm_routed::cli::main()
}
