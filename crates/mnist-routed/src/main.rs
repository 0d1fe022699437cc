//! The `mnist-routed` command: see [`mnist_routed::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mnist_routed::cli::main()
}
