//! Files from the Hugging Face hub, by its client library.

use std::path::PathBuf;

use hf_hub::api::sync::Api;

use crate::Error;

/// The local folder of `OWNER/MODEL` with its config, tokenizer and weights, fetched into the hub's own cache where they
/// are not there yet.
pub(super) fn fetch_model(name: &str) -> Result<PathBuf, Error> {
    let fault = |fault: String| Error::Corpus { path: PathBuf::from(format!("hub:{name}")), fault };
    if name.split('/').count() != 2 {
        return Err(fault("a model of the hub is named hub:OWNER/MODEL".to_owned()));
    }
    let repo = Api::new().map_err(|error| fault(error.to_string()))?.model(name.to_owned());
    let get = |file: &str| repo.get(file).map_err(|error| fault(format!("{file}: {error}")));
    let config = get("config.json")?;
    // a model without one is still described
    get("tokenizer.json").ok();
    if get("model.safetensors").is_err() {
        let index = get("model.safetensors.index.json")?;
        for shard in pretrained::shard_names(&index).map_err(|error| fault(error.to_string()))? {
            get(&shard)?;
        }
    }
    config.parent().map(PathBuf::from).ok_or_else(|| fault("its config is in no folder".to_owned()))
}

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
