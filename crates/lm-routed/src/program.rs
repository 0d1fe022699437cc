//! The experiments as a program of the driver: what they need to begin, how they go on, and what is left at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use experiment::driver::{BuildContext, Finished, FinishedRun, Program, ResumePoint};
use experiment::{Activity, RunFolder, SeedStreams, UserError};
use serde_json::{Value, json};

use crate::Error;
use crate::config::{ConceptSection, Config, DataSection, Experiment};
use crate::data::{CacheIs, Dataset, Documents, PLACES, note_places, placed, with_words};
use crate::methods::{Part, Start};
use crate::parts::{Parts, Shared};
use crate::{finetune, localise, report, steer};

/// Models of a language, trained one after another on texts that are read once.
#[derive(Default)]
pub struct Language {
    /// The token list of `virology`; one that goes on has it in its folder.
    tokens: Vec<String>,
    /// The file that the list was read from, where each run of a sweep has to read it.
    list: Option<PathBuf>,
    /// Whether it says on stderr what it does with the texts.
    telling: bool,
    texts: Mutex<Option<Texts>>,
    /// Who has named the cache of a run that goes on.
    cache: CacheIs,
}

/// Texts with what was asked for: the documents, the concepts, the tokens that are seen.
type Texts = ((DataSection, Vec<ConceptSection>, usize), Arc<Dataset>);

/// The file with the token list in a run folder.
const TOKENS: &str = "tokens.txt";

impl Language {
    /// With the token list of `virology`, which is empty for other experiments.
    pub fn new(tokens: Vec<String>) -> Self {
        Self { tokens, ..Self::default() }
    }

    /// To go on with a run whose cache `cache` has named.
    pub fn reading(cache: CacheIs) -> Self {
        Self { cache, ..Self::default() }
    }

    /// With the token list of `virology` in a file.
    ///
    /// # Errors
    /// Fails where that cannot be read or lists no token.
    pub fn with_list(list: PathBuf) -> Result<Self, Error> {
        Ok(Self { tokens: localise::read_tokens(&list)?, list: Some(list), ..Self::default() })
    }

    /// Says on stderr, unless `quiet`, that texts are being prepared, and what is trained and validated on.
    #[must_use]
    pub fn telling(self, quiet: bool) -> Self {
        Self { telling: !quiet, ..self }
    }

    /// The file with the token list.
    pub(crate) fn list(&self) -> Option<&Path> {
        self.list.as_deref()
    }

    /// The tokens of the list.
    pub(crate) fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The texts of a run. Computes on the current thread pool.
    fn texts(&self, config: &Config, run: &Path, cache: CacheIs) -> Result<Arc<Dataset>> {
        let asked = (placed(&config.data, run)?, config.concepts(), config.model.block_size);
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, dataset)) = texts.as_ref().filter(|(of, _)| *of == asked) {
            return Ok(Arc::clone(dataset));
        }
        let (data, concepts, seen) = &asked;
        let dataset = Arc::new(prepared(data, concepts, *seen, cache, !self.telling)?);
        if self.telling {
            experiment::say(&format!("texts: {}", what_for(&config.data, &dataset)));
        }
        *texts = Some((asked, Arc::clone(&dataset)));
        Ok(dataset)
    }

    fn begun(
        &self,
        config: &Config,
        cx: &BuildContext<'_>,
        tokens: &[String],
        cache: CacheIs,
    ) -> Result<Parts> {
        if config.experiment.kind == Experiment::Adapt {
            let error = UserError::usage("an experiment of the kind \"adapt\" is for its own verb");
            return Err(error.with_hint("lm-routed adapt BASE --config FILE").into());
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(cx.threads).build();
        let pool = Arc::new(pool.context("starting threads")?);
        let dataset = pool.install(|| self.texts(config, cx.folder, cache));
        let listing = config.experiment.kind == Experiment::Virology;
        let dataset = dataset.map_err(|error| if listing { of_the_list(error) } else { error })?;
        let listed = localise::known_tokens(&dataset, tokens);
        if config.experiment.kind == Experiment::Steer {
            steer::token_of(config, &dataset).map_err(Error::for_user)?;
        }
        if config.experiment.kind == Experiment::Virology && listed.is_empty() {
            let error = UserError::usage("`virology` needs tokens that are in the vocabulary");
            return Err(error.with_hint("list them one a line in a file and give it with --tokens").into());
        }
        // hours before they are needed
        require_held_out(config, &dataset, cx.seed).map_err(Error::for_user)?;
        let concept = with_words(&config.concept).map_err(Error::for_user)?;
        Ok(Parts::new(&Config { concept, ..config.clone() }, cx, Shared { pool, dataset, listed }))
    }

    fn resumed(
        &self,
        config: &Config,
        cx: &BuildContext<'_>,
        checkpoint: Option<&ResumePoint>,
    ) -> Result<Parts> {
        let tokens = match config.experiment.kind {
            Experiment::Virology => localise::read_tokens(&cx.folder.join(TOKENS))?,
            _ => Vec::new(),
        };
        let mut parts = self.begun(config, cx, &tokens, self.cache)?;
        // a damaged result shows now, not when everything else is done
        parts.skip(report::parts_done(&RunFolder::view(cx.folder)?, config)?);
        if let Some(checkpoint) = checkpoint {
            parts.load(checkpoint)?;
        }
        Ok(parts)
    }
}

/// The documents of `data`. Unless `quiet`, stderr says what is being done where the cache does not have them; Ctrl-C
/// ends it.
///
/// # Errors
/// As [`Dataset::load`], and where it was interrupted; nothing has been written then.
pub(crate) fn prepared(
    data: &DataSection,
    concepts: &[ConceptSection],
    seen: usize,
    cache: CacheIs,
    quiet: bool,
) -> Result<Dataset> {
    let interrupt = experiment::install()?;
    let mut activity = Activity::new(quiet);
    let loaded = Dataset::load_telling(data, concepts, seen, cache, &mut |what| {
        activity.say(&format!("texts: {what}"));
        if interrupt.requested() { Err(Error::Interrupted) } else { Ok(()) }
    });
    loaded.map_err(|error| match error {
        Error::Interrupted => UserError::failed("interrupted while the texts were prepared")
            .with_hint("nothing has been written; the same command begins again")
            .into(),
        error => error.for_user(),
    })
}

/// The words of `virology` are those of its list, and no setting that can be changed.
fn of_the_list(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<UserError>() {
        Ok(UserError { message, hint, exit_code }) => {
            let blamed = message.contains("data.forget_words");
            let message = message.replace("data.forget_words", "the list of tokens");
            let hint =
                if blamed { Some("list others in the file that --tokens names".to_owned()) } else { hint };
            UserError { message, hint, exit_code }.into()
        }
        Err(error) => error,
    }
}

/// What a run trains and validates on, in a line.
fn what_for(data: &DataSection, dataset: &Dataset) -> String {
    let Dataset { train, validation, .. } = dataset;
    let about = |documents: &Documents| (0..documents.len()).filter(|i| documents.is_forget(*i)).count();
    let held_out = match data.validation.as_str() {
        "" => format!("the last {} of it", validation.len()),
        file => format!("{} of {file}", validation.len()),
    };
    format!(
        "training on {} of {} ({} about the concept), validating on {held_out} ({})",
        train.len(),
        data.train,
        about(train),
        about(validation)
    )
}

/// Refuses documents that are too few for what follows on the training.
fn require_held_out(config: &Config, dataset: &Dataset, seed: u64) -> Result<(), Error> {
    let taught = match config.experiment.kind {
        Experiment::Era => config.retrain.stories.iter().copied().max().unwrap_or(0),
        Experiment::Virology => config.localise.stories,
        Experiment::Steer | Experiment::Modules | Experiment::Adapt => return Ok(()),
    };
    finetune::require_relearning(dataset, taught)?;
    // a method that changes a model by what is labelled comes hours later
    let changed = |part: &Part| part.method.needs_labels && !matches!(part.method.start, Start::Scratch);
    for part in Part::all(config).into_iter().filter(changed) {
        let labelled = dataset.labelled_concepts(&config.concepts(), part.labelled, SeedStreams::new(seed));
        if labelled.iter().all(|concepts| *concepts == 0) {
            let name = part.name();
            let fault = format!("{name} needs a labelled document, and none is: raise experiment.labelled");
            return Err(Error::Setting(fault));
        }
    }
    let ablates = |part: Part| (part.method.routes)(config).is_ok_and(|routes| routes.ablates());
    if config.coherence.steps > 0 && Part::all(config).into_iter().any(ablates) {
        finetune::require_coherence(dataset)?;
    }
    Ok(())
}

impl Program for Language {
    type Config = Config;
    type Training = Parts;
    type Summary = Value;

    const NAME: &'static str = "lm-routed";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const COMMIT: Option<&'static str> = option_env!("SIGNALBOX_COMMIT");
    const UNIT: &'static str = "tokens";
    const READERS: &'static str = "`plot`, `eval` and `generate`";

    fn routes(&self, config: &Config) -> Result<BTreeMap<String, Value>> {
        let table = |part: Part| -> Result<(String, Value)> {
            let table = (part.method.routes)(config)?.table;
            Ok((part.method.name.to_owned(), serde_json::to_value(table)?))
        };
        Part::all(config).into_iter().map(table).collect()
    }

    fn run_name(&self, config: &Config) -> String {
        config.experiment.kind.name().to_owned()
    }

    fn checkpoints_kept(&self, config: &Config) -> usize {
        config.checkpoint.keep
    }

    fn build(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Parts> {
        self.begun(config, cx, &self.tokens, CacheIs::TheUsers)
    }

    /// Parts that are done are skipped; the one in training goes on from its checkpoint.
    fn rewind(&self, config: &Config, cx: &BuildContext<'_>, checkpoint: &ResumePoint) -> Result<Parts> {
        self.resumed(config, cx, Some(checkpoint))
    }

    /// The part in training begins anew.
    fn restart(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Option<Parts>> {
        self.resumed(config, cx, None).map(Some)
    }

    fn prepare_folder(&self, folder: &RunFolder) -> Result<()> {
        if !self.tokens.is_empty() {
            folder.write_text(TOKENS, &(self.tokens.join("\n") + "\n"))?;
        }
        let config: Config = experiment::load_run(&folder.config_path(), &[])?;
        if !folder.path().join(PLACES).exists() {
            note_places(&config.data, folder)?;
        }
        for name in ["parts", "models"] {
            folder.make(name)?;
        }
        Ok(())
    }

    fn finish(&self, parts: &mut Parts, run: &FinishedRun<'_>) -> Result<Finished<Value>> {
        let report = report::write(run.folder, parts.config(), None)?;
        let (updates, tokens) = parts.totals();
        let mut summary = json!({
            "experiment": parts.config().experiment.kind,
            "seed": run.seed,
            "updates": updates,
            "tokens": tokens,
            "seconds": run.seconds,
            "parts": report.parts,
        });
        if !report.above_base.is_empty() {
            summary["above_base"] = serde_json::to_value(&report.above_base)?;
        }
        if !report.modules.is_empty() {
            summary["modules"] = serde_json::to_value(&report.modules)?;
        }
        let mut text = report.text;
        writeln!(text, "\n{tokens} tokens of training in {:.0} s", run.seconds)?;
        text += &experiment::lines(&report.files);
        Ok(Finished { summary, text })
    }
}
