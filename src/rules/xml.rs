//! XML documents: escaping what is filled in, writing a tree as elements, and the check that a document is one.
//!
//! A tree is a map with one member, the root. A map holds elements by name, a list repeats its element, `@name` is an
//! attribute, `#text` the text beside attributes; `null` is an empty element, or an attribute that is left out.

use std::borrow::Cow;

use roxmltree::{Document, ParsingOptions};

use crate::words::json::{Exact, Members};

/// Makes a value harmless in an element's text and in a quoted attribute. Line breaks and tabs are written as
/// references, because a reader of an attribute turns bare ones into blanks.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_all(text, &['&', '<', '>', '"', '\'', '\t', '\n', '\r'])
}

fn escape_all<'t>(text: &'t str, marks: &[char]) -> Cow<'t, str> {
    if !text.contains(marks) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !marks.contains(&c) => out.push(c),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

/// The first character that XML 1.0 cannot carry, not even as a reference.
fn refused(text: &str) -> Option<char> {
    text.chars()
        .find(|c| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
}

/// Checks that XML can carry a text at all.
///
/// # Errors
/// The character that it cannot carry, and the remedy.
pub(crate) fn check_text(text: &str) -> Result<(), String> {
    match refused(text) {
        Some(c) => Err(format!(
            "XML cannot carry the character U+{:04X}: take such characters out with {{{{ value | printable }}}}",
            u32::from(c)
        )),
        None => Ok(()),
    }
}

/// Checks that a text is a well-formed document.
///
/// # Errors
/// Why not, with line and column of the document.
pub(crate) fn check(document: &str) -> Result<(), String> {
    check_text(document)?;
    // What a document type declares is bounded by the parser, and nothing outside of the document is read.
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    match Document::parse_with_options(document, options) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("this is no well-formed XML: {error}")),
    }
}

/// Where in a template a value would stand in a CDATA section, a comment or an instruction, in which nothing can be
/// escaped; and what that is.
pub(crate) fn unescapable(template: &str) -> Option<(usize, &'static str)> {
    const SECTIONS: [(&str, &str, &str); 3] =
        [("<![CDATA[", "]]>", "a CDATA section"), ("<!--", "-->", "a comment"), ("<?", "?>", "an instruction")];
    let mut at = 0;
    loop {
        let next = |(open, close, what)| template[at..].find(open).map(|found| (at + found, close, what));
        let (open, close, what) = SECTIONS.into_iter().filter_map(next).min()?;
        let end = template[open + 2..].find(close).map_or(template.len(), |found| open + 2 + found);
        if let Some(value) = template[open..end].find("{{") {
            return Some((open + value, what));
        }
        at = end;
    }
}

/// Whether a text can name an element or attribute.
pub(crate) fn is_name(name: &str) -> bool {
    let begins = |c: char| {
        matches!(c, ':' | '_' | 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
            | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
            | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}'
            | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
    };
    let goes_on = |c: char| {
        begins(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
    };
    name.starts_with(begins) && name.chars().all(goes_on)
}

/// Writes a tree as a document.
///
/// # Errors
/// What cannot be XML.
pub(crate) fn document(tree: &Exact) -> Result<String, String> {
    let root = match tree {
        Exact::Map(members) if members.len() == 1 => members.iter().next(),
        _ => None,
    };
    let (name, value) = root.ok_or("an XML document is a map with one member, which names its root element")?;
    if matches!(value, Exact::List(_)) || name.starts_with(['@', '#']) {
        return Err("an XML document has one root element".to_owned());
    }
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    element(name, value, &mut out)?;
    out.push('\n');
    check(&out)?;
    Ok(out)
}

fn element(name: &str, value: &Exact, out: &mut String) -> Result<(), String> {
    if let Exact::List(values) = value {
        for value in values {
            if matches!(value, Exact::List(_)) {
                return Err(format!("a list inside of the list `{name}` has no name in XML"));
            }
            element(name, value, out)?;
        }
        return Ok(());
    }
    checked_name(name)?;
    out.push('<');
    out.push_str(name);
    match value {
        Exact::Map(members) => {
            attributes(members, out)?;
            content(name, members, out)?;
        }
        Exact::Null => out.push_str("/>"),
        plain => {
            out.push('>');
            text(name, plain, out)?;
            close(name, out);
        }
    }
    Ok(())
}

fn attributes(members: &Members, out: &mut String) -> Result<(), String> {
    for (key, value) in members {
        let Some(name) = key.strip_prefix('@') else { continue };
        if value.is_null() {
            continue;
        }
        checked_name(name)?;
        let text = value.scalar().ok_or_else(|| format!("the attribute `{key}` must be a text"))?;
        check_text(&text)?;
        let text = escape_all(&text, &['&', '<', '"', '\t', '\n', '\r']);
        out.push_str(&format!(" {name}=\"{text}\""));
    }
    Ok(())
}

fn content(name: &str, members: &Members, out: &mut String) -> Result<(), String> {
    if members.keys().all(|key| key.starts_with('@')) {
        out.push_str("/>");
        return Ok(());
    }
    out.push('>');
    for (key, value) in members.iter().filter(|(key, _)| !key.starts_with('@')) {
        match key.as_str() {
            "#text" if value.is_null() => {}
            "#text" => text(name, value, out)?,
            key => element(key, value, out)?,
        }
    }
    close(name, out);
    Ok(())
}

fn text(element: &str, value: &Exact, out: &mut String) -> Result<(), String> {
    let text = value.scalar().ok_or_else(|| format!("`#text` of `{element}` must be a text"))?;
    check_text(&text)?;
    out.push_str(&escape_all(&text, &['&', '<', '>', '\r']));
    Ok(())
}

fn close(name: &str, out: &mut String) {
    out.push_str(&format!("</{name}>"));
}

fn checked_name(name: &str) -> Result<(), String> {
    if is_name(name) { Ok(()) } else { Err(format!("{name:?} cannot be the name of an XML element or attribute")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(json: &str) -> Result<String, String> {
        let document = document(&Exact::parse(json.as_bytes()).unwrap())?;
        Ok(document.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").unwrap().trim_end().to_owned())
    }

    #[test]
    fn a_tree_becomes_elements() {
        for (tree, wanted) in [
            (r#"{"a":"b"}"#, "<a>b</a>"),
            (r#"{"a":null}"#, "<a/>"),
            (r#"{"a":""}"#, "<a></a>"),
            (r#"{"a":{}}"#, "<a/>"),
            (r#"{"a":{"z":1.10,"b":[true,null,{"c":1}],"d":[]}}"#, "<a><z>1.10</z><b>true</b><b/><b><c>1</c></b></a>"),
            (r#"{"a":{"x":1,"@id":7,"@no":null,"@t":"\"<\n"}}"#, "<a id=\"7\" t=\"&quot;&lt;&#10;\"><x>1</x></a>"),
            (r##"{"a":{"@id":7,"#text":"x]]>\r\n'"}}"##, "<a id=\"7\">x]]&gt;&#13;\n'</a>"),
            (r#"{"a":{"@xmlns:p":"urn:p","p:b":"é应🎮"}}"#, "<a xmlns:p=\"urn:p\"><p:b>é应🎮</p:b></a>"),
        ] {
            assert_eq!(made(tree).unwrap(), wanted, "{tree}");
        }
    }

    #[test]
    fn what_cannot_be_xml_is_refused() {
        for (tree, why) in [
            ("{}", "one member"),
            (r#"{"a":1,"b":2}"#, "one member"),
            (r#""a""#, "one member"),
            (r#"{"a":[1,2]}"#, "one root"),
            (r#"{"@a":1}"#, "one root"),
            (r#"{"a":{"b":[[1]]}}"#, "a list inside"),
            (r#"{"a b":1}"#, "cannot be the name"),
            (r#"{"a":{"<b>":1}}"#, "cannot be the name"),
            (r#"{"a":{"@x":{}}}"#, "must be a text"),
            (r##"{"a":{"#text":[1]}}"##, "must be a text"),
            (r#"{"a":"\u0007"}"#, "U+0007"),
            (r#"{"a":{"@b":"\uffff"}}"#, "U+FFFF"),
            (r#"{"p:a":1}"#, "well-formed"),
        ] {
            let said = made(tree).unwrap_err();
            assert!(said.contains(why), "{tree}: {said}");
        }
    }

    #[test]
    fn documents_are_checked() {
        for good in
            ["<a/>", "<?xml version=\"1.0\"?>\n<a b='&#10;'>x &amp; y</a>\n", "<!DOCTYPE a><a><![CDATA[<]]></a>"]
        {
            check(good).unwrap_or_else(|why| panic!("{good}: {why}"));
        }
        let lol = format!(
            "<!DOCTYPE a [<!ENTITY x \"lol\">{}]><a>&x9;</a>",
            (0..10)
                .map(|n| format!(
                    "<!ENTITY x{n} \"{}\">",
                    if n == 0 { "&x;".repeat(10) } else { format!("&x{};", n - 1).repeat(10) }
                ))
                .collect::<String>()
        );
        for bad in [
            "",
            "a",
            "<a>",
            "<a></b>",
            "<a b=c/>",
            "<a>&nbsp;</a>",
            "<a/><b/>",
            "<a>&#7;</a>",
            "<a>\u{7}</a>",
            "<a b='1' b='2'/>",
            &lol,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&"<a>".repeat(300_000)).is_err());
    }

    #[test]
    fn values_cannot_stand_where_nothing_is_escaped() {
        for (template, what) in [
            ("<a><![CDATA[{{ x }}]]></a>", "a CDATA section"),
            ("<a><!-- {{ x }} --></a>", "a comment"),
            ("<?xml version='1.0'?><a>{{ y }}</a><?p {{ x }}?>", "an instruction"),
            ("<!-- a --><a><![CDATA[b]]>{{ y }}<![CDATA[ {{ x }}", "a CDATA section"),
        ] {
            let (at, found) = unescapable(template).unwrap();
            assert_eq!((found, &template[at..at + 6]), (what, "{{ x }"), "{template}");
        }
        for fine in ["<a>{{ x }}</a>", "<?xml version='1.0'?><a b='{{ x }}'><!-- b -->{{ x }}<![CDATA[c]]></a>", ""] {
            assert_eq!(unescapable(fine), None, "{fine}");
        }
    }
}
