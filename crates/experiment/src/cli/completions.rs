//! The verb `completions`.

use clap::CommandFactory;
use clap_complete::Shell;

/// The completion script of a binary for a shell.
pub fn completions<C: CommandFactory>(shell: Shell) -> String {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
