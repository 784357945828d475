//! What is wrong with a value, in the words of people who write manifests, and not of the program that reads them.

use super::similar::nearest;

/// The message of the reader of TOML in plain words. What has none is left as it is.
pub(super) fn in_plain_words(message: &str) -> String {
    let misfit = ["invalid type: ", "invalid value: "].into_iter().find_map(|start| message.strip_prefix(start));
    if let Some((found, expected)) = misfit.and_then(|misfit| misfit.rsplit_once(", expected ")) {
        return format!("{} stands where {} belongs", found_in_words(found), expected_in_words(expected));
    }
    let unknown = message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected "));
    let Some((word, expected)) = unknown else { return message.to_owned() };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let hint = nearest(word, &known).map(|nearest| format!("; did you mean \"{nearest}\"?")).unwrap_or_default();
    let known: Vec<_> = known.iter().map(|word| format!("\"{word}\"")).collect();
    format!("\"{word}\" is not one of {}{hint}", known.join(", "))
}

fn found_in_words(found: &str) -> String {
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    for number in ["integer `", "floating point `"] {
        if let Some(number) = found.strip_prefix(number) {
            return format!("the number {}", number.trim_end_matches('`'));
        }
    }
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other => other.strip_prefix("boolean ").unwrap_or(other).trim_matches('`').to_owned(),
    }
}

fn expected_in_words(expected: &str) -> String {
    let upto = |most: u64| format!("a whole number from 0 to {most}");
    match expected {
        "u8" => upto(u8::MAX.into()),
        "u16" => upto(u16::MAX.into()),
        "u32" => upto(u32::MAX.into()),
        "u64" | "usize" => "a whole number, 0 or more,".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a map" => "a table".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// The whole number that a text such as `64MB` or `5s` stands for, in the unit that the name of a limit ends in.
pub(super) fn number_meant(name: &str, text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<u64>().ok()?, text[digits..].trim().to_ascii_lowercase());
    let factor = match &*unit {
        "" => 1,
        "b" if name.ends_with("_bytes") => 1,
        "k" | "kb" | "kib" if name.ends_with("_bytes") => 1 << 10,
        "m" | "mb" | "mib" if name.ends_with("_bytes") => 1 << 20,
        "g" | "gb" | "gib" if name.ends_with("_bytes") => 1 << 30,
        "ms" if counts_ms(name) => 1,
        "s" if counts_ms(name) => 1_000,
        "m" | "min" if counts_ms(name) => 60_000,
        "h" if counts_ms(name) => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn counts_ms(name: &str) -> bool {
    name.ends_with("_ms") || name.contains("_ms_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_program_is_left() {
        for (message, plain) in [
            (
                "invalid type: string \"8080\", expected u16",
                "the text \"8080\" stands where a whole number from 0 to 65535 belongs",
            ),
            (
                "invalid value: integer `-1`, expected u32",
                "the number -1 stands where a whole number from 0 to 4294967295 belongs",
            ),
            ("invalid type: boolean `true`, expected u64", "true stands where a whole number, 0 or more, belongs"),
            ("invalid type: floating point `1.5`, expected i64", "the number 1.5 stands where a whole number belongs"),
            ("invalid type: integer `5`, expected a string", "the number 5 stands where a text belongs"),
            (
                "invalid type: string \"a, expected b\", expected a map",
                "the text \"a, expected b\" stands where a table belongs",
            ),
            ("invalid type: map, expected a sequence", "a table stands where a list belongs"),
            ("something else", "something else"),
        ] {
            assert_eq!(in_plain_words(message), plain);
        }
    }

    #[test]
    fn an_unknown_word_is_told_which_there_are_and_which_is_meant() {
        let of_two = in_plain_words("unknown variant `Early`, expected `commit` or `early`");
        assert_eq!(of_two, "\"Early\" is not one of \"commit\", \"early\"; did you mean \"early\"?");
        let of_three =
            in_plain_words("unknown variant `always`, expected one of `temporary`, `transient`, `permanent`");
        assert_eq!(of_three, "\"always\" is not one of \"temporary\", \"transient\", \"permanent\"");
    }

    #[test]
    fn a_number_with_a_unit_is_understood_to_say_which_number_to_write() {
        for (name, text, number) in [
            ("memory_bytes", "64MB", Some(64 << 20)),
            ("memory_bytes", "64 MiB", Some(64 << 20)),
            ("message_bytes", "4096", Some(4_096)),
            ("request_deadline_ms", "5s", Some(5_000)),
            ("cpu_ms_per_call", "2m", Some(120_000)),
            ("memory_bytes", "5s", None),
            ("children", "5k", None),
            ("memory_bytes", "much", None),
            ("memory_bytes", "", None),
            ("memory_bytes", "99999999999999999999", None),
            ("memory_bytes", "18446744073709551615GB", None),
        ] {
            assert_eq!(number_meant(name, text), number, "{name} = {text}");
        }
    }
}
