//! The pages in `docs/` are true: each is followed step by step in a folder of its own, and says what really comes out.
//!
//! The block behind `<!-- write: PATH -->` becomes that file. In a block behind `<!-- shell -->` a line that begins with
//! `$ ` is run by a shell, and what stands below it must come out: `…` in a line stands for anything, a line that is only
//! `…` for any number of lines. A command that ends in `&` goes on beside the others. Ports 8470 to 8479 and 9470 of
//! this machine stand for free ones. `examples` and `samples` are `hooks.d` and `tests/events`.

mod faults;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use tempfile::TempDir;

use crate::support::PATIENCE;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One step of a page, with its line.
#[derive(Debug)]
enum Step {
    Write { path: String, text: String },
    Run { line: usize, command: String, output: Vec<String> },
}

/// The steps of a page in their order.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(marker) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else { continue };
        let fence = lines.next().map(|(_, fence)| fence).unwrap_or_default();
        assert!(fence.starts_with("```"), "no block behind {marker}");
        let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        match marker.split_once(": ") {
            Some(("write", path)) => {
                let text = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                steps.push(Step::Write { path: path.to_owned(), text });
            }
            None if marker == "shell" => steps.extend(commands(&block)),
            _ => panic!("unknown marker {marker}"),
        }
    }
    steps
}

fn commands(block: &[(usize, &str)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for (number, text) in block {
        let (begins, rest) = text.strip_prefix("$ ").map_or((false, *text), |command| (true, command));
        match steps.last_mut() {
            _ if begins => {
                steps.push(Step::Run { line: number + 1, command: rest.to_owned(), output: Vec::new() });
            }
            Some(Step::Run { command, .. }) if goes_on => *command = format!("{command}\n{rest}"),
            Some(Step::Run { output, .. }) => output.push(rest.to_owned()),
            _ => panic!("line {} of a shell block comes before its command", number + 1),
        }
        // A backslash at the end, or a quote that is not closed yet.
        goes_on = matches!(steps.last(), Some(Step::Run { command, output, .. }) if output.is_empty()
            && (command.ends_with('\\') || command.matches('\'').count() % 2 == 1));
    }
    steps
}

/// A page that is being followed.
struct Story {
    folder: TempDir,
    ports: BTreeMap<u16, u16>,
    beside: Vec<Child>,
}

impl Story {
    fn begin() -> Self {
        // Held at once, so that no two are the same.
        let free: Vec<_> = (8470..8480)
            .chain([4318, 9470])
            .map(|port| (port, TcpListener::bind("127.0.0.1:0").expect("a port")))
            .collect();
        let ports = free.iter().map(|(port, held)| (*port, held.local_addr().expect("an address").port())).collect();
        let folder = tempfile::tempdir().expect("a folder");
        for (name, here) in [("examples", "hooks.d"), ("samples", "tests/events")] {
            symlink(root().join(here), folder.path().join(name)).expect("a link");
        }
        Self { folder, ports, beside: Vec::new() }
    }

    fn follow(&mut self, page: &str) -> Vec<String> {
        let mut differences = Vec::new();
        for step in steps(page) {
            match step {
                Step::Write { path, text } => {
                    let path = self.folder.path().join(path);
                    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                    fs::write(path, self.there(&text)).expect("a file");
                }
                Step::Run { line, command, output } => {
                    differences
                        .extend(self.run(&command, &output).map(|found| format!("line {line}: {command}\n{found}")));
                }
            }
        }
        differences
    }

    /// What comes out otherwise.
    fn run(&mut self, command: &str, wanted: &[String]) -> Option<String> {
        let command = command.split("   # ").next().unwrap_or(command).trim_end();
        if let Some(beside) = command.strip_suffix('&') {
            self.start(beside.trim_end());
            return None;
        }
        // Deliveries take a moment: a command that only looks is repeated until it sees them.
        let looks = ["log", "show", "status", "queue", "explain"].map(|look| format!("postrider {look}"));
        let looks =
            looks.iter().map(String::as_str).chain(["cat ", "grep ", "tail ", "curl -s http://127.0.0.1:9470/"]);
        let deadline = Instant::now()
            + if looks.clone().any(|look| command.starts_with(look)) { PATIENCE } else { Duration::ZERO };
        loop {
            let said = self.said(command);
            if matches(wanted, &said) {
                return None;
            }
            if Instant::now() >= deadline {
                return Some(said);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn shell(&self, command: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &self.there(command)])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("COLUMNS", "120")
            .stdin(Stdio::null());
        shell
    }

    fn said(&self, command: &str) -> String {
        let run = self.shell(command).output().expect("a shell");
        let both = [run.stdout, run.stderr].map(|out| String::from_utf8_lossy(&out).into_owned()).concat();
        self.back(&both)
    }

    /// Starts something that goes on, and waits until it takes connections.
    fn start(&mut self, command: &str) {
        // Where it listens unless said is one of the ports that stand for others.
        let default =
            if command.contains("--listen") { "postrider sink" } else { "postrider sink --listen 127.0.0.1:8471" };
        let command = &command.replace("postrider sink", default);
        let child =
            self.shell(&format!("exec {command}")).process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.beside.push(child.expect("a shell"));
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready(command) {
            assert!(Instant::now() < deadline, "{command} does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self, command: &str) -> bool {
        if command.contains("postrider run") {
            return self.shell("postrider status").output().is_ok_and(|run| run.status.success());
        }
        if !command.contains("postrider sink") {
            return true;
        }
        let port = command.split("127.0.0.1:").nth(1).and_then(|rest| rest.get(..4)?.parse().ok()).unwrap_or(8471);
        TcpStream::connect(("127.0.0.1", self.ports[&port])).is_ok()
    }

    /// With the ports that are free here.
    fn there(&self, text: &str) -> String {
        let swap = |text: String, (page, real): (&u16, &u16)| {
            text.replace(&format!("127.0.0.1:{page}"), &format!("127.0.0.1:{real}"))
        };
        self.ports.iter().fold(text.to_owned(), swap)
    }

    /// With the ports of the page.
    fn back(&self, text: &str) -> String {
        let swap = |text: String, (page, real): (&u16, &u16)| {
            text.replace(&format!("127.0.0.1:{real}"), &format!("127.0.0.1:{page}"))
        };
        self.ports.iter().fold(text.to_owned(), swap)
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        for child in &mut self.beside {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _gone = kill_process_group(group, Signal::KILL);
            }
            let _reaped = child.wait();
        }
    }
}

/// Whether what came out is what the page says.
fn matches(wanted: &[String], said: &str) -> bool {
    let said: Vec<&str> = said.lines().map(str::trim_end).collect();
    let wanted: Vec<&str> = wanted.iter().map(|line| line.trim_end()).collect();
    // A blank line at the end of a block is for the eye.
    let trim = |lines: &[&str]| lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines_match(&wanted[..trim(&wanted)], &said[..trim(&said)])
}

fn lines_match(wanted: &[&str], said: &[&str]) -> bool {
    match (wanted, said) {
        ([], said) => said.is_empty(),
        (["…", rest @ ..], said) => (0..=said.len()).any(|skipped| lines_match(rest, &said[skipped..])),
        ([first, rest @ ..], [line, more @ ..]) => line_matches(first, line) && lines_match(rest, more),
        (_, []) => false,
    }
}

fn line_matches(wanted: &str, said: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

fn page(name: &str) {
    let path: PathBuf = root().join("docs").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let runs = steps(&text).iter().filter(|step| matches!(step, Step::Run { .. })).count();
    assert!(runs >= 6, "docs/{name} has only {runs} commands");
    if let Some(missing) = ["curl", "openssl"].iter().find(|program| text.contains(*program) && !is_there(program)) {
        // Whoever has only Rust and a C compiler runs everything else.
        assert!(std::env::var_os("CI").is_none(), "docs/{name} cannot be followed without {missing}: install it");
        eprintln!("docs/{name} is not followed: there is no {missing}");
        return;
    }
    let differences = Story::begin().follow(&text);
    assert!(differences.is_empty(), "docs/{name} is not what comes out:\n{}", differences.join("\n"));
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn the_page_of_metrics_is_true() {
    page("metrics.md");
}

#[test]
fn the_page_of_traces_is_true() {
    page("traces.md");
}

#[test]
fn the_page_of_git_hosts_and_alerts_is_true() {
    page("git-and-alerts.md");
}

#[test]
fn the_page_of_pgyer_is_true() {
    page("pgyer.md");
}

#[test]
fn the_page_of_appgo_is_true() {
    page("appgo.md");
}

#[test]
fn the_page_of_appery_is_true() {
    page("appery.md");
}

#[test]
fn the_page_of_patchkit_is_true() {
    page("patchkit.md");
}

#[test]
fn the_page_of_pushpushgo_is_true() {
    page("pushpushgo.md");
}

#[test]
fn the_page_of_speed_is_true() {
    page("performance.md");
}

#[test]
fn the_page_of_the_disk_is_true() {
    page("storage.md");
}

#[test]
fn the_page_of_senders_is_true() {
    page("senders.md");
}

#[test]
fn the_page_of_servers_is_true() {
    page("server.md");
}

#[test]
fn the_page_of_operating_is_true() {
    page("operating.md");
}

#[test]
fn the_page_of_chats_is_true() {
    page("chats.md");
}

#[test]
fn the_page_of_push_services_and_pagers_is_true() {
    page("push-and-pages.md");
}

#[test]
fn the_page_of_scripts_is_true() {
    page("scripts.md");
}

#[test]
fn the_page_of_receivers_is_true() {
    page("receivers.md");
}

#[test]
fn every_page_is_linked_and_followed() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let own = fs::read_to_string(root().join("tests/it/pages.rs")).expect("this file");
    let mut pages = 0;
    for entry in fs::read_dir(root().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(readme.contains(&format!("(docs/{name})")), "README.md does not link docs/{name}");
        // These have tests of their own: `seeds`, `faults` and `diagnostics`; a picture is looked at.
        let other = ["seeds.md", "faults.md", "diagnostics.md"].contains(&name.as_str()) || name.ends_with(".svg");
        assert!(other || own.contains(&format!("page(\"{name}\")")), "nobody follows docs/{name}");
        pages += 1;
    }
    assert!(pages >= 6, "only {pages} pages found");
}

#[test]
fn what_is_left_open_may_be_anything_and_nothing_else() {
    for (wanted, said) in [
        ("a…c", "abc"),
        ("…", ""),
        ("{\"id\":\"…\",\"n\":1}", "{\"id\":\"x\",\"n\":1}"),
        ("a…b…c", "a1b2b3c"),
        ("x", "x"),
    ] {
        assert!(line_matches(wanted, said), "{wanted} {said}");
    }
    for (wanted, said) in [("a…c", "abd"), ("a", "ab"), ("ab…b", "ab"), ("a…b…c", "a1c"), ("", "x")] {
        assert!(!line_matches(wanted, said), "{wanted} {said}");
    }
    let lines =
        |wanted: &[&str], said: &str| matches(&wanted.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), said);
    assert!(lines(&["a", "…", "d"], "a\nb\nc\nd\n") && lines(&["…"], "") && lines(&["a", ""], "a\n"));
    assert!(!lines(&["a", "…", "d"], "a\nb\nc\n") && !lines(&["a"], "a\nb\n"));
}
