//! Label selectors in their short form, as a `scale` subresource states them: `app=web,tier in (a,b),!canary`.

use kube::core::{Expression, Selector};

/// The selector that the text states; `None` where it is not one.
pub(super) fn parse(text: &str) -> Option<Selector> {
    let mut selector = Selector::default();
    for requirement in requirements(text)? {
        selector.extend([expression(requirement.trim())?]);
    }
    Some(selector)
}

/// Split at the commas outside brackets.
fn requirements(text: &str) -> Option<Vec<&str>> {
    let (mut found, mut inside, mut start) = (Vec::new(), false, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => return None,
            ',' if !inside => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    (!inside).then_some(found)
}

fn expression(text: &str) -> Option<Expression> {
    if let Some(key) = text.strip_prefix('!') {
        return Some(Expression::DoesNotExist(word(key)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(word(key)?, word(value)?));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Expression::Equal(word(key)?, word(value).or_else(|| empty(value))?));
    }
    let Some((key, values)) = text.split_once('(') else { return Some(Expression::Exists(word(text)?)) };
    let values = values.strip_suffix(')')?.split(',').map(word).collect::<Option<_>>()?;
    match key.trim().rsplit_once(char::is_whitespace)? {
        (key, "in") => Some(Expression::In(word(key)?, values)),
        (key, "notin") => Some(Expression::NotIn(word(key)?, values)),
        _ => None,
    }
}

/// A key or a value: no white space, no sign of another requirement.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!text.is_empty() && text.chars().all(fits)).then(|| text.to_owned())
}

fn empty(text: &str) -> Option<String> {
    text.trim().is_empty().then(String::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::SelectorExt;
    use std::collections::BTreeMap;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn each_kind_of_requirement_is_understood() {
        let web = [("app", "web"), ("tier", "a")];
        for selector in
            ["app=web", "app == web, tier in (a, b)", "tier notin (c,d),app", "!canary", "app!=db"]
        {
            assert!(selects(selector, &web), "{selector}");
        }
        for selector in
            ["app=db", "app=web,tier in (b)", "tier notin (a)", "canary", "!app", "app!=web", "app="]
        {
            assert!(!selects(selector, &web), "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_none() {
        for text in ["", "app in web", "app in (web", "a b", "app=web,", "app)(", "x within (a)"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
