//! The differences between two JSON values, each by its pointer (RFC 6901): the first, or all.

use serde_json::Value as Json;

/// A place where two values differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonDifference {
    /// Where: empty for the whole value, or as `/items/0/name`.
    pub(crate) pointer: String,
    /// What the first value has there; none if it has nothing.
    pub(crate) before: Option<Json>,
    pub(crate) after: Option<Json>,
}

/// The first difference; `None` if the values are equal.
pub(crate) fn first_difference(before: &Json, after: &Json) -> Option<JsonDifference> {
    differ(String::new(), Some(before), Some(after), false)
}

/// The first place where `whole` lacks something of `part`: an object may have further keys, a list may not have further
/// items. At the top, a text need only be a part of the other text.
pub(crate) fn first_lack(part: &Json, whole: &Json) -> Option<JsonDifference> {
    if let (Json::String(part), Json::String(whole)) = (part, whole)
        && whole.contains(part.as_str())
    {
        return None;
    }
    differ(String::new(), Some(part), Some(whole), true)
}

/// The first `most` differences, and how many there are beyond these. One of the values may be none.
pub(crate) fn all_differences(before: Option<&Json>, after: Option<&Json>, most: usize) -> (Vec<JsonDifference>, u64) {
    let mut found = AllDifferences { listed: Vec::new(), most, more: 0 };
    found.compare(&mut String::new(), before, after);
    (found.listed, found.more)
}

struct AllDifferences {
    listed: Vec<JsonDifference>,
    most: usize,
    more: u64,
}

impl AllDifferences {
    fn compare(&mut self, pointer: &mut String, before: Option<&Json>, after: Option<&Json>) {
        match (before, after) {
            (before, after) if before == after => {}
            (Some(Json::Object(one)), Some(Json::Object(other))) => {
                one.iter().for_each(|(key, value)| self.within(pointer, key, Some(value), other.get(key)));
                let further = other.iter().filter(|(key, _)| !one.contains_key(*key));
                further.for_each(|(key, value)| self.within(pointer, key, None, Some(value)));
            }
            (Some(Json::Array(one)), Some(Json::Array(other))) => {
                let length = one.len().max(other.len());
                (0..length).for_each(|at| self.within(pointer, &at.to_string(), one.get(at), other.get(at)));
            }
            _ if self.listed.len() >= self.most => self.more += 1,
            (before, after) => {
                let (before, after) = (before.cloned(), after.cloned());
                self.listed.push(JsonDifference { pointer: pointer.clone(), before, after });
            }
        }
    }

    fn within(&mut self, pointer: &mut String, key: &str, before: Option<&Json>, after: Option<&Json>) {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&escaped(key));
        self.compare(pointer, before, after);
        pointer.truncate(length);
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn differ(
    pointer: String,
    before: Option<&Json>,
    after: Option<&Json>,
    after_may_have_more: bool,
) -> Option<JsonDifference> {
    let inner =
        |key: &str, before, after| differ(format!("{pointer}/{}", escaped(key)), before, after, after_may_have_more);
    match (before, after) {
        (before, after) if before == after => None,
        (Some(Json::Object(one)), Some(Json::Object(other))) => {
            let of_one = one.iter().find_map(|(key, value)| inner(key, Some(value), other.get(key)));
            let further = other.iter().filter(|(key, _)| !after_may_have_more && !one.contains_key(*key));
            of_one.or_else(|| further.into_iter().find_map(|(key, value)| inner(key, None, Some(value))))
        }
        (Some(Json::Array(one)), Some(Json::Array(other))) => {
            (0..one.len().max(other.len())).find_map(|at| inner(&at.to_string(), one.get(at), other.get(at)))
        }
        (before, after) => Some(JsonDifference { pointer, before: before.cloned(), after: after.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(found: Option<JsonDifference>) -> Option<String> {
        found.map(|found| found.pointer)
    }

    #[test]
    fn the_first_difference_is_named_by_its_pointer() {
        let before = json!({ "a": [1, { "b/c": 2 }], "z": 1 });
        assert_eq!(first_difference(&before, &before), None);
        let after = json!({ "a": [1, { "b/c": 3 }], "z": 2 });
        let difference = first_difference(&before, &after).expect("another number");
        assert_eq!((difference.pointer.as_str(), difference.before), ("/a/1/b~1c", Some(json!(2))));
        assert_eq!(at(first_difference(&json!([1]), &json!([1, 2]))), Some("/1".into()));
        assert_eq!(at(first_difference(&json!({}), &json!({ "more": 1 }))), Some("/more".into()));
        assert_eq!(at(first_difference(&json!(1), &json!("1"))), Some(String::new()));
    }

    #[test]
    fn all_differences_are_listed_in_order_and_the_rest_is_counted() {
        let before = json!({ "a/b": [1, 2, 3], "gone": { "x": 1 }, "same": [[]], "z": 1 });
        let after = json!({ "a/b": [1, 5], "same": [[]], "z": "1", "new": null });
        let pointers = |most| {
            let (listed, more) = all_differences(Some(&before), Some(&after), most);
            (listed.into_iter().map(|it| it.pointer).collect::<Vec<_>>(), more)
        };
        assert_eq!(pointers(9), (["/a~1b/1", "/a~1b/2", "/gone", "/z", "/new"].map(String::from).into(), 0));
        assert_eq!(pointers(2), (["/a~1b/1", "/a~1b/2"].map(String::from).into(), 3));
        assert_eq!(all_differences(Some(&before), Some(&before), 9), (Vec::new(), 0));
        let (listed, _) = all_differences(None, Some(&json!(null)), 9);
        assert_eq!(listed, [JsonDifference { pointer: String::new(), before: None, after: Some(json!(null)) }]);
    }

    #[test]
    fn a_part_may_lack_keys_of_the_whole_and_no_more_than_that() {
        let whole = json!({ "a": { "b": 1, "c": 2 }, "list": [1, 2] });
        assert_eq!(first_lack(&json!({ "a": { "c": 2 } }), &whole), None);
        assert_eq!(at(first_lack(&json!({ "a": { "d": 2 } }), &whole)), Some("/a/d".into()));
        assert_eq!(at(first_lack(&json!({ "list": [1] }), &whole)), Some("/list/1".into()));
        assert_eq!(first_lack(&json!("part"), &json!("a part of it")), None);
        assert_eq!(at(first_lack(&json!("whole"), &json!("a part of it"))), Some(String::new()));
    }
}
