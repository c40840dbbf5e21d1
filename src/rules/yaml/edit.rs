//! Changes single values in a YAML text and leaves every other byte as it is: comments, order, and how things are written.
//!
//! Where both are maps, or lists of one length, only what differs inside of them is touched. What stands in braces stays
//! in braces.

use crate::rules::diagnostic::Source;
use crate::rules::yaml::{Key, Node, Style, Value, write};
use crate::words::json::{Exact, Members};

/// One change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// The text cannot be changed there by a rule: an alias, a merge, an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

type Edits = Result<Vec<Edit>, Unclear>;

/// The changes that give the members of a map these values; `None` takes a member away. Others stay.
///
/// # Errors
/// It cannot be told where.
pub fn members(source: &Source, map: &Node, wanted: &[(&str, Option<Exact>)]) -> Edits {
    let Value::Map(entries) = &map.value else { return Err(Unclear) };
    let wanted = wanted.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    Place { text: &source.text, source, flow: false }.map(map, entries, wanted.collect())
}

/// The changes that make a map this one, written anew as a whole where it differs.
///
/// # Errors
/// It cannot be told where.
pub fn member_whole(source: &Source, map: &Node, key: &str, value: &Exact) -> Edits {
    let Value::Map(entries) = &map.value else { return Err(Unclear) };
    let place = Place { text: &source.text, source, flow: false }.of(map);
    match entries.iter().find(|(known, _)| known.name == key) {
        Some((key, node)) => Ok(vec![place.replace(key, node, value)?]),
        None => place.insert(map, entries, &[(key.to_owned(), value.clone())]).map(|edit| vec![edit]),
    }
}

/// The text with these changes, none of which may touch another.
///
/// # Errors
/// Two of them do.
pub fn apply(text: &str, mut edits: Vec<Edit>) -> Result<String, Unclear> {
    edits.sort_by_key(|edit| (edit.start, edit.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in &edits {
        out.push_str(text.get(at..edit.start).ok_or(Unclear)?);
        out.push_str(&edit.text);
        at = edit.end;
    }
    out.push_str(text.get(at..).ok_or(Unclear)?);
    Ok(out)
}

/// Where in the text we are.
#[derive(Clone, Copy)]
struct Place<'a> {
    text: &'a str,
    source: &'a Source,
    /// Between braces or brackets.
    flow: bool,
}

impl<'a> Place<'a> {
    /// Inside of this container.
    fn of(self, node: &Node) -> Self {
        Self { flow: self.flow || self.is_flow(node), ..self }
    }

    fn is_flow(self, node: &Node) -> bool {
        matches!(node.value, Value::List(_) | Value::Map(_)) && node.span.end > node.span.start
    }

    fn map(self, map: &Node, entries: &[(Key, Node)], wanted: Vec<(String, Option<Exact>)>) -> Edits {
        let inside = self.of(map);
        let mut edits = Vec::new();
        let mut new = Vec::new();
        let mut first_goes = false;
        for (key, value) in wanted {
            match (entries.iter().position(|(known, _)| known.name == key), value) {
                (Some(at), Some(value)) => edits.extend(inside.value(&entries[at].0, &entries[at].1, &value)?),
                (Some(at), None) => {
                    edits.push(inside.remove(entries, at)?);
                    first_goes |= at == 0;
                }
                (None, Some(value)) => new.push((key, value)),
                (None, None) => {}
            }
        }
        // What goes with the first up to the second must not be touched twice.
        if first_goes && edits.len() > 1 {
            return Err(Unclear);
        }
        if !new.is_empty() {
            edits.push(inside.insert(map, entries, &new)?);
        }
        Ok(edits)
    }

    /// The changes of one member.
    fn value(self, key: &Key, node: &Node, wanted: &Exact) -> Edits {
        if self.is(node, wanted) {
            return Ok(Vec::new());
        }
        self.begins_at(key, node)?;
        match self.inner(node, wanted) {
            Ok(edits) => Ok(edits),
            Err(Unclear) => self.replace(key, node, wanted).map(|edit| vec![edit]),
        }
    }

    /// The changes inside of a value, if that is enough.
    fn inner(self, node: &Node, wanted: &Exact) -> Edits {
        match (&node.value, wanted) {
            (Value::Map(entries), Exact::Map(members)) => {
                let gone = entries.iter().filter(|(key, _)| !members.contains_key(&key.name));
                let gone: Vec<_> = gone.map(|(key, _)| (key.name.clone(), None)).collect();
                if gone.len() == entries.len() {
                    return Err(Unclear);
                }
                let there = members.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
                self.map(node, entries, gone.into_iter().chain(there).collect())
            }
            (Value::List(nodes), Exact::List(values)) if nodes.len() == values.len() => {
                let inside = self.of(node);
                let edits = nodes.iter().zip(values).map(|(node, value)| inside.entry(node, value));
                Ok(edits.collect::<Result<Vec<_>, _>>()?.concat())
            }
            _ => Err(Unclear),
        }
    }

    /// The changes of one entry of a list.
    fn entry(self, node: &Node, wanted: &Exact) -> Edits {
        if self.is(node, wanted) {
            return Ok(Vec::new());
        }
        if let Ok(edits) = self.inner(node, wanted) {
            return Ok(edits);
        }
        let one_line = matches!(node.value, Value::String(_) | Value::Number(_) | Value::Bool(_))
            && node.style != Style::Block
            && node.span.end > node.span.start;
        if !one_line && !self.is_flow(node) {
            return Err(Unclear);
        }
        Ok(vec![Edit { start: node.span.start, end: self.end(node, node.span.start)?, text: write::flow(wanted) }])
    }

    /// Whether a value is this one, by what it says.
    fn is(self, node: &Node, wanted: &Exact) -> bool {
        same(&node.to_exact(self.source), wanted)
            || (wanted.as_str() == Some(node.written(self.source))
                && matches!(node.value, Value::Number(_) | Value::Bool(_)))
    }

    /// Where the value of a key begins in the text: behind its colon.
    fn begins_at(self, key: &Key, node: &Node) -> Result<usize, Unclear> {
        let colon = self.text.get(key.span.end..).and_then(|rest| rest.find(':')).ok_or(Unclear)?;
        let begin = key.span.end + colon + 1;
        if is_nothing(node) {
            return Ok(begin);
        }
        // What comes from an anchor stands elsewhere; an anchor or a tag must not go.
        let between = self.text.get(begin..node.span.start).ok_or(Unclear)?;
        let clear = |line: &str| {
            let word = line.trim();
            word.is_empty() || word.starts_with(['#', '|', '>', '-'])
        };
        between.lines().all(clear).then_some(begin).ok_or(Unclear)
    }

    fn replace(self, key: &Key, node: &Node, wanted: &Exact) -> Result<Edit, Unclear> {
        let start = self.begins_at(key, node)?;
        let end = self.end(node, start)?;
        let column = self.column(key.span.start);
        let was_below = !self.is_flow(node) && matches!(node.value, Value::Map(_) | Value::List(_));
        let text = match (self.flow, was_below) {
            (true, _) => format!(" {}", write::flow(wanted)),
            (false, true) => write::below_key(wanted, column),
            (false, false) => write::behind_key(&key.name, wanted, column),
        };
        Ok(Edit { start, end, text })
    }

    /// Takes a member away.
    fn remove(self, entries: &[(Key, Node)], at: usize) -> Result<Edit, Unclear> {
        let end_of = |at: usize| {
            let (key, node) = &entries[at];
            self.end(node, self.begins_at(key, node)?)
        };
        let (start, end) = match (at.checked_sub(1), entries.get(at + 1)) {
            (Some(before), _) if self.flow => (end_of(before)?, end_of(at)?),
            (Some(_), _) => {
                let start = self.line_start(entries[at].0.span.start);
                (start, self.line_end(end_of(at)?))
            }
            (None, Some((next, _))) => (entries[at].0.span.start, next.span.start),
            (None, None) => return Err(Unclear),
        };
        (start <= end).then_some(Edit { start, end, text: String::new() }).ok_or(Unclear)
    }

    /// Puts members behind the last.
    fn insert(self, map: &Node, entries: &[(Key, Node)], new: &[(String, Exact)]) -> Result<Edit, Unclear> {
        let members: Members = new.iter().cloned().collect();
        let Some((key, node)) = entries.last() else {
            let braces = write::flow(&Exact::Map(members));
            let inside = braces.trim_start_matches('{').trim_end_matches('}').to_owned();
            let at = map.span.end;
            return self.flow.then_some(Edit { start: at, end: at, text: inside }).ok_or(Unclear);
        };
        let end = self.end(node, self.begins_at(key, node)?)?;
        if self.flow {
            let list = members.iter().map(|(key, value)| format!(", {}: {}", write::text(key), write::flow(value)));
            return Ok(Edit { start: end, end, text: list.collect() });
        }
        let column = self.column(entries[0].0.span.start);
        let lines = write::members(&members, column);
        let at = self.line_end(end);
        let before = if self.text[..at].ends_with('\n') { "" } else { "\n" };
        Ok(Edit { start: at, end: at, text: format!("{before}{lines}\n") })
    }

    /// Where a value ends that begins behind `from`.
    fn end(self, node: &Node, from: usize) -> Result<usize, Unclear> {
        if is_nothing(node) {
            return Ok(from);
        }
        let begin = node.span.start;
        if begin < from {
            return Err(Unclear);
        }
        let last = match &node.value {
            Value::Map(entries) => match entries.last() {
                Some((key, node)) if key.span.start >= begin => Some(self.end(node, self.begins_at(key, node)?)?),
                Some(_) => return Err(Unclear),
                None => None,
            },
            Value::List(nodes) if nodes.last().is_some_and(is_nothing) => return Err(Unclear),
            Value::List(nodes) => nodes.last().map(|node| self.end(node, begin)).transpose()?,
            _ => {
                let written = self.text.get(begin..node.span.end).ok_or(Unclear)?;
                return Ok(begin + written.trim_end().len());
            }
        };
        match (self.is_flow(node), last) {
            (true, last) => self.closing(last.unwrap_or(node.span.end)),
            (false, Some(last)) => Ok(last),
            (false, None) => Err(Unclear),
        }
    }

    /// Behind the bracket that closes; before it stand blanks, comments and perhaps a comma.
    fn closing(self, mut at: usize) -> Result<usize, Unclear> {
        loop {
            let rest = self.text.get(at..).ok_or(Unclear)?;
            match rest.chars().next() {
                Some('}' | ']') => return Ok(at + 1),
                Some('#') => at += rest.find('\n').ok_or(Unclear)?,
                Some(c) if c == ',' || c.is_whitespace() => at += c.len_utf8(),
                _ => return Err(Unclear),
            }
        }
    }

    fn line_start(self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |before| before + 1)
    }

    /// Behind the line break.
    fn line_end(self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn column(self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count()
    }
}

/// Whether nothing stands there at all, not even `null`.
fn is_nothing(node: &Node) -> bool {
    node.value == Value::Null && node.span.start == node.span.end
}

/// Whether two values say the same: numbers by what they are worth.
pub fn same(a: &Exact, b: &Exact) -> bool {
    match (a, b) {
        (Exact::Number(a), Exact::Number(b)) => a.has_value_of(b),
        (Exact::List(a), Exact::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Exact::Map(a), Exact::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::yaml::parse;

    fn edited(text: &str, key: &str, value: Option<&str>) -> Result<String, Unclear> {
        let source = Source::new("f.yaml", text);
        let node = parse(&source).unwrap();
        let value = value.map(|value| Exact::parse(value.as_bytes()).unwrap());
        apply(text, members(&source, &node, &[(key, value)])?)
    }

    #[test]
    fn only_what_differs_is_written_anew() {
        let text = "# top\na: 1   # one\nk:   # of k\n  x: old   # x\n  l: [1, 'b', {c: d}] # l\n  t: |\n    two\n    lines\n\n# tail\nz: 'q'\n";
        let now = r#"{"x": "new", "l": [1, "c", {"c": "e"}], "t": "two\nlines\n"}"#;
        let expected = text.replace("x: old", "x: new").replace("'b', {c: d}", "c, {c: e}");
        assert_eq!(edited(text, "k", Some(now)).unwrap(), expected);
        assert_eq!(edited(text, "z", Some("\"q\"")).unwrap(), text, "the same is not written anew");
        assert_eq!(edited(text, "a", Some("1.0")).unwrap(), text);
        assert_eq!(edited(text, "a", Some("\"1\"")).unwrap(), text);
        let blocks = r#"{"x": "old", "l": [1, "b", {"c": "d"}], "t": "one"}"#;
        assert_eq!(
            edited(text, "k", Some(blocks)).unwrap(),
            text.replace("t: |\n    two\n    lines\n", "t: one\n"),
            "a block becomes a line, and what stands below stays"
        );
    }

    #[test]
    fn members_come_and_go() {
        let text = "- {a: 1, b: {c: 2}, }\n";
        let source = Source::new("f.yaml", text);
        let Value::List(list) = parse(&source).unwrap().value else { panic!() };
        let with = |wanted: &[(&str, Option<Exact>)]| apply(text, members(&source, &list[0], wanted)?);
        let new = || Some(Exact::parse(b"{\"x\": [true]}").unwrap());
        assert_eq!(with(&[("e", new())]).unwrap(), "- {a: 1, b: {c: 2}, e: {x: [true]}, }\n");
        assert_eq!(with(&[("b", None)]).unwrap(), "- {a: 1, }\n");
        assert_eq!(with(&[("a", None)]).unwrap(), "- {b: {c: 2}, }\n");
        assert_eq!(with(&[("b", None), ("e", new())]).unwrap(), "- {a: 1, e: {x: [true]}, }\n");
        assert_eq!(with(&[("a", None), ("b", None)]), Err(Unclear));

        let text = "a: 1\nb:\n  - c: 2  # c\n    d:\n\n# end\n";
        assert_eq!(edited(text, "e", Some("{\"x\": 1}")).unwrap(), text.replace("d:\n", "d:\ne: {x: 1}\n"));
        assert_eq!(edited(text, "b", None).unwrap(), "a: 1\n\n# end\n");
        assert_eq!(edited(text, "a", None).unwrap(), &text[5..]);
        assert_eq!(
            edited(text, "b", Some("[{\"c\": 3, \"d\": null, \"f\": 4}]")).unwrap(),
            "a: 1\nb:\n  - c: 3  # c\n    d:\n    f: 4\n\n# end\n"
        );
        assert_eq!(edited("a: 1", "e", Some("2")).unwrap(), "a: 1\ne: 2\n");
        assert_eq!(edited("a: {}\n", "a", Some("{\"b\": 1}")).unwrap(), "a: {b: 1}\n");
        assert_eq!(edited("a:\n", "a", Some("{\"b\": 1}")).unwrap(), "a: {b: 1}\n");
        assert_eq!(edited("a: # why\n  b: 1\n", "a", Some("{\"c\": 1}")).unwrap(), "a:\n  c: 1\n");
    }

    #[test]
    fn what_comes_from_elsewhere_is_left_to_a_person() {
        for (text, key) in
            [("a: &x {b: 1}\nc: *x\n", "c"), ("a: &x {b: 1}\nc: *x\n", "a"), ("a: &x 1\nc: {<<: {b: 1}}\n", "a")]
        {
            assert_eq!(edited(text, key, Some("{\"b\": 2}")), Err(Unclear), "{text}");
        }
    }
}
