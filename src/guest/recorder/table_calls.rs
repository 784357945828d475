//! The host calls of a table. They differ from all others in one thing: their results are computed in a replay too, from the
//! table as it is there, and compared with what was recorded. So the chain need not repeat the rows that a call has read.

use std::sync::Arc;

use super::{Mode, Outlet, Recorder};
use crate::base::fail;
use crate::chain::cbor::Cbor;
use crate::chain::data::{CallResult, Encoded, HostCall};
use crate::chain::table::TableWrite;
use crate::chain::{EventKind, Function};
use crate::guest::interruption::Interruption;
use crate::guest::table::{Table, TableBase, TableMoment, Unread};
use crate::journal::{Attached, RowWrite};

/// The function whose call begins with an empty table.
const INIT: &str = "ntwk:theater/actor.init";

/// The table of the recorder's actor, and what is needed to make it when it is used first.
#[derive(Default)]
pub(super) struct TableSlot {
    table: Option<Box<Table>>,
    /// In replay: what the table is where the replay begins.
    base: Option<Box<TableBase>>,
    /// While recorded calls are executed again: the last event before them.
    resumed_from: Option<u64>,
    /// The open call is `init`.
    is_init: bool,
    /// In replay: the table is somebody else's, who says what becomes of the call's writes.
    is_lent: bool,
}

impl TableSlot {
    /// A new incarnation goes on after a crash: calls are executed again from behind event `from`.
    pub(super) fn resume(&mut self, from: Option<u64>) {
        *self = Self { resumed_from: from, ..Self::default() };
    }
}

impl Recorder {
    /// In replay: what the actor's table is where the replay begins.
    pub(crate) fn with_table(mut self, base: TableBase) -> Self {
        self.tables.base = Some(Box::new(base));
        self
    }

    /// In replay: gives a table that is lent for one call.
    pub(crate) fn lend_table(&mut self, table: Box<Table>) {
        (self.tables.table, self.tables.is_lent) = (Some(table), true);
    }

    /// In replay: takes back what was lent.
    pub(crate) fn take_table(&mut self) -> Option<Box<Table>> {
        self.tables.table.take()
    }

    /// A call begins.
    pub(crate) fn begin_call(&mut self, function: &'static Function) {
        let is_init = function.full == INIT;
        self.tables.is_init = is_init;
        if let Some(table) = &mut self.tables.table {
            table.begin_call(is_init);
        }
    }

    /// What the open call has written to the actor's table.
    pub(crate) fn rows_written(&mut self) -> Vec<RowWrite> {
        self.tables.table.as_mut().map(|table| table.written()).unwrap_or_default()
    }

    /// The open call has returned with event `at`: what it has written counts.
    pub(crate) fn close_call(&mut self, at: u64) -> Result<(), Interruption> {
        let is_live = matches!(self.mode, Mode::Live(_));
        let slot = &mut self.tables;
        if slot.is_lent {
            return Ok(());
        }
        if is_live {
            slot.resumed_from = None;
        }
        let Some(table) = &mut slot.table else {
            // Nothing of what there was before is there any more.
            if slot.is_init && !is_live {
                slot.base = Some(Box::new(TableBase::Empty));
            } else if is_live {
                slot.base = None;
            }
            return Ok(());
        };
        if is_live && (slot.is_init || table.is_without_base()) {
            // The index has another table of this actor from here on.
            slot.table = None;
            return Ok(());
        }
        let closed = table.close(at).and_then(|()| if is_live { table.tidy() } else { Ok(()) });
        closed.map_err(|unread| unread.interruption(is_live))
    }

    fn table(&mut self) -> &mut Table {
        let Self { mode, tables: TableSlot { table, base, resumed_from, is_init, .. }, .. } = self;
        table.get_or_insert_with(|| {
            let base = base.take().map(|base| *base).unwrap_or_else(|| match mode {
                Mode::Live(Outlet { journal, actor }) | Mode::Resuming { outlet: Outlet { journal, actor }, .. } => {
                    let moment = TableMoment::Unopened(*resumed_from);
                    TableBase::Live { journal: journal.clone(), actor: *actor, moment }
                }
                Mode::Replay(_) | Mode::Rehearsal(_) => TableBase::Empty,
            });
            Box::new(Table::new(base, *is_init))
        })
    }

    /// A host call that reads the table. `read` gives the result, and what the chain says of it.
    pub(crate) fn table_read<T>(
        &mut self,
        function: &'static Function,
        params: &impl Cbor,
        read: impl FnOnce(&mut Table) -> Result<(T, CallResult), Unread>,
    ) -> wasmtime::Result<T> {
        let done = self.read_table(function, Encoded(params.to_cbor()), read);
        done.map_err(wasmtime::Error::new)
    }

    fn read_table<T>(
        &mut self,
        function: &'static Function,
        params: Encoded,
        read: impl FnOnce(&mut Table) -> Result<(T, CallResult), Unread>,
    ) -> Result<T, Interruption> {
        let is_live = self.outlet().is_some();
        let (result, said) = read(self.table()).map_err(|unread| unread.interruption(is_live))?;
        let data = HostCall { result: said, ..HostCall::new(None, Some(params), Encoded(Vec::new())) };
        self.record_of_read(function.host_call, data.to_cbor(), Attached::default())?;
        self.stop_where_it_was_ended()?;
        Ok(result)
    }

    /// A host call that is refused because of what it asks for, whenever it is made.
    pub(crate) fn table_refusal<T: Cbor>(
        &mut self,
        function: &'static Function,
        params: &impl Cbor,
        why: String,
    ) -> wasmtime::Result<Result<T, String>> {
        let refused = Err::<T, String>(why);
        let said = CallResult::Whole(Encoded(refused.to_cbor()));
        let data =
            HostCall { result: said, ..HostCall::new(None, Some(Encoded(params.to_cbor())), Encoded(Vec::new())) };
        let done = self.record_of_read(function.host_call, data.to_cbor(), Attached::default());
        done.and_then(|_| self.stop_where_it_was_ended()).map_err(wasmtime::Error::new)?;
        Ok(refused)
    }

    /// A host call that writes to the table. `refused` says why it is not possible now, live; in replay, the chain says that.
    /// `result` is computed before the write.
    pub(crate) fn table_write<T: Cbor>(
        &mut self,
        function: &'static Function,
        params: &impl Cbor,
        write: TableWrite,
        most: u64,
        refused: impl FnOnce() -> Option<String>,
        result: impl FnOnce(&mut Table) -> Result<T, Unread>,
    ) -> wasmtime::Result<Result<T, String>> {
        let writes = self.table().writes();
        if writes >= most {
            let why = format!("this call has written {writes} times: the limit table_writes is {most}");
            return self.table_refusal(function, params, why);
        }
        self.pass_resumptions();
        let refused = match &self.mode {
            Mode::Live(_) => refused(),
            Mode::Rehearsal(_) => None,
            Mode::Resuming { script, .. } | Mode::Replay(script) => {
                let recorded = script.peek().filter(|event| event.kind() == Some(EventKind::HostCall));
                let recorded = recorded.filter(|event| event.event_type == function.host_call);
                let result = recorded.and_then(|event| event.read::<HostCall>().ok());
                let result = result.and_then(|call| Result::<T, String>::from_cbor(call.result.whole()?).ok());
                result.and_then(Result::err)
            }
        };
        if let Some(why) = refused {
            return self.table_refusal(function, params, why);
        }
        let done = self.write_table(function, Encoded(params.to_cbor()), write, result);
        done.map_err(wasmtime::Error::new)
    }

    fn write_table<T: Cbor>(
        &mut self,
        function: &'static Function,
        params: Encoded,
        TableWrite { key, value }: TableWrite,
        result: impl FnOnce(&mut Table) -> Result<T, Unread>,
    ) -> Result<Result<T, String>, Interruption> {
        let is_live = self.outlet().is_some();
        let result = Ok(result(self.table()).map_err(|unread| unread.interruption(is_live))?);
        let data = HostCall::new(None, Some(params), Encoded(result.to_cbor()));
        // In replay, the chain may be another one: what names the row is the event that was recorded.
        let recorded = self.upcoming().map(|event| event.hash);
        let link = self.record(function.host_call, data.to_cbor(), Attached::default())?;
        let (key, hash) = (key.into(), recorded.unwrap_or(link.hash));
        let write = RowWrite { key, written: link.sequence, hash, value: value.map(Arc::from) };
        self.table().write(write);
        if is_live {
            fail::point("row-recorded");
            fail::point_after("row-committed", || _ = self.flush());
        }
        self.stop_where_it_was_ended()?;
        Ok(result)
    }
}
