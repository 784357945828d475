//! Writes a chain file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::lines::{
    BlobLine, ComponentLine, DroppedLine, EventLine, HeaderLine, RowLine, SaltedDroppedLine, SaltedLine, StateLine,
};
use super::{Component, FORMAT, FileRow, Header, States};
use crate::chain::event::{ChainEvent, DataDigest, DroppedData};
use crate::chain::hash::ComponentDigest;

/// Writes a chain file event by event, so a long chain is never in memory.
pub(crate) struct ChainFileWriter<W: Write>(W);

/// An event as a chain file has it, without the line feed.
pub(crate) fn event_line(event: &ChainEvent) -> String {
    let mut writer = ChainFileWriter(Vec::new());
    writer.event(event).expect("memory takes what is written");
    let mut line = String::from_utf8(writer.0).expect("JSON is UTF-8");
    line.pop();
    line
}

impl<W: Write> ChainFileWriter<W> {
    /// Writes the header and the attachments. The caller makes sure that `header` describes the events that follow.
    pub(crate) fn begin(
        sink: W,
        header: &Header,
        components: &BTreeMap<ComponentDigest, Component>,
        blobs: &BTreeMap<[u8; 20], Vec<u8>>,
        states: &States,
    ) -> io::Result<Self> {
        let mut writer = Self(sink);
        writer.line(&HeaderLine {
            format: FORMAT.into(),
            version: header.version,
            actor: header.actor.to_string().into(),
            component: header.component.to_string().into(),
            attachments: header.attachments,
            events: header.events,
            head: header.head.to_string().into(),
        })?;
        for (digest, bytes) in components {
            writer.line(&ComponentLine { component: digest.to_string().into(), data: BASE64.encode(bytes).into() })?;
        }
        for (digest, bytes) in blobs {
            writer.line(&BlobLine { blob: hex::encode(digest).into(), data: BASE64.encode(bytes).into() })?;
        }
        for (sequence, state) in states {
            let data = state.as_ref().map(|bytes| BASE64.encode(bytes).into());
            writer.line(&StateLine { state: *sequence, data })?;
        }
        Ok(writer)
    }

    /// Writes a row that is attached. Rows come after all other attachments, in the order of events and keys.
    pub(crate) fn row(&mut self, after: u64, row: &FileRow) -> io::Result<()> {
        let (key, data) = (BASE64.encode(&row.key).into(), BASE64.encode(&row.value).into());
        self.line(&RowLine { row: after, key, hash: row.hash.to_string().into(), data })
    }

    pub(crate) fn event(&mut self, event: &ChainEvent) -> io::Result<()> {
        let (sequence, timestamp) = (event.sequence, event.timestamp);
        let hash = event.hash.to_string().into();
        let parent_hash = event.parent_hash.map(|hash| hash.to_string().into());
        let event_type = (&*event.event_type).into();
        match (event.dropped, event.salt) {
            (Some(DroppedData { length: data_length, digest: DataDigest::Plain(sha1) }), _) => {
                let data_sha1 = hex::encode(sha1).into();
                self.line(&DroppedLine { sequence, hash, parent_hash, event_type, data_length, data_sha1, timestamp })
            }
            (Some(DroppedData { length: data_length, digest: DataDigest::Salted(sha256) }), _) => {
                let data_sha256 = hex::encode(sha256).into();
                self.line(&SaltedDroppedLine {
                    sequence,
                    hash,
                    parent_hash,
                    event_type,
                    data_length,
                    data_sha256,
                    timestamp,
                })
            }
            (None, None) => {
                let data = BASE64.encode(&event.data).into();
                self.line(&EventLine { sequence, hash, parent_hash, event_type, data, timestamp })
            }
            (None, Some(salt)) => {
                let (salt, data) = (salt.to_string().into(), BASE64.encode(&event.data).into());
                self.line(&SaltedLine { sequence, hash, parent_hash, event_type, salt, data, timestamp })
            }
        }
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.write_all(b"\n")
    }
}
