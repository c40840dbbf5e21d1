//! `postrider new`: a hook file that works, with its secrets where they belong.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use clap::Args;

use self::text::Value;
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

mod failures;
mod script;
mod text;

/// Write a hook file for a platform
///
/// Secrets (a robot's URL is one) are asked for without showing them, or read from standard input, one line each, and
/// kept in files of their own. Nothing is written when the hook would not load.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider new ops --platform dingtalk
  postrider new mirror --platform webhook -o url=https://ci.example.com/in --events 'build.*'
  printf '%s\\n' \"$URL\" | postrider new ops --platform wecom -o 'message={{ event.type }} on {{ data.host }}'
  postrider new failures --platform wecom --systemd-failures
  postrider new --script pager")]
pub(crate) struct New {
    /// The hook's name; its file will be hooks.d/NAME.yaml
    #[arg(required_unless_present_any = ["systemd_failures", "script"])]
    name: Option<String>,
    /// Who is at the other end; `postrider platforms` lists them
    #[arg(short, long, required_unless_present_any = ["systemd_failures", "script"], requires = "name")]
    platform: Option<String>,
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
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "platform", "events", "options", "secret", "systemd_failures"])]
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
        if let (Some(name), Some(platform)) = (&self.name, &self.platform) {
            self.hook(global, name, platform)?;
        }
        if self.systemd_failures {
            for file in failures::write(&self.systemd_folder)? {
                output::say(file.display())?;
            }
            global.note("systemd reads them at: systemctl daemon-reload");
        }
        Ok(())
    }

    fn hook(&self, global: &Global, name: &str, platform: &str) -> Result<(), Exit> {
        let file_name = format!("{name}.yaml");
        let plain = name_of(&file_name).is_ok_and(|read| read == name);
        if !plain {
            let exit = Exit::new(Code::Usage, format!("{name} cannot be the name of a hook"));
            return Err(exit.help("letters, digits, - and _; no number in front"));
        }
        let paths = global.paths();
        let mut config = local::platforms(paths.clone());
        let platform = local::platform(&config.platforms, platform)?;
        let given = self.given(&platform)?;
        let file = last(&paths.hooks).join(&file_name);
        if file.exists() && !self.force {
            let exit = Exit::new(Code::Failed, format!("{} exists", file.display()));
            return Err(exit.help("choose another name, or --force to write over it"));
        }

        let mut secrets = Vec::new();
        for option in self.asked(&platform, &given)? {
            let value = ask::secret(&format!("{} ({})", option.name, option.about))?;
            secrets.push((option.name.clone(), format!("{name}-{}", option.name), value));
        }
        let kept = |option: &OptionSpec| secrets.iter().find(|(key, ..)| *key == option.name);
        let text =
            text::hook(name, &platform, &self.wanted(), |option| match (kept(option), given.get(&option.name)) {
                (Some((_, secret, _)), _) => Some(Value::Secret(secret)),
                (_, Some(value)) => Some(Value::Given(value)),
                (None, None) if text::begins_by_itself(option) => Some(Value::Example),
                (None, None) => None,
            });

        Self::check(&file, &text, &mut config, &paths)?;
        for (_, secret, value) in &secrets {
            self.keep(&paths, secret, value)?;
        }
        put(&file, text.as_bytes(), 0o644).map_err(|error| cannot_write(&file, &error))?;
        output::say(file.display())?;
        global.note(format!("try it: postrider test {name}"));
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

    /// The options that are secrets and are to be asked for. A robot's URL lets everybody write who knows it; the URL of
    /// a plain webhook is not special.
    fn asked<'a>(&self, platform: &'a Platform, given: &Members) -> Result<Vec<&'a OptionSpec>, Exit> {
        let mut asked = Vec::new();
        for option in &platform.manifest.options {
            let secret = match option.kind {
                Kind::Secret => true,
                Kind::Url => platform.name != "webhook",
                _ => false,
            };
            let wanted = self.secret.contains(&option.name) || (option.required && secret);
            if wanted && !given.contains_key(&option.name) {
                asked.push(option);
            } else if option.required && !given.contains_key(&option.name) && !text::begins_by_itself(option) {
                let exit = Exit::new(Code::Usage, format!("{} needs the option {}", platform.name, option.name));
                return Err(exit.help(format!("-o {}=…, {}", option.name, option.about)));
            }
        }
        Ok(asked)
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

    fn keep(&self, paths: &Paths, name: &str, value: &Secret) -> Result<(), Exit> {
        let folder = last(&paths.secrets);
        let file = folder.join(name);
        if file.exists() && !self.force {
            let exit = Exit::new(Code::Failed, format!("{} exists", file.display()));
            return Err(exit.help("--force writes over it"));
        }
        let written = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let mut line = value.expose().as_bytes().to_vec();
        line.push(b'\n');
        let written = written.and_then(|()| put(&file, &line, 0o600));
        written.map_err(|error| cannot_write(&file, &error))
    }
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
