//! The places that an event can fill, and how each is read back.

use postrider::edges::sink::Record;
use postrider::words::exchange::Request;
use postrider::words::json::Exact;
use url::Url;

/// Where the requests of the places are meant to go, when nobody listens there.
pub(super) const BASE: &str = "http://127.0.0.1:8471/";

/// One place.
pub(super) struct Place {
    pub(super) name: &'static str,
    /// The options besides the headers, as YAML; `URL` stands for the address.
    options: &'static str,
    /// A header beside our own.
    header: &'static str,
    read: fn(&Exact, &Seen) -> Result<(), String>,
    /// Why a value cannot be sent, if it cannot.
    refuses: fn(&Exact) -> Option<&'static str>,
}

/// A request as a receiver reads it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether it came over a line, where blanks around a header's value are none of it.
    over_tcp: bool,
}

impl Seen {
    pub(super) fn of_request(request: &Request) -> Self {
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        Self { url: request.url.clone(), headers: headers.collect(), body: request.body.to_vec(), over_tcp: false }
    }

    pub(super) fn of_record(record: &Record) -> Self {
        let headers = record.request.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        let url = format!("{}{}", BASE.trim_end_matches('/'), record.request.target);
        let headers: Vec<_> =
            headers.filter(|(name, _): &(String, String)| name != "host" && name != "content-length").collect();
        Self { url, headers, body: record.request.body.to_vec(), over_tcp: true }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(super) const PLACES: [Place; 10] = [
    Place {
        name: "url-path",
        options: "{url: 'URLa/{{ v }}/b?r=1', text: x}",
        header: "",
        read: path,
        refuses: only_dots,
    },
    Place {
        name: "url-query",
        options: "{url: 'URLa?q={{ v }}&r=1', text: x}",
        header: "",
        read: query,
        refuses: never,
    },
    Place {
        name: "header",
        options: "{url: 'URL', text: x}",
        header: "X-V: '{{ v }}'",
        read: header,
        refuses: not_a_line,
    },
    Place {
        name: "form",
        options: "{url: 'URL', form: {a: '{{ v }}', b: {c: ['{{ v }}']}, d: 'x {{ v }}'}}",
        header: "",
        read: form,
        refuses: never,
    },
    Place {
        name: "json",
        options: "{url: 'URL', json: {a: '{{ v }}', b: ['x {{ v }} y'], c: 1}}",
        header: "",
        read: json,
        refuses: never,
    },
    Place { name: "text", options: "{url: 'URL', text: 'x {{ v }} y'}", header: "", read: text, refuses: never },
    Place { name: "bytes", options: "{url: 'URL'}", header: "", read: bytes, refuses: never },
    Place {
        name: "xml-text",
        options: "{url: 'URL', xml: '<r><t>x{{ v }}y</t></r>'}",
        header: "",
        read: xml_text,
        refuses: no_xml,
    },
    Place {
        name: "xml-value",
        options: "{url: 'URL', xml: \"<r a=\\\"{{ v }}\\\" b='{{ v }}'/>\"}",
        header: "",
        read: xml_attributes,
        refuses: no_xml,
    },
    Place {
        name: "xml-tree",
        options: "{url: 'URL', xml: {r: {'@a': 'x{{ v }}', t: {'#text': 'x{{ v }}'}, u: 'x{{ v }}'}}}",
        header: "",
        read: xml_tree,
        refuses: no_xml,
    },
];

impl Place {
    /// Its hook file.
    pub(super) fn file(&self, url: &str) -> String {
        let options = self.options.strip_suffix('}').expect("a map").replace("URL", url);
        let more = if self.header.is_empty() { String::new() } else { format!(", {}", self.header) };
        format!(
            "events: hostile\nplatform: webhook\noptions: {options}, headers: {{X-By: '{} {{{{ event.id }}}}'{more}}}}}\n",
            self.name
        )
    }

    /// Whether the value is in its place and nowhere else; `Some` is why it could not be sent.
    pub(super) fn judge(&self, value: &Exact, seen: Result<Seen, &str>) -> Result<Option<&'static str>, String> {
        match (seen, (self.refuses)(value)) {
            (Ok(seen), None) => {
                destination(&seen)?;
                headers(&seen, self.header.is_empty())?;
                (self.read)(value, &seen)?;
                Ok(None)
            }
            (Err(said), Some(why)) if said.contains(why) => Ok(Some(why)),
            (Err(said), Some(why)) => Err(format!("it is refused because {said:?}, which does not say {why:?}")),
            (Err(said), None) => Err(format!("it is refused without need: {said}")),
            (Ok(_), Some(why)) => Err(format!("it is sent, although: {why}")),
        }
    }
}

fn destination(seen: &Seen) -> Result<(), String> {
    let url = Url::parse(&seen.url).map_err(|error| error.to_string())?;
    let whole = (url.scheme(), url.host_str(), url.port(), url.username(), url.password(), url.fragment());
    same(&whole, &("http", Some("127.0.0.1"), Some(8471), "", None, None))
}

fn headers(seen: &Seen, plain: bool) -> Result<(), String> {
    let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let mut wanted = vec!["content-type", "user-agent", "webhook-id", "x-by"];
    wanted.extend((!plain).then_some("x-v"));
    same(&names, &wanted)
}

/// A value as it stands in a text.
fn printed(value: &Exact) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn never(_: &Exact) -> Option<&'static str> {
    None
}

fn only_dots(value: &Exact) -> Option<&'static str> {
    matches!(printed(value).as_str(), "." | "..").then_some("only dots")
}

fn not_a_line(value: &Exact) -> Option<&'static str> {
    let text = printed(value);
    if text.contains(['\r', '\n', '\0']) {
        return Some("a line break or a zero byte");
    }
    if !text.is_ascii() {
        return Some("only ASCII");
    }
    text.bytes().any(|byte| byte != b'\t' && (byte < 0x20 || byte == 0x7f)).then_some("control characters")
}

fn no_xml(value: &Exact) -> Option<&'static str> {
    let outside = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || c == '\u{fffe}' || c == '\u{ffff}';
    printed(value).chars().any(outside).then_some("XML cannot carry the character U+")
}

fn path(value: &Exact, seen: &Seen) -> Result<(), String> {
    let url = Url::parse(&seen.url).map_err(|error| error.to_string())?;
    let segments: Vec<_> = url.path().split('/').collect();
    let decoded = percent_encoding::percent_decode_str(segments.get(2).unwrap_or(&"")).decode_utf8_lossy();
    same(&(segments.len(), segments[1], segments.last().copied(), url.query()), &(4, "a", Some("b"), Some("r=1")))?;
    same(&*decoded, printed(value).as_str())
}

fn query(value: &Exact, seen: &Seen) -> Result<(), String> {
    let url = Url::parse(&seen.url).map_err(|error| error.to_string())?;
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    same(&url.path(), &"/a")?;
    same(&pairs, &vec![("q".to_owned(), printed(value)), ("r".to_owned(), "1".to_owned())])
}

fn header(value: &Exact, seen: &Seen) -> Result<(), String> {
    let (came, sent) = (seen.header("x-v").unwrap_or("none"), printed(value));
    let blank = |c: char| c == ' ' || c == '\t';
    same(came, if seen.over_tcp { sent.trim_matches(blank) } else { &sent })
}

fn form(value: &Exact, seen: &Seen) -> Result<(), String> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&seen.body).into_owned().collect();
    let mut wanted = Vec::new();
    flat("a".to_owned(), value, &mut wanted);
    flat("b[c][]".to_owned(), value, &mut wanted);
    wanted.push(("d".to_owned(), format!("x {}", printed(value))));
    same(&pairs, &wanted)
}

fn flat(name: String, value: &Exact, out: &mut Vec<(String, String)>) {
    match value {
        Exact::Null => {}
        Exact::List(values) => values.iter().for_each(|value| flat(format!("{name}[]"), value, out)),
        Exact::Map(members) => members.iter().for_each(|(key, value)| flat(format!("{name}[{key}]"), value, out)),
        plain => out.push((name, printed(plain))),
    }
}

fn json(value: &Exact, seen: &Seen) -> Result<(), String> {
    let exact = Exact::parse(&seen.body).ok_or("the body is not JSON")?;
    let mut wanted = postrider::words::json::Members::new();
    wanted.insert("a".to_owned(), value.clone());
    wanted.insert("b".to_owned(), Exact::List(vec![Exact::String(format!("x {} y", printed(value)))]));
    wanted.insert("c".to_owned(), Exact::Number(1.into()));
    // As texts: members of the same names in another order are equal otherwise.
    same(&exact.to_string(), &Exact::Map(wanted).to_string())?;
    if let Exact::String(text) = value {
        let plain: serde_json::Value = serde_json::from_slice(&seen.body).map_err(|error| error.to_string())?;
        same(&plain["a"], &serde_json::Value::String(text.clone()))?;
    }
    Ok(())
}

fn text(value: &Exact, seen: &Seen) -> Result<(), String> {
    same(seen.body.as_slice(), format!("x {} y", printed(value)).as_bytes())
}

fn bytes(value: &Exact, seen: &Seen) -> Result<(), String> {
    let exact = Exact::parse(&seen.body).ok_or("the body is not JSON")?;
    same(&exact.get("v").map(Exact::to_string), &Some(value.to_string()))
}

/// The root element of a body, as an XML parser reads it.
fn with_root(seen: &Seen, look: impl FnOnce(roxmltree::Node<'_, '_>) -> Result<(), String>) -> Result<(), String> {
    let text = std::str::from_utf8(&seen.body).map_err(|error| error.to_string())?;
    let document = roxmltree::Document::parse(text).map_err(|error| format!("{error}: {text}"))?;
    same(&document.root().children().count(), &1)?;
    look(document.root_element())
}

fn xml_text(value: &Exact, seen: &Seen) -> Result<(), String> {
    with_root(seen, |root| {
        let t = root.first_element_child().ok_or("no element")?;
        same(&(root.descendants().filter(|node| node.is_element()).count(), t.tag_name().name()), &(2, "t"))?;
        same(t.text().unwrap_or_default(), format!("x{}y", printed(value)).as_str())
    })
}

fn xml_attributes(value: &Exact, seen: &Seen) -> Result<(), String> {
    with_root(seen, |root| {
        let attributes: Vec<_> = root.attributes().map(|one| (one.name(), one.value().to_owned())).collect();
        same(&attributes, &vec![("a", printed(value)), ("b", printed(value))])?;
        same(&root.has_children(), &false)
    })
}

fn xml_tree(value: &Exact, seen: &Seen) -> Result<(), String> {
    let wanted = format!("x{}", printed(value));
    with_root(seen, |root| {
        same(
            &root.attributes().map(|one| (one.name(), one.value())).collect::<Vec<_>>(),
            &vec![("a", wanted.as_str())],
        )?;
        let children: Vec<_> =
            root.children().map(|node| (node.tag_name().name(), node.text().unwrap_or_default())).collect();
        same(&children, &vec![("t", wanted.as_str()), ("u", wanted.as_str())])
    })
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(came: &T, wanted: &T) -> Result<(), String> {
    if came == wanted {
        return Ok(());
    }
    let start = |value: &T| format!("{value:?}").chars().take(1_000).collect::<String>();
    Err(format!("it reads {}, not {}", start(came), start(wanted)))
}
