//! A test actor that takes commands by message and HTTP, and receives notices about children if it has any.

type Probe = commanded::Commanded<commanded::NoMore>;

theater_actor::export!(Probe: messages, http, children);
