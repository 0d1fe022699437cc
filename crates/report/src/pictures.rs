//! A run's pictures as data URIs.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use experiment::read_at_most;
use serde::Serialize;

/// Bytes of pictures, packed as they are, that a page takes: a third more of text.
const MOST_BYTES: u64 = 3 << 20;

/// A picture in the page.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    /// Whose it is, and the name of its file.
    pub title: String,
    pub uri: String,
}

/// The pictures of some folders, and the files that there was no room for.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Pictures {
    pub shown: Vec<Picture>,
    pub left_out: Vec<String>,
    #[serde(skip)]
    bytes: u64,
}

impl Pictures {
    /// Adds the pictures of `folder`, whose titles begin with `of`: PNGs first, so that a large animation is what is
    /// left out.
    pub(crate) fn add(&mut self, folder: &Path, of: &str) {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut files: Vec<(bool, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let extension = path.extension()?.to_str()?.to_owned();
                matches!(extension.as_str(), "png" | "gif").then(|| (extension == "gif", path))
            })
            .collect();
        files.sort();
        for (is_gif, path) in files {
            let kind = if is_gif { "gif" } else { "png" };
            // a file that is gone or longer than all room is as good as one that there is no room for
            let room = MOST_BYTES - self.bytes;
            let Some(bytes) = read_at_most(&path, room).ok() else {
                self.left_out.push(path.display().to_string());
                continue;
            };
            self.bytes += bytes.len() as u64;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('_', " ");
            let name = if is_gif { format!("{name}, while training") } else { name };
            let title = if of.is_empty() { name } else { format!("{of}: {name}") };
            let uri = format!("data:image/{kind};base64,{}", STANDARD.encode(&bytes));
            self.shown.push(Picture { title, uri });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_in_the_page_while_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("b_c.png", 3), ("a.gif", MOST_BYTES), ("z.gif", 6), ("notes.txt", 1)] {
            fs::write(folder.path().join(name), vec![0; bytes as usize]).unwrap();
        }
        let mut pictures = Pictures::default();
        pictures.add(folder.path(), "run");
        pictures.add(&folder.path().join("nowhere"), "");
        let titles: Vec<&str> = pictures.shown.iter().map(|picture| picture.title.as_str()).collect();
        assert_eq!(titles, ["run: b c", "run: z, while training"]);
        assert_eq!(pictures.shown[0].uri, "data:image/png;base64,AAAA");
        assert_eq!(pictures.left_out, [folder.path().join("a.gif").display().to_string()]);
    }
}
