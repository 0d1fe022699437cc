//! Where texts and their cache lie on this machine, from whatever folder a command is given.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use experiment::{RunFolder, create_folder, user_cache_folder};

use super::corpus::find;
use crate::Error;
use crate::config::DataSection;
use crate::results::read_json;

/// The value of `data.cache` that stands for the user's cache folder.
pub const USER_CACHE: &str = "user";

/// The user's cache, and where an earlier version kept tokens where the config did not say.
const EARLIER_OR_USERS: [&str; 2] = [USER_CACHE, "runs/cache"];

/// Who has named `data.cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheIs {
    /// Who runs the program.
    TheUsers,
    #[default]
    /// The run's own `config.toml`, which may have come from somebody else.
    TheRuns,
}

impl CacheIs {
    /// Whether the folder of these texts may be written: one that the run names and that is neither there already nor
    /// in the default place is not, which is said.
    pub(super) fn may_be_made(self, folder: &Path, data: &DataSection) -> bool {
        let may = self == Self::TheUsers
            || EARLIER_OR_USERS.contains(&data.cache.as_str())
            || fs::symlink_metadata(folder).is_ok_and(|about| about.is_dir());
        if !may {
            tracing::warn!(
                "the run's config.toml has the texts kept in {}, which is not written without --trust: they are \
                 tokenised each time",
                data.cache
            );
        }
        may
    }
}

/// The folder for tokenised documents that `data.cache` names; none where it is empty, or where this user has no cache
/// that can be written, which a warning says.
pub(super) fn cache_folder(data: &DataSection) -> Option<PathBuf> {
    match data.cache.as_str() {
        "" => None,
        USER_CACHE => of_the_user(user_cache_folder()),
        path => Some(PathBuf::from(path)),
    }
}

fn of_the_user(cache: Option<PathBuf>) -> Option<PathBuf> {
    const ADVICE: &str = "texts are prepared anew each time; `data.cache` can name a folder for them";
    let Some(folder) = cache.map(|cache| cache.join("texts")) else {
        tracing::warn!("neither XDG_CACHE_HOME nor HOME says where the user's cache is: {ADVICE}");
        return None;
    };
    match create_folder(&folder) {
        Ok(()) => Some(folder),
        Err(error) => {
            tracing::warn!("{error}: {ADVICE}");
            None
        }
    }
}

/// The file of a run folder that says where its texts lie.
pub(crate) const PLACES: &str = "texts.json";

/// Writes down where the texts of a run lie that are named by relative paths, so that they are found from another
/// folder: name and place of each.
///
/// # Errors
/// Fails where the file cannot be written.
pub(crate) fn note_places(data: &DataSection, run: &RunFolder) -> Result<(), Error> {
    let mut places = BTreeMap::new();
    for (name, place) in named(&mut data.clone()) {
        let relative = !name.is_empty() && !name.starts_with("hub:") && *name != USER_CACHE;
        // where the system does not say which folder this is, the run remembers nothing
        if let (true, Ok(place)) = (relative, std::path::absolute(place(name))) {
            places.insert(name.clone(), place);
        }
    }
    Ok(run.write_json(PLACES, &places)?)
}

/// The settings of a run with its texts where they were when it began, if they are there still. Names that the run
/// did not have stay as they are.
///
/// # Errors
/// Fails where the run's file is damaged.
pub(crate) fn placed(data: &DataSection, run: &Path) -> anyhow::Result<DataSection> {
    let mut data = data.clone();
    let places: BTreeMap<String, PathBuf> = read_json(&run.join(PLACES))?.unwrap_or_default();
    for (name, place) in named(&mut data) {
        let here = std::path::absolute(place(name)).ok();
        let place = places.get(name).filter(|place| place.exists() && here.as_ref() != Some(*place));
        if let Some(place) = place.and_then(|place| place.to_str()) {
            place.clone_into(name);
        }
    }
    Ok(data)
}

/// Where what is named lies, as seen from here.
type Place = fn(&str) -> PathBuf;

/// The settings that name files or folders, and where each is looked for: the cache is in no checkout.
fn named(data: &mut DataSection) -> [(&mut String, Place); 4] {
    let DataSection { train, validation, tokenizer, cache, .. } = data;
    [(train, find), (validation, find), (tokenizer, find), (cache, |name| PathBuf::from(name))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_run_remembers_where_its_texts_lie_while_they_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&folder.path().join("run")).unwrap();
        let mut data = Config::default().data;
        (data.train, data.validation) = ("Cargo.toml".to_owned(), "nowhere.txt".to_owned());
        note_places(&data, &run).unwrap();
        // what a command in the same folder finds by its name keeps it
        assert_eq!(placed(&data, run.path()).unwrap(), data);
        let place = folder.path().join("mine.txt");
        let places = serde_json::json!({"mine.txt": &place, "gone.txt": folder.path().join("gone.txt")});
        run.write_json(PLACES, &places).unwrap();
        fs::write(&place, "A tree.").unwrap();
        (data.train, data.validation) = ("mine.txt".to_owned(), "gone.txt".to_owned());
        let found = placed(&data, run.path()).unwrap();
        assert_eq!(found, DataSection { train: place.display().to_string(), ..data.clone() });
        // a run of an earlier version has no such file
        assert_eq!(placed(&data, folder.path()).unwrap(), data);
    }
}
