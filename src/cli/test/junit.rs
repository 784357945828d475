//! The outcome of tests as JUnit XML, which build servers read.

use super::TestResult;

/// The report: one suite for each file, in the order in which the tests ran.
pub(super) fn report(results: &[TestResult]) -> String {
    let mut suites: Vec<(&str, Vec<&TestResult>)> = Vec::new();
    for result in results {
        match suites.last_mut() {
            Some((file, tests)) if *file == result.file => tests.push(result),
            _ => suites.push((&result.file, vec![result])),
        }
    }
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml += &format!("<testsuites {}>\n", counts(results.iter()));
    for (file, tests) in suites {
        xml += &format!("  <testsuite name=\"{}\" {}>\n", escaped(file), counts(tests.iter().copied()));
        tests.into_iter().for_each(|test| xml += &case(test));
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

fn counts<'a>(results: impl Iterator<Item = &'a TestResult> + Clone) -> String {
    let failures = results.clone().filter(|result| !result.failures.is_empty()).count();
    let time: f64 = results.clone().map(|result| result.took.as_secs_f64()).sum();
    format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{time:.3}\"", results.count())
}

fn case(result: &TestResult) -> String {
    let TestResult { file, name, line, took, failures, logs } = result;
    let line = line.map(|line| format!(" line=\"{line}\"")).unwrap_or_default();
    let mut xml = format!(
        "    <testcase classname=\"{0}\" name=\"{1}\" file=\"{0}\"{line} time=\"{2:.3}\">\n",
        escaped(file),
        escaped(name),
        took.as_secs_f64()
    );
    if let Some(first) = failures.first() {
        let message = first.lines().next().unwrap_or_default();
        let text = failures.join("\n");
        xml += &format!("      <failure message=\"{}\">{}</failure>\n", escaped(message), escaped(&text));
    }
    if !logs.is_empty() {
        xml += &format!("      <system-out>{}</system-out>\n", escaped(&logs.join("\n")));
    }
    xml + "    </testcase>\n"
}

/// A text as XML may hold it. XML has no way to write most control characters, so these are replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_report_counts_by_file_and_escapes_every_text() {
        let result = |file: &str, name: &str, failures: &[&str]| TestResult {
            took: Duration::from_millis(1500),
            line: Some(3),
            logs: vec!["<log> & \u{1b}[0m".to_owned()],
            ..TestResult::plain(file.to_owned(), name.to_owned(), failures.iter().map(|it| (*it).to_owned()).collect())
        };
        let xml = report(&[result("a.toml", "\"one\" < 2", &[]), result("a.toml", "two", &["first\nsecond <&>"])]);
        assert!(xml.contains("<testsuites tests=\"2\" failures=\"1\" errors=\"0\" time=\"3.000\">"), "{xml}");
        assert!(xml.contains("<testsuite name=\"a.toml\" tests=\"2\" failures=\"1\""), "{xml}");
        assert!(xml.contains("name=\"&quot;one&quot; &lt; 2\" file=\"a.toml\" line=\"3\" time=\"1.500\""), "{xml}");
        assert!(xml.contains("<failure message=\"first\">first&#10;second &lt;&amp;&gt;</failure>"), "{xml}");
        assert!(xml.contains("<system-out>&lt;log&gt; &amp; \u{fffd}[0m</system-out>"), "{xml}");
    }
}
