//! `postrider new`: a hook file that works, with its secrets where they belong.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use clap::Args;

use self::draft::{Answer, Draft};
use crate::cli::exit::{Code, Exit};
use crate::cli::{Global, ask, fields, local, output};
use crate::edges::config::Paths;
use crate::rules::config::Config;
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::hook::name_of;
use crate::rules::manifest::{Kind, OptionSpec};
use crate::rules::platform::Platform;
use crate::words::json::{Exact, Members};
use crate::words::secret::Secret;

mod draft;
mod failures;
mod from;
mod guide;
mod script;
mod text;

/// Write a hook file for a platform
///
/// At a terminal it asks for everything that is not said, and tells where to click to get it; the hook and what it would
/// send are shown before anything is written. Secrets (a robot's URL is one) are asked for without showing them, or read from
/// standard input, one line each, and kept in files of their own. Nothing is written when the hook would not load.
///
/// A URL that another notifier uses, as Apprise writes them, has secrets in it, and everybody on this machine sees the
/// arguments of a command: `--from -` asks for it without showing it, or reads it from standard input.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider new
  postrider new ops --platform dingtalk
  postrider new mirror --platform webhook -o url=https://ci.example.com/in --events 'build.*'
  printf '%s\\n' \"$URL\" | postrider new ops --platform wecom -o 'message={{ event.type }} on {{ data.host }}'
  postrider new ops --from - < robot.url
  postrider new failures --platform wecom --systemd-failures
  postrider new --script pager")]
pub(crate) struct New {
    /// The hook's name; its file will be hooks.d/NAME.yaml
    name: Option<String>,
    /// Who is at the other end; `postrider platforms` lists them
    #[arg(short, long)]
    platform: Option<String>,
    /// Take the platform and its options from a URL: that of a robot, or one of Apprise such as tgram://TOKEN/CHAT; - asks
    /// for it
    #[arg(long, value_name = "URL|-", conflicts_with = "platform")]
    from: Option<String>,
    /// Types of events that it wants, with * and ?; all unless said
    #[arg(short, long, value_name = "TYPE", value_delimiter = ',')]
    events: Vec<String>,
    /// Set an option: KEY=TEXT, or KEY:=JSON for lists, numbers and true or false
    #[arg(short, long = "option", value_name = "KEY=TEXT")]
    options: Vec<String>,
    /// Keep this option as a secret too
    #[arg(short, long, value_name = "KEY", value_delimiter = ',')]
    secret: Vec<String>,
    /// Write the script of a platform instead, with its cases: one of your own that works at once
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "platform", "from", "events", "options", "secret", "systemd_failures"])]
    script: Option<String>,
    /// With --script: that of a source
    #[arg(long, requires = "script")]
    source: bool,
    /// Write over a hook and secrets that exist
    #[arg(long)]
    force: bool,
    /// Report every systemd service that fails as an event `systemd.unit.failed`; the hook then wants these
    #[arg(long)]
    systemd_failures: bool,
    /// Where systemd's drop-ins are written
    #[arg(long, value_name = "FOLDER", default_value = "/etc/systemd/system", requires = "systemd_failures")]
    systemd_folder: PathBuf,
}

impl New {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        if let Some(name) = &self.script {
            return script::write(global, name, self.source, self.force);
        }
        let only_failures = self.systemd_failures && self.name.is_none() && self.platform.is_none();
        if !only_failures || self.from.is_some() {
            self.hook(global)?;
        }
        if self.systemd_failures {
            for file in failures::write(&self.systemd_folder)? {
                output::say(file.display())?;
            }
            global.note("systemd reads them at: systemctl daemon-reload");
        }
        Ok(())
    }

    fn hook(&self, global: &Global) -> Result<(), Exit> {
        let paths = global.paths();
        let folder = last(&paths.hooks);
        let free = |name: &str| self.may_be_called(name, folder);
        let person = ask::is_a_person_there();
        if let Some(name) = &self.name {
            free(name)?;
        }
        let mut config = local::platforms(paths.clone());
        let mut found = self.from.as_deref().map(from::read).transpose()?.unwrap_or_default();
        // Whoever says neither platform nor URL is led through everything.
        let guided = person && self.platform.is_none() && self.from.is_none();
        let platform = match self.platform.as_deref().or(found.platform) {
            Some(name) => local::platform(&config.platforms, name)?,
            None if guided => guide::platform(&config)?,
            None => return Err(missing("platform", "--platform NAME; `postrider platforms` lists them")),
        };
        let given = self.given(&platform)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None if person => guide::name(&platform.name, free)?,
            None => return Err(missing("name", "postrider new NAME --platform NAME")),
        };
        let events = if guided && self.events.is_empty() && !self.systemd_failures {
            guide::events(&config)?
        } else {
            self.wanted()
        };
        found.answers.retain(|(option, _)| !given.contains_key(option));
        found.answers.extend(given.into_iter().map(|(option, value)| (option, Answer::Given(value))));
        let mut draft = Draft { name, platform, events, answers: found.answers };
        match person {
            true => self.ask_a_person(&mut draft, guided)?,
            false => self.ask_a_pipe(&mut draft)?,
        }
        Self::begin(&mut draft);

        let (file, text) = (folder.join(format!("{}.yaml", draft.name)), draft.text());
        Self::check(&file, &text, &mut config, &paths)?;
        self.not_over_secrets(&draft, &paths)?;
        if guided {
            guide::confirm(&draft, &file, &text, &config)?;
        }
        for (secret, value) in draft.secrets() {
            Self::keep(&paths, &secret, value)?;
        }
        put(&file, text.as_bytes(), 0o644).map_err(|error| cannot_write(&file, &error))?;
        output::say(file.display())?;
        from::say_lost(&found.lost);
        global.note(format!("try it: postrider test {}", draft.name));
        if guided {
            global.note(format!("what becomes of it: postrider log --hook {} -f", draft.name));
        }
        Ok(())
    }

    /// Whether a hook may have this name.
    fn may_be_called(&self, name: &str, folder: &Path) -> Result<(), Exit> {
        let file_name = format!("{name}.yaml");
        if name_of(&file_name).is_ok_and(|read| read == name) {
            let file = folder.join(file_name);
            if file.exists() && !self.force {
                let exit = Exit::new(Code::Failed, format!("{} exists", file.display()));
                return Err(exit.help("choose another name, or --force to write over it"));
            }
            return Ok(());
        }
        let exit = Exit::new(Code::Usage, format!("{name} cannot be the name of a hook"));
        Err(exit.help("letters, digits, - and _; no number in front"))
    }

    /// Asks for what must be said, and where the whole hook is asked for also for what is worth it.
    fn ask_a_person(&self, draft: &mut Draft, guided: bool) -> Result<(), Exit> {
        let platform = draft.platform.clone();
        let mut options: Vec<&OptionSpec> = platform.manifest.options.iter().collect();
        // What is said last is easiest once it is known where it goes.
        options.sort_by_key(|option| text::begins_by_itself(option));
        for option in options {
            if draft.answer(&option.name).is_some() {
                continue;
            }
            let begins = text::begins_by_itself(option);
            let worth_it = guided && (option.origin.is_some() || begins);
            if self.secret.contains(&option.name) || (option.required && !begins) || worth_it {
                let answer = guide::option(&platform, option)?;
                draft.answers.extend(answer.map(|answer| (option.name.clone(), answer)));
            }
        }
        Ok(())
    }

    /// The secrets are the lines of standard input, in the order of the options; the rest must have been said.
    fn ask_a_pipe(&self, draft: &mut Draft) -> Result<(), Exit> {
        let platform = draft.platform.clone();
        let open = |option: &&OptionSpec| draft.answer(&option.name).is_none();
        let mut asked = Vec::new();
        for option in platform.manifest.options.iter().filter(open) {
            let secret = match option.kind {
                Kind::Secret => true,
                Kind::Url => platform.name != "webhook",
                _ => false,
            };
            if self.secret.contains(&option.name) || (option.required && secret) {
                asked.push(option);
            } else if option.required && !text::begins_by_itself(option) {
                let exit = Exit::new(Code::Usage, format!("{} needs the option {}", platform.name, option.name));
                return Err(exit.help(format!("-o {}=…, {}", option.name, option.about)));
            }
        }
        for option in asked {
            let value = ask::secret(&format!("{} ({})", option.name, option.about))?;
            draft.answers.push((option.name.clone(), Answer::Secret(value)));
        }
        Ok(())
    }

    /// A message that nobody has said says what there is.
    fn begin(draft: &mut Draft) {
        let platform = draft.platform.clone();
        for option in &platform.manifest.options {
            if text::begins_by_itself(option) && draft.answer(&option.name).is_none() {
                draft.answers.push((option.name.clone(), Answer::Example));
            }
        }
    }

    fn not_over_secrets(&self, draft: &Draft, paths: &Paths) -> Result<(), Exit> {
        for (name, _) in draft.secrets() {
            let file = last(&paths.secrets).join(name);
            if file.exists() && !self.force {
                let exit = Exit::new(Code::Failed, format!("{} exists", file.display()));
                return Err(exit.help("--force writes over it"));
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Vec<String> {
        match (self.events.as_slice(), self.systemd_failures) {
            ([], true) => vec!["systemd.unit.failed".to_owned()],
            ([], false) => vec!["*".to_owned()],
            (events, _) => events.to_vec(),
        }
    }

    /// The options that were set, all of which the platform knows.
    fn given(&self, platform: &Platform) -> Result<Members, Exit> {
        let Exact::Map(given) = fields::object(&self.options)? else { return Ok(Members::new()) };
        let names: Vec<&str> = platform.manifest.options.iter().map(|option| option.name.as_str()).collect();
        for key in given.keys().map(String::as_str).chain(self.secret.iter().map(String::as_str)) {
            if !names.contains(&key) {
                let exit = Exit::new(Code::Usage, format!("{} has no option {key}", platform.name));
                return Err(match local::closest(key, names.iter().copied()) {
                    Some(close) => exit.help(format!("did you mean {close}?")),
                    None => exit.help(format!("`postrider platforms {}` lists them", platform.name)),
                });
            }
        }
        Ok(given)
    }

    /// Whether it would load.
    fn check(file: &Path, text: &str, config: &mut Config, paths: &Paths) -> Result<(), Exit> {
        let source = Source::new(file.display().to_string(), text.to_owned());
        let (_, problems) = local::parse(&source, config, paths);
        if !problems.iter().any(Diagnostic::is_error) {
            return Ok(());
        }
        problems.iter().for_each(local::say);
        Err(Exit::new(Code::Configuration, "nothing was written: the hook would not load"))
    }

    fn keep(paths: &Paths, name: &str, value: &Secret) -> Result<(), Exit> {
        let folder = last(&paths.secrets);
        let file = folder.join(name);
        let written = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let mut line = value.expose().as_bytes().to_vec();
        line.push(b'\n');
        let written = written.and_then(|()| put(&file, &line, 0o600));
        written.map_err(|error| cannot_write(&file, &error))
    }
}

fn missing(what: &str, help: &str) -> Exit {
    Exit::new(Code::Usage, format!("the new hook needs a {what}")).help(help)
}

/// The folder that has the last word.
fn last(folders: &[PathBuf]) -> &Path {
    folders.last().expect("there is always one")
}

fn cannot_write(file: &Path, error: &io::Error) -> Exit {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => Code::Permission,
        _ => Code::Failed,
    };
    Exit::caused(code, format!("cannot write {}", file.display()), error)
}

/// Writes a file beside its place and moves it there, so that nobody reads half of it. It belongs to whom its folder
/// belongs to: root writes secrets that the daemon reads, and nobody else.
fn put(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let owner = fs::metadata(folder)?;
    let _left_over = fs::remove_file(&beside);
    let written = (|| {
        let mut out: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        // Only root can give a file away; whoever else writes into a folder of another keeps it.
        let user = rustix::process::geteuid().is_root().then(|| owner.uid());
        fchown(&out, user, Some(owner.gid()))?;
        out.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&beside, file)
    })();
    if written.is_err() {
        let _not_there = fs::remove_file(&beside);
    }
    written
}
