//! OTLP in its JSON encoding: field names in lower camel case, ids in hex, integers of 64 bits as texts, enums as numbers.

use serde_json::{Value as Json, json};

use super::span::{HttpSpan, Span, SpanEnd};
use crate::chain::data::Caller;
use crate::promise::HANDLE_REQUEST;
use crate::server::families::{Family, FamilyKind, FamilyValue, OF_ACTORS, Scale, labels_of, of_runtime};
use crate::theater::measure::{ActorMetricsView, DistributionView, MetricsView};

/// What sends: `service.name`, `service.version` and `service.instance.id`.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) service: String,
    pub(super) instance: String,
}

impl Resource {
    fn json(&self) -> Json {
        let version = env!("CARGO_PKG_VERSION");
        json!({ "attributes": [
            text("service.name", &self.service),
            text("service.version", version),
            text("service.instance.id", &self.instance),
        ] })
    }
}

fn scope() -> Json {
    json!({ "name": "theater", "version": env!("CARGO_PKG_VERSION") })
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn integer(key: &str, value: u64) -> Json {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

/// A request for `/v1/traces`.
pub(super) fn of_spans(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let document = json!({ "resourceSpans": [
        { "resource": resource.json(), "scopeSpans": [{ "scope": scope(), "spans": spans }] },
    ] });
    document.to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    let mut json = json!({
        "traceId": span.place.trace.to_string(),
        "spanId": span.transition.span().to_string(),
        "name": span.name(),
        "kind": kind(span),
        "startTimeUnixNano": nanoseconds(span.began_ms),
        "endTimeUnixNano": nanoseconds(span.ended_ms),
        "attributes": attributes(span),
        "status": status(span),
    });
    if let Some(parent) = span.place.parent {
        json["parentSpanId"] = parent.to_string().into();
    }
    if let Some((trace, span)) = span.place.link {
        json["links"] = json!([{ "traceId": trace.to_string(), "spanId": span.to_string() }]);
    }
    json
}

/// `SPAN_KIND_INTERNAL`, `_SERVER` and `_CONSUMER`.
fn kind(span: &Span) -> u8 {
    match span.caller {
        Caller::Runtime | Caller::Timer => 1,
        Caller::Http | Caller::WebSocket | Caller::Management => 2,
        Caller::Actor if span.export == HANDLE_REQUEST.full => 2,
        Caller::Actor => 5,
    }
}

fn attributes(span: &Span) -> Vec<Json> {
    let mut attributes = vec![
        text("theater.actor.id", &span.transition.actor.to_string()),
        text("theater.actor.name", &span.actor_name),
        integer("theater.event.sequence", span.transition.sequence),
        text("theater.export", &span.export),
        text("theater.caller", span.caller.word()),
    ];
    attributes.extend(span.actor_path.as_ref().map(|path| text("theater.actor.path", path)));
    if let Some(cause) = span.cause {
        attributes.push(text("theater.cause.actor.id", &cause.actor.to_string()));
        attributes.push(integer("theater.cause.event.sequence", cause.sequence));
    }
    if let Some(HttpSpan { method, path, status }) = &span.http {
        // Any token is a method, and a collector is to be spared those that nobody knows.
        if METHODS.contains(&method.as_str()) {
            attributes.push(text("http.request.method", method));
        } else {
            attributes.push(text("http.request.method", "_OTHER"));
            attributes.push(text("http.request.method_original", method));
        }
        attributes.push(text("url.path", path));
        attributes.extend(status.map(|status| integer("http.response.status_code", status)));
    }
    attributes.extend(error_type(span).map(|what| text("error.type", &what)));
    if span.end == SpanEnd::Deferred {
        attributes.push(json!({ "key": "theater.deferred", "value": { "boolValue": true } }));
    }
    attributes
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn server_error(span: &Span) -> Option<u64> {
    span.http.as_ref()?.status.filter(|status| (500..600).contains(status))
}

fn error_type(span: &Span) -> Option<String> {
    match &span.end {
        SpanEnd::Refused(_) => Some("refused".to_owned()),
        SpanEnd::Failed(reason, _) => Some((*reason).to_owned()),
        SpanEnd::Stopped => Some("stopped".to_owned()),
        SpanEnd::Returned | SpanEnd::Deferred => server_error(span).map(|status| status.to_string()),
    }
}

/// `STATUS_CODE_ERROR` with the text of the failure; else it is not set, as the conventions ask.
fn status(span: &Span) -> Json {
    match &span.end {
        SpanEnd::Refused(why) | SpanEnd::Failed(_, why) => json!({ "code": 2, "message": why }),
        SpanEnd::Stopped => json!({ "code": 2, "message": "the actor was stopped while it worked on this" }),
        SpanEnd::Returned | SpanEnd::Deferred if server_error(span).is_some() => json!({ "code": 2 }),
        SpanEnd::Returned | SpanEnd::Deferred => json!({}),
    }
}

fn nanoseconds(ms: u64) -> String {
    (u128::from(ms) * 1_000_000).to_string()
}

/// When the numbers were counted from, and when they were read; in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

/// A request for `/v1/metrics` with what is known of the runtime as a whole.
pub(super) fn of_totals(resource: &Resource, metrics: &MetricsView, time: Counted) -> Vec<u8> {
    let all = of_runtime(metrics).into_iter().map(|(family, values)| {
        let labelled = |(label, value): (Option<(&'static str, &'static str)>, FamilyValue<'_>)| {
            point(&label.into_iter().collect::<Vec<_>>(), &value, time)
        };
        metric(&family, values.into_iter().map(labelled).collect())
    });
    request(resource, all.collect())
}

/// A request for `/v1/metrics` with what is known of these actors.
pub(super) fn of_actors(resource: &Resource, actors: &[ActorMetricsView], time: Counted) -> Vec<u8> {
    let all = OF_ACTORS.iter().map(|(family, value)| {
        let points = actors.iter().map(|actor| point(&labels_of(actor), &value(actor), time));
        metric(family, points.collect())
    });
    request(resource, all.collect())
}

fn request(resource: &Resource, metrics: Vec<Json>) -> Vec<u8> {
    let document = json!({ "resourceMetrics": [
        { "resource": resource.json(), "scopeMetrics": [{ "scope": scope(), "metrics": metrics }] },
    ] });
    document.to_string().into_bytes()
}

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: counted since the runtime was started.
const CUMULATIVE: u8 = 2;

fn metric(family: &Family, points: Vec<Json>) -> Json {
    let mut json = json!({ "name": family.name, "description": family.help, "unit": family.unit });
    let (key, data) = match family.kind {
        FamilyKind::Counter => {
            ("sum", json!({ "isMonotonic": true, "aggregationTemporality": CUMULATIVE, "dataPoints": points }))
        }
        FamilyKind::Gauge => ("gauge", json!({ "dataPoints": points })),
        FamilyKind::Histogram => ("histogram", json!({ "aggregationTemporality": CUMULATIVE, "dataPoints": points })),
    };
    json[key] = data;
    json
}

fn point(labels: &[(&'static str, &str)], value: &FamilyValue<'_>, time: Counted) -> Json {
    let attributes: Vec<Json> = labels.iter().map(|(key, value)| text(key, value)).collect();
    let mut json = json!({
        "attributes": attributes,
        "startTimeUnixNano": nanoseconds(time.from_ms),
        "timeUnixNano": nanoseconds(time.to_ms),
    });
    match value {
        FamilyValue::Number(number) => json["asInt"] = number.to_string().into(),
        FamilyValue::Distribution(values, scale) => put_histogram(&mut json, values, scale),
    }
    json
}

/// Each bucket has the values up to its bound that no earlier one has; the last one has the rest.
fn put_histogram(json: &mut Json, values: &DistributionView, scale: &Scale) {
    let (mut bounds, mut counts, mut before) = (Vec::new(), Vec::new(), 0);
    for (bound, below) in scale.below(values) {
        bounds.push(bound);
        counts.push((below - before).to_string());
        before = below;
    }
    // The numbers are read while others count: the sum of the buckets is what a collector expects as the count.
    let all: u64 = values.buckets.iter().sum();
    counts.push((all - before).to_string());
    json["count"] = all.to_string().into();
    json["sum"] = scale.sum(values).into();
    json["bucketCounts"] = counts.into();
    json["explicitBounds"] = bounds.into();
}
