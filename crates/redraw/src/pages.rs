//! All pages: brought up to date, or compared with what they would be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::UserError;

use crate::blocks::Blocks;
use crate::make::Made;
use crate::page::Page;

/// A page that has blocks.
struct Found {
    /// Below the root.
    path: PathBuf,
    text: String,
}

/// Everything that the pages hold, made anew.
struct Fresh {
    pages: Vec<Found>,
    made: BTreeMap<String, Made>,
}

/// Writes every block of every page, and the pictures that they show; returns what has changed.
///
/// # Errors
/// Fails where a block cannot be made, in which case nothing is changed, or a file cannot be written.
pub fn redraw(root: &Path) -> Result<Vec<PathBuf>> {
    let fresh = Fresh::make(root)?;
    let mut changed = Vec::new();
    let mut write = |path: PathBuf, bytes: &[u8]| -> Result<()> {
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            experiment::write_atomic(&path, bytes)?;
            changed.push(path);
        }
        Ok(())
    };
    experiment::create_folder(&root.join(IMAGES))?;
    for (name, made) in &fresh.made {
        if let Made::Figure { png, .. } = made {
            write(root.join(image(name)), png)?;
        }
    }
    for Found { path, text } in &fresh.pages {
        let page = Page::parse(text).map_err(|fault| unreadable(path, &fault))?;
        write(root.join(path), page.with(|name| fresh.content(path, name)).as_bytes())?;
    }
    Ok(changed)
}

/// Compares every block and picture with what it would be; returns how many blocks there are.
///
/// # Errors
/// Names each page and block that differs, and each picture; fails where a block cannot be made.
pub fn check(root: &Path) -> Result<usize> {
    let fresh = Fresh::make(root)?;
    let (mut differing, mut count) = (Vec::new(), 0);
    for Found { path, text } in &fresh.pages {
        for (name, content) in Page::parse(text).map_err(|fault| unreadable(path, &fault))?.blocks() {
            count += 1;
            if content != fresh.content(path, name) {
                differing.push(format!("block {name} of {}", path.display()));
            }
        }
    }
    for (name, made) in &fresh.made {
        if let Made::Figure { png, .. } = made
            && fs::read(root.join(image(name))).ok().as_ref() != Some(png)
        {
            differing.push(image(name).display().to_string());
        }
    }
    if differing.is_empty() {
        return Ok(count);
    }
    let message = format!("not what the result files say: {}", differing.join(", "));
    Err(UserError::failed(message).with_hint("`redraw` writes them anew").into())
}

const IMAGES: &str = "docs/images";

/// The picture of a block, below the root.
fn image(name: &str) -> PathBuf {
    Path::new(IMAGES).join(format!("{name}.png"))
}

fn unreadable(path: &Path, fault: &str) -> UserError {
    UserError::failed(format!("{} {fault}", path.display()))
}

/// Whatever a block cannot be made for, the command was right: it failed.
fn unmade(place: &str, error: &anyhow::Error) -> UserError {
    let hint = error.downcast_ref::<UserError>().and_then(|error| error.hint.clone());
    UserError { hint, ..UserError::failed(format!("{place}: {error:#}")) }
}

impl Fresh {
    fn make(root: &Path) -> Result<Self> {
        let (blocks, pages) = (Blocks::read(root)?, pages(root)?);
        let mut made = BTreeMap::new();
        for Found { path, text } in &pages {
            for (name, _) in Page::parse(text).map_err(|fault| unreadable(path, &fault))?.blocks() {
                let place = || format!("block {name} of {}", path.display());
                let Some(block) = blocks.get(name) else {
                    let message = format!("{}: docs/results/blocks.toml has no such block", place());
                    return Err(UserError::failed(message).into());
                };
                if !made.contains_key(name) {
                    let of_files = block.make(root);
                    made.insert(name.to_owned(), of_files.map_err(|error| unmade(&place(), &error))?);
                }
            }
        }
        Ok(Self { pages, made })
    }

    /// What stands in a page between the comments of a block.
    fn content(&self, page: &Path, name: &str) -> String {
        match self.made.get(name) {
            Some(Made::Value(value)) => value.clone(),
            Some(Made::Table(table)) => format!("\n\n{table}\n"),
            Some(Made::Figure { alt, .. }) => {
                // pages stand in docs/ or above it
                let image = image(name);
                let below =
                    page.parent().and_then(|folder| image.strip_prefix(folder).ok()).unwrap_or(&image);
                let slashes: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                format!("\n\n![{alt}]({})\n\n", slashes.join("/"))
            }
            None => String::new(),
        }
    }
}

/// The Markdown files of the root and of docs/, by their paths below the root.
fn pages(root: &Path) -> Result<Vec<Found>> {
    let mut paths = Vec::new();
    for folder in ["", "docs"] {
        let listed = || format!("cannot list {}", root.join(folder).display());
        for entry in fs::read_dir(root.join(folder)).with_context(listed)? {
            let path = Path::new(folder).join(entry.with_context(listed)?.file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| -> Result<Found> {
        let text = fs::read_to_string(root.join(&path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Found { path, text })
    };
    paths.into_iter().map(read).collect()
}
