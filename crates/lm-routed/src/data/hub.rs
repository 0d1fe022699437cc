//! Files from the Hugging Face hub, by its client library.

use std::path::PathBuf;

use hf_hub::api::sync::Api;

use crate::Error;

/// The local path of `OWNER/DATASET/FILE`, fetched into the hub's own cache where it is not there yet.
pub(super) fn fetch(name: &str) -> Result<PathBuf, Error> {
    let fault = |fault: String| Error::Corpus { path: PathBuf::from(format!("hub:{name}")), fault };
    let mut parts = name.splitn(3, '/');
    let (Some(owner), Some(dataset), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(fault("a file of the hub is named hub:OWNER/DATASET/FILE".to_owned()));
    };
    let api = Api::new().map_err(|error| fault(error.to_string()))?;
    api.dataset(format!("{owner}/{dataset}")).get(file).map_err(|error| fault(error.to_string()))
}
