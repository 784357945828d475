//! The table `dead_letters`: a row for each message that its receiver never took, because it ended, and that was not sent again.

use std::ffi::CStr;

use super::cells::{json_of_bytes, number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::theater::{DeadLetter, dead_letters};

pub(super) struct DeadLettersTable {
    receivers: std::vec::IntoIter<usize>,
    receiver: usize,
    of_one: std::vec::IntoIter<DeadLetter>,
}

type DeadLetterColumn = SqlColumn<(usize, DeadLetter)>;

impl SqlTable for DeadLettersTable {
    const NAME: &'static CStr = c"dead_letters";
    const MEANING: &'static str =
        "the messages that their receivers never took, because they ended, and that were not sent again";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [DeadLetterColumn] = &[
        DeadLetterColumn::text("actor", "the UUID of the receiver", |source, (receiver, _)| {
            Ok(text(Some(source.actors[*receiver].actor.id)))
        })
        .by(ColumnKey::Actor),
        DeadLetterColumn::text("name", "the name of the receiver", |source, (receiver, _)| {
            Ok(text(Some(&source.actors[*receiver].name)))
        })
        .by(ColumnKey::Name),
        DeadLetterColumn::text("letter", "what `theater dead-letters send` sends it again by", |_, (_, letter)| {
            Ok(text(Some(letter.id)))
        }),
        DeadLetterColumn::text("sender", "the UUID of the sender", |_, (_, letter)| Ok(text(Some(letter.id.sender)))),
        DeadLetterColumn::text("sender_name", "the name of the sender", |source, (_, letter)| {
            Ok(text(source.name_of(letter.id.sender)))
        }),
        DeadLetterColumn::integer("sequence", "the event of the sender that sent it", |_, (_, letter)| {
            Ok(number(Some(letter.id.sequence)))
        }),
        DeadLetterColumn::text("sent", "when it was sent", |_, (_, letter)| Ok(time(letter.sent_ms))),
        DeadLetterColumn::text("dropped", "when the receiver ended", |_, (_, letter)| {
            Ok(time(Some(letter.dropped_ms)))
        }),
        DeadLetterColumn::text("why", "how the receiver ended", |_, (_, letter)| Ok(text(Some(&letter.why)))),
        DeadLetterColumn::text("message", "the message as JSON; NULL if its data was dropped", |_, (_, letter)| {
            Ok(json_of_bytes(letter.message.as_deref()))
        }),
    ];

    type Row = (usize, DeadLetter);

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self { receivers: wanted.places(source).into_iter(), receiver: 0, of_one: Vec::new().into_iter() }
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<Self::Row>> {
        loop {
            if let Some(letter) = self.of_one.next() {
                return Ok(Some((self.receiver, letter)));
            }
            let Some(receiver) = self.receivers.next() else { return Ok(None) };
            self.receiver = receiver;
            let to = source.actors[receiver].actor.id;
            self.of_one = source.read(|reader| dead_letters(reader, Some(to)))?.into_iter();
        }
    }
}
