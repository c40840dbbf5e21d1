//! Where a secret can stand. Each place has a secret of its own.

/// A place, and what is written to put a secret there. `ECHO` is the receiver's address, `CANARY` the secret as it is,
/// `DOOR` the address where events are taken.
pub(super) struct Place {
    pub(super) name: &'static str,
    /// Files by their path below the folder of the daemon, and what stands in them.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Whether the receiver must have seen it: else the place would not be where it is thought to be.
    pub(super) sent: bool,
    /// Whether the file that holds it is a hook: its last good version is kept, in a folder that only the daemon can read.
    pub(super) inline: bool,
}

const fn place(name: &'static str, files: &'static [(&'static str, &'static str)]) -> Place {
    Place { name, files, sent: true, inline: false }
}

impl Place {
    const fn kept_back(self) -> Self {
        Self { sent: false, ..self }
    }

    const fn inline(self) -> Self {
        Self { inline: true, ..self }
    }

    /// The secret of the place with this number. One that a URL or a header holds literally is of plain letters.
    pub(super) fn canary(&self, number: usize) -> String {
        let core = format!("k{number:02}4nArY{number:02}xZq9w5TbL8mD3r");
        let awkward = ["a secret in a body", "a credential of systemd", "a secret in a query"].contains(&self.name);
        if awkward { format!("{core} \"q/é&+") } else { core }
    }
}

/// Hooks try again quickly, and quote the receiver in every way they can.
pub(super) const COMMON: &str = "events: [canary]\nretry: {first: 100ms, max: 100ms}\nbreaker: false\nverdict:\n  \
    - {when: status == 418, hold: \"said {{ text }}\"}\n  - {when: status == 429, pause: 1h, why: \"said {{ text }}\"}\n  \
    - {when: status == 422, reject: \"said {{ text }} {{ headers['x-said'] }}\"}\n";

#[rustfmt::skip]
pub(super) const PLACES: &[Place] = &[
    place("a whole URL, its token in the query", &[
        (".postrider/secrets.d/url-query", "http://ECHO/robot/send?access_token=CANARY"),
        ("hooks.d/url-query.yaml", "platform: webhook\noptions: {url: {secret: url-query}}\n"),
    ]),
    place("a whole URL, its token in the path", &[
        (".postrider/secrets.d/url-path", "http://ECHO/hook/CANARY"),
        ("hooks.d/url-path.yaml", "platform: webhook\noptions: {url: {secret: url-path}}\n"),
    ]),
    place("a whole URL with a password", &[
        (".postrider/secrets.d/url-login", "http://alice:CANARY@ECHO/login"),
        ("hooks.d/url-login.yaml", "platform: webhook\noptions: {url: {secret: url-login}}\n"),
    ]),
    place("a secret in a header", &[
        (".postrider/secrets.d/header", "CANARY"),
        ("hooks.d/header.yaml", "platform: webhook\noptions: {url: \"http://ECHO/header\", headers: {X-Key: \"{{ secret('header') }}\"}}\n"),
    ]),
    place("a secret in a body", &[
        (".postrider/secrets.d/body", "CANARY"),
        ("hooks.d/body.yaml", "platform: webhook\noptions: {url: \"http://ECHO/body\", json: {t: \"{{ secret('body') }}\"}}\n"),
    ]),
    place("a secret in a query", &[
        (".postrider/secrets.d/query", "CANARY"),
        ("hooks.d/query.yaml", "platform: webhook\noptions: {url: \"http://ECHO/query?x={{ secret('query') }}\"}\n"),
    ]),
    place("a credential of systemd", &[
        ("credentials/given", "CANARY"),
        ("hooks.d/given.yaml", "platform: webhook\noptions: {url: \"http://ECHO/given\", text: \"t={{ secret('given') }}\"}\n"),
    ]),
    place("a file by its absolute path", &[
        ("elsewhere/absolute", "CANARY"),
        ("hooks.d/absolute.yaml", "platform: webhook\noptions: {url: \"http://ECHO/absolute\", text: \"{{ secret('FOLDER/elsewhere/absolute') }}\"}\n"),
    ]),
    place("a key that signs", &[
        (".postrider/secrets.d/signs", "CANARY"),
        ("hooks.d/signs.yaml", "platform: webhook\noptions: {url: \"http://ECHO/signs\", text: x, sign: {preset: github, key: {secret: signs}}}\n"),
    ]).kept_back(),
    place("the secret of a robot", &[
        (".postrider/secrets.d/robot", "SECCANARY"),
        ("hooks.d/robot.yaml", "platform: dingtalk\noptions: {url: \"http://ECHO/robot\", secret: {secret: robot}, message: hello}\n"),
    ]).kept_back(),
    place("a token in a URL that stands in the file", &[
        ("hooks.d/in-query.yaml", "platform: dingtalk\noptions: {url: \"http://ECHO/in-query?access_token=CANARY\", message: hello}\n"),
    ]).inline(),
    place("a token in a path that stands in the file", &[
        ("hooks.d/in-path.yaml", "platform: lark\noptions: {url: \"http://ECHO/open-apis/bot/v2/hook/CANARY\", message: hello}\n"),
    ]).inline(),
    place("a password in a URL that stands in the file", &[
        ("hooks.d/in-login.yaml", "platform: webhook\noptions: {url: \"http://alice:CANARY@ECHO/in-login\"}\n"),
    ]).inline(),
    place("a bearer token that stands in the file", &[
        ("hooks.d/in-bearer.yaml", "platform: webhook\noptions: {url: \"http://ECHO/in-bearer\", headers: {Authorization: \"Bearer CANARY\"}}\n"),
    ]).inline(),
    place("a key in a header that stands in the file", &[
        ("hooks.d/in-key.yaml", "platform: webhook\noptions: {url: \"http://ECHO/in-key\", headers: {X-Api-Key: \"CANARY\"}}\n"),
    ]).inline(),
    place("the secret of a robot that stands in the file", &[
        ("hooks.d/in-robot.yaml", "platform: lark\noptions: {url: \"http://ECHO/in-robot\", secret: \"CANARY\", message: hello}\n"),
    ]).inline().kept_back(),
    place("what a hook is held for", &[
        (".postrider/secrets.d/held", "http://ECHO/held/CANARY"),
        ("hooks.d/held.yaml", "platform: webhook\noptions: {url: {secret: held}}\n"),
    ]),
    place("what a receiver is left alone for", &[
        (".postrider/secrets.d/paused", "http://ECHO/paused/CANARY"),
        ("hooks.d/paused.yaml", "platform: webhook\noptions: {url: {secret: paused}}\n"),
    ]),
    place("where a redirect leads", &[
        (".postrider/secrets.d/moved", "http://ECHO/moved/CANARY"),
        ("hooks.d/moved.yaml", "platform: webhook\noptions: {url: {secret: moved}}\n"),
    ]),
    place("what is no HTTP", &[
        (".postrider/secrets.d/garbage", "http://ECHO/garbage/CANARY"),
        ("hooks.d/garbage.yaml", "platform: webhook\noptions: {url: {secret: garbage}}\n"),
    ]),
    place("what is delivered", &[
        (".postrider/secrets.d/fine", "http://ECHO/fine/CANARY"),
        ("hooks.d/fine.yaml", "platform: webhook\noptions: {url: {secret: fine}}\n"),
    ]),
    place("the error of a template", &[
        (".postrider/secrets.d/template", "CANARY"),
        ("hooks.d/template.yaml", "platform: webhook\noptions: {url: \"http://ECHO/template\", text: \"{{ secret('template') | int }}{{ secret('template') + 1 }}\"}\n"),
    ]).kept_back(),
    place("the URL that a secret does not make", &[
        (".postrider/secrets.d/no-url", "CANARY"),
        ("hooks.d/no-url.yaml", "platform: webhook\noptions: {url: {secret: no-url}}\n"),
    ]).kept_back(),
    place("the error of a script", &[
        (".postrider/secrets.d/script", "CANARY"),
        ("scripts/platforms/telltale.rhai", "fn manifest() { #{summary: \"tells\", options: #{url: required(\"url\", \"where\"), key: required(\"secret\", \"what\")}} }\nfn request(delivery) { throw `no: ${delivery.options.key} ${to_base64(delivery.options.key)}`; }\n"),
        ("hooks.d/script.yaml", "platform: telltale\noptions: {url: \"http://ECHO/script\", key: {secret: script}}\n"),
    ]).kept_back(),
    place("a test in a file that fails", &[
        (".postrider/secrets.d/tested", "CANARY"),
        ("hooks.d/tested.yaml", "platform: webhook\noptions: {url: \"http://ECHO/tested\", text: \"{{ secret('tested') }}\"}\ntests: [{event: {type: canary, data: {}}, expect: {text: other}}]\n"),
    ]),
    place("a file that is no text", &[
        (".postrider/secrets.d/binary", "CANARY\u{0}BYTE"),
        ("hooks.d/binary.yaml", "platform: webhook\noptions: {url: \"http://ECHO/binary\", text: \"{{ secret('binary') }}\"}\n"),
    ]).kept_back(),
    place("a line with a mistyped key", &[
        ("hooks.d/mistyped.yaml", "platform: dingtalk\noptions: {ulr: \"https://oapi.dingtalk.com/robot/send?access_token=CANARY\", message: hello}\n"),
    ]).kept_back(),
    place("a line with a mistyped secret", &[
        ("hooks.d/secrte.yaml", "platform: dingtalk\noptions:\n  url: \"https://oapi.dingtalk.com/robot/send\"\n  secrte: SECCANARY\n  message: hello\n"),
    ]).kept_back(),
    place("a line that is no YAML", &[
        ("hooks.d/no-yaml.yaml", "platform: webhook\noptions:\n  url: https://h.example/\n  headers: {Authorization: \"Bearer CANARY\n"),
    ]).kept_back(),
    place("a value of the wrong kind", &[
        ("hooks.d/kind.yaml", "platform: webhook\noptions:\n  url: [\"https://h.example/?token=CANARY\"]\n"),
    ]).kept_back(),
    place("a host that depends on the event", &[
        ("hooks.d/host.yaml", "platform: webhook\noptions:\n  url: \"https://{{ data.host }}/hook/CANARY\"\n"),
    ]).kept_back(),
    place("the token of the listener", &[(".postrider/secrets.d/listener", "CANARY")]).kept_back(),
    place("the token of a source", &[(".postrider/secrets.d/source-token", "CANARY")]).kept_back(),
    place("the key of a source", &[(".postrider/secrets.d/source-key", "CANARY")]).kept_back(),
    place("a wrong token that somebody sends", &[]).kept_back(),
];
