//! Where this machine keeps what can be made or fetched again.

use std::env;
use std::path::PathBuf;

/// The folder of Signalbox in the user's cache: `$XDG_CACHE_HOME/signalbox`, or else `~/.cache/signalbox`; none where
/// neither variable holds an absolute path. It need not be there yet.
pub fn user_cache_folder() -> Option<PathBuf> {
    let folder = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("signalbox"))
}
