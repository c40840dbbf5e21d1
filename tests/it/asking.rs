//! `new` asks a person at a terminal, judges each answer at once, and leaves nothing behind when it is left; and it reads
//! URLs of other notifiers.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::commands::{err, exits, out, piped, run};
use crate::process::binary;
use crate::support::PATIENCE;

const ROBOT: &str = "https://oapi.dingtalk.com/robot/send?access_token=geheim-1";

/// A program at a terminal, and somebody who types.
struct Terminal {
    child: Child,
    input: ChildStdin,
    shown: Arc<(Mutex<String>, Condvar)>,
    /// How much of it was read.
    read: usize,
}

impl Terminal {
    /// Nothing where there is no `script`.
    fn start(folder: &Path, command: &str) -> Option<Self> {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("stty cols 300; {command}"), "/dev/null"]).current_dir(folder);
        script.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("NO_COLOR", "1").env("SHELL", "/bin/sh");
        let child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "script (of util-linux) is missing: {error}");
                println!("passed over: script is missing");
                return None;
            }
        };
        let (input, mut output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let shown: Arc<(Mutex<String>, Condvar)> = Arc::default();
        let into = shown.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                bytes.extend_from_slice(&piece[..length]);
                *into.0.lock().expect("a lock") = String::from_utf8_lossy(&bytes).into_owned();
                into.1.notify_all();
            }
        });
        Some(Self { child, input, shown, read: 0 })
    }

    /// Waits until this is shown behind what was read so far; gives what stands before it.
    fn until(&mut self, words: &str) -> String {
        let (shown, changed) = &*self.shown;
        let mut text = shown.lock().expect("a lock");
        let began = Instant::now();
        loop {
            if let Some(at) = text.get(self.read..).and_then(|new| new.find(words)) {
                let before = text[self.read..self.read + at].to_owned();
                self.read += at + words.len();
                return before;
            }
            let left = PATIENCE.checked_sub(began.elapsed());
            let left = left.unwrap_or_else(|| panic!("{words:?} is not shown in:\n{text}"));
            text = changed.wait_timeout(text, left).expect("a lock").0;
        }
    }

    fn say(&mut self, line: &str) {
        self.raw(&format!("{line}\n"));
    }

    fn raw(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).and_then(|()| self.input.flush()).expect("an open terminal");
    }

    /// Waits for the end: the exit code, and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.input);
        let status = self.child.wait().expect("a child");
        let text = self.shown.0.lock().expect("a lock").clone();
        (status.code(), text)
    }
}

fn here() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // What `run --here` makes: the other commands find this folder by it.
    fs::create_dir(folder.path().join(".postrider")).expect("a folder");
    fs::write(folder.path().join(".postrider/admin.sock"), "").expect("a file");
    folder
}

fn written(folder: &Path) -> (usize, usize) {
    let count = |path: &str| fs::read_dir(folder.join(path)).map_or(0, Iterator::count);
    (count("hooks.d"), count(".postrider/secrets.d"))
}

fn command(arguments: &str) -> String {
    format!("{} {arguments}", binary().display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_led_to_a_hook_that_works() {
    let folder = here();
    fs::write(folder.path().join("postrider.yaml"), "sources: {builds: {script: pgyer}}\n").expect("a file");
    let Some(mut terminal) = Terminal::start(folder.path(), &command("--config postrider.yaml new")) else { return };
    let list = terminal.until("platform: ");
    for line in ["Who is at the other end?", "  dingtalk ", "DingTalk group robot", "any HTTP endpoint"] {
        assert!(list.contains(line), "{line}: {list}");
    }
    terminal.say("dingtak");
    assert!(terminal.until("platform: ").contains("no: there is no platform dingtak: did you mean dingtalk?"));
    terminal.say("dingtalk");
    terminal.until("name [dingtalk]: ");
    terminal.say("two words");
    assert!(
        terminal.until("name [dingtalk]: ").contains("no: two words cannot be the name of a hook: letters, digits")
    );
    terminal.say("ops");
    let offered = terminal.until("events [*]: ");
    assert!(offered.contains("your sources make pgyer.* pgyer.deleteApp pgyer.updateVersion postrider.*"), "{offered}");
    terminal.say("build.*, deploy");
    let asked = terminal.until("\nurl: ");
    assert!(asked.contains("url the robot's webhook URL") && asked.contains("where: in the group"), "{asked}");
    for (wrong, reason) in [
        ("SEC-geheim", "no: this is no URL such as https://HOST/PATH: paste the whole of it"),
        ("https://hooks.slack.com/services/T/B/geheim", "no: this is a URL of the platform slack"),
        ("", "no: it is needed"),
    ] {
        terminal.say(wrong);
        let said = terminal.until("\nurl: ");
        assert!(said.contains(reason), "{said}");
    }
    terminal.say(ROBOT);
    let asked = terminal.until("\nsecret: ");
    assert!(asked.contains("(Enter leaves it out)") && asked.contains("加签"), "{asked}");
    terminal.say("SEC-geheim-2");
    terminal.until("message [{{ event.type }} {{ data }}]: ");
    terminal.say("{{ nope(");
    assert!(terminal.until("message [").contains("no: the template cannot be read"));
    terminal.say("{{ data.title }} is there");
    let shown = terminal.until("write it? [Y/n]: ");
    assert_eq!(written(folder.path()), (0, 0), "nothing is written before it is right");
    for line in [
        "hooks.d/ops.yaml",
        "url: {secret: ops-url}",
        "with 2 secrets kept apart: ops-url, ops-secret",
        "What it sends for an event build.sample",
        "POST https://oapi.dingtalk.com/…",
        "sample is there",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    terminal.say("y");
    terminal.until("try it: postrider test ops");
    terminal.until("postrider log --hook ops -f");
    let (code, all) = terminal.end();
    assert_eq!(code, Some(0), "{all}");
    assert!(!all.contains("geheim"), "{all}");
    assert_eq!(written(folder.path()), (1, 2));
    let kept = fs::read_to_string(folder.path().join(".postrider/secrets.d/ops-url")).expect("a secret");
    assert_eq!(kept.trim(), ROBOT);
    let text = fs::read_to_string(folder.path().join("hooks.d/ops.yaml")).expect("a hook");
    assert!(text.contains("events: [\"build.*\", \"deploy\"]"), "{text}");
    exits(&run(folder.path(), &["check", "hooks.d"]).await, 0);
}

#[test]
fn whoever_leaves_leaves_nothing_behind() {
    let folder = here();
    // ^C while a secret is typed: the terminal shows again what is typed.
    let shell = format!("trap : INT; {}; echo ended $?; stty -a", command("new ops --platform dingtalk"));
    let Some(mut terminal) = Terminal::start(folder.path(), &shell) else { return };
    terminal.until("url: ");
    terminal.raw("geheim\x03");
    terminal.until("ended 130");
    let state = terminal.until("echoctl");
    assert!(state.contains(" echo ") && !state.contains("-echo "), "{state}");
    let (_, all) = terminal.end();
    assert!(!all.contains("geheim"), "{all}");
    assert_eq!(written(folder.path()), (0, 0));

    // The end of input, at a question that shows and at one that does not.
    for (arguments, question) in [("new", "platform: "), ("new ops -p dingtalk", "url: ")] {
        let mut terminal = Terminal::start(folder.path(), &command(arguments)).expect("it was there before");
        terminal.until(question);
        terminal.raw("\x04");
        terminal.until("no answer to: ");
        let (code, all) = terminal.end();
        assert_eq!(code, Some(2), "{all}");
        assert_eq!(written(folder.path()), (0, 0));
    }

    // Second thoughts.
    let mut terminal = Terminal::start(folder.path(), &command("new w -e x")).expect("it was there before");
    terminal.until("platform: ");
    terminal.say("webhook");
    terminal.until("\nurl: ");
    terminal.say("https://ci.example.com/in");
    terminal.until("write it? [Y/n]: ");
    terminal.say("n");
    terminal.until("nothing was written");
    assert_eq!(terminal.end().0, Some(1));
    assert_eq!(written(folder.path()), (0, 0));
}

#[test]
fn what_was_said_is_not_asked_for() {
    let folder = here();
    let Some(mut terminal) = Terminal::start(folder.path(), &command("new mirror --platform webhook")) else { return };
    let asked = terminal.until("\nurl: ");
    assert!(!asked.contains("events"), "{asked}");
    terminal.say("ci.example.com");
    terminal.until("no: ");
    terminal.until("\nurl: ");
    terminal.say("https://ci.example.com/in/{{ data.id }}");
    terminal.until("try it: postrider test mirror");
    assert_eq!(terminal.end().0, Some(0));
    assert_eq!(written(folder.path()), (1, 0));
}

#[tokio::test]
async fn without_a_terminal_nobody_is_asked() {
    let folder = here();
    for (arguments, words) in [
        (&["new"][..], "the new hook needs a platform"),
        (&["new", "--platform", "wecom"], "the new hook needs a name"),
    ] {
        let refused = piped(folder.path(), arguments, "").await;
        exits(&refused, 2);
        assert!(err(&refused).contains(words), "{}", err(&refused));
    }
    assert_eq!(written(folder.path()), (0, 0));
}

/// One for each scheme, with what its hook sends.
const URLS: [(&str, &str); 21] = [
    ("dingtalk://SECgeheim@geheim-1/13800000000", "POST https://oapi.dingtalk.com/robot/send?access_token=geheim-1&"),
    ("wecombot://geheim", "POST https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=geheim\n"),
    ("lark://geheim", "POST https://open.larksuite.com/open-apis/bot/v2/hook/geheim\n"),
    ("feishu://geheim", "POST https://open.feishu.cn/open-apis/bot/v2/hook/geheim\n"),
    ("slack://T1/B2/geheim", "POST https://hooks.slack.com/services/T1/B2/geheim\n"),
    ("discord://ci@42/geheim", "POST https://discord.com/api/webhooks/42/geheim?wait=true\n"),
    ("tgram://123456:geheim/-1001/", "POST https://api.telegram.org/bot123456:geheim/sendMessage\n"),
    ("workflows://prod-1.logic.azure.com:443/1/geheim", "POST https://prod-1.logic.azure.com/workflows/1/triggers/"),
    ("mmosts://chat.example.com/geheim", "POST https://chat.example.com/hooks/geheim\n"),
    ("mmost://chat.example.com/geheim", "POST http://chat.example.com/hooks/geheim\n"),
    ("gchat://S/geheim/t", "POST https://chat.googleapis.com/v1/spaces/S/messages?key=geheim&token=t"),
    ("ntfy://geheim", "POST https://ntfy.sh/"),
    ("ntfys://push.example.com/geheim", "POST https://push.example.com/"),
    ("gotifys://push.example.com/geheim", "POST https://push.example.com/message\n"),
    ("barks://api.day.app/geheim", "POST https://api.day.app/push\n"),
    ("pagerduty://geheim0123456789geheim0123456789@key", "POST https://events.pagerduty.com/v2/enqueue\n"),
    ("jsons://ci.example.com/in?+X-Key=geheim", "x-key: geheim"),
    ("xmls://ci.example.com/in", "<soapenv:Body><Notification>"),
    ("forms://ci.example.com/in", "version=1.0&title=build.done&message=build.done"),
    ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=geheim", "POST https://qyapi.weixin.qq.com/cgi-bin/"),
    ("https://ann:geheim@ci.example.com/in", "authorization: Basic "),
];

#[tokio::test]
async fn urls_of_other_notifiers_become_hooks() {
    let folder = here();
    for (n, (url, _)) in URLS.iter().enumerate() {
        let done = piped(folder.path(), &["new", &format!("h{n}"), "--from", "-"], &format!("{url}\n")).await;
        exits(&done, 0);
        assert!(!err(&done).contains("geheim") && !out(&done).contains("geheim"), "{url}: {}", err(&done));
        let text = fs::read_to_string(folder.path().join(format!("hooks.d/h{n}.yaml"))).expect("a hook");
        let is_name = url.starts_with("ntfy");
        assert!(is_name || !text.contains("geheim"), "a secret stands in the hook file of {url}:\n{text}");
    }
    let checked = run(folder.path(), &["check", "hooks.d"]).await;
    exits(&checked, 0);
    assert!(out(&checked).starts_with(&format!("{} hooks fine\n", URLS.len())), "{}{}", out(&checked), err(&checked));
    let event = r#"{"type": "build.done", "data": {"id": 7}}"#;
    for (n, (url, sent)) in URLS.iter().enumerate() {
        let shown = piped(folder.path(), &["render", &format!("h{n}"), "-", "--show-secrets"], event).await;
        exits(&shown, 0);
        assert!(out(&shown).contains(sent), "{url}: {sent} is not in\n{}", out(&shown));
    }
}

#[tokio::test]
async fn what_a_url_cannot_say_is_named() {
    let folder = here();
    let url = "discord://42/geheim?tts=yes&format=text";
    let done = piped(folder.path(), &["new", "chat", "--from", "-", "-o", "title=news"], &format!("{url}\n")).await;
    exits(&done, 0);
    let said = err(&done);
    assert!(said.contains("warning[not-carried-over]: not taken over from the URL: `tts`; `format`"), "{said}");
    let text = fs::read_to_string(folder.path().join("hooks.d/chat.yaml")).expect("a hook");
    assert!(text.contains("title: \"news\""), "{text}");
    for (url, words) in [
        ("dingtak://geheim", "error[unknown-scheme]: there is no reading URLs that begin with dingtak://"),
        ("dingtak://geheim", "did you mean dingtalk://?"),
        ("tgram://123456:geheim/", "error[from-url]: there is no chat in this URL"),
        ("tgram://123456:geheim/", "such a URL is written tgram://TOKEN/CHAT"),
    ] {
        let refused = piped(folder.path(), &["new", "other", "--from", "-"], &format!("{url}\n")).await;
        exits(&refused, 2);
        assert!(err(&refused).contains(words) && !err(&refused).contains("geheim"), "{}", err(&refused));
    }
    assert_eq!(written(folder.path()), (1, 1));
}
