//! Every statement that realms use, in SQL. `docs/cluster.md` describes the tables.

/// The version of the tables that this program makes and knows.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// Makes the tables.
pub(super) const SCHEMA: &str = "
create schema if not exists theater;
create table theater.version (version bigint not null);
insert into theater.version values (1);
create table theater.realms (
    name text primary key,
    journal uuid not null,
    epoch bigint not null default 0,
    head bigint not null default 0,
    position bigint not null default 0,
    digest bytea not null default decode(repeat('00', 20), 'hex'),
    owner uuid,
    node text,
    heir text,
    taken timestamptz
) with (fillfactor = 10);
create table theater.log (
    realm text not null,
    number bigint not null,
    segment bigint not null,
    format bigint not null,
    batch bytea not null,
    primary key (realm, number)
);
alter table theater.log alter batch set storage external;
create index on theater.log (realm, segment);
create table theater.rewrites (
    realm text not null,
    segment bigint not null,
    generation bigint not null,
    primary key (realm, segment)
);
create table theater.components (digest bytea primary key, bytes bytea not null);
alter table theater.components alter bytes set storage external;
create table theater.realm_components (realm text not null, digest bytea not null, primary key (realm, digest));
create table theater.nodes (
    realm text not null,
    node text not null,
    instance uuid not null,
    address text not null,
    batch bigint not null,
    beat bigint not null default 0,
    seen timestamptz not null default now(),
    primary key (realm, node)
) with (fillfactor = 20);
";

/// Whether the schema is there: 0 without it.
pub(super) const HAS_SCHEMA: &str =
    "select count(*) from pg_catalog.pg_tables where schemaname = 'theater' and tablename = 'version'";

pub(super) const VERSION: &str = "select version from theater.version";

/// What the server promises about a commit. A session may ask for more than the server's default, never for less.
pub(super) const PROMISE: &str = "select current_setting('fsync'), current_setting('full_page_writes'), \
     current_setting('synchronous_standby_names'), set_config('synchronous_commit', \
     case when current_setting('synchronous_commit') = 'remote_apply' then 'remote_apply' else 'on' end, false)";

pub(super) const EXAMINE: &str = "select version(), current_setting('fsync'), current_setting('full_page_writes'), \
     current_setting('synchronous_standby_names')";

/// Standbys that receive what is written. Who may not see their state sees that they are there.
pub(super) const STANDBYS: &str =
    "select count(*) from pg_catalog.pg_stat_replication where state is null or state = 'streaming'";

/// Commits of this session need not outlive anything.
pub(super) const LIGHT: &str = "set synchronous_commit = off";

pub(super) const MAKE_REALM: &str =
    "insert into theater.realms (name, journal) values ($1, $2) on conflict (name) do nothing";

pub(super) const REALM: &str = "select journal, head from theater.realms where name = $1";

pub(super) const IMPORT_BATCH: &str =
    "insert into theater.log (realm, number, segment, format, batch) values ($1, $2, $3, $4, $5)";

pub(super) const IMPORTED: &str = "update theater.realms set head = $2, position = $3, digest = $4 where name = $1";

/// Everything that a follower wants to know, at one moment.
pub(super) const LOOK: &str = "select r.epoch, r.head, r.position, r.digest, r.owner::text, r.node, n.address, r.heir, n.beat, \
     (select coalesce(sum(w.generation), 0)::bigint from theater.rewrites w where w.realm = r.name) \
     from theater.realms r left join theater.nodes n on n.realm = r.name and n.instance = r.owner where r.name = $1";

/// The realm is another's from here on: epoch by epoch, so of two nodes that try it, one succeeds. An owner whose beat was
/// heard since keeps it.
pub(super) const TAKE: &str = "update theater.realms set epoch = epoch + 1, owner = $3, node = $4, heir = null, taken = now() \
     where name = $1 and epoch = $2 and not exists (select from theater.nodes n \
     where n.realm = $1 and n.instance = realms.owner and n.beat <> $5) returning epoch, head, position, digest";

/// After a new connection: what the old one had on its way is refused from here on. The head that is returned is replicated,
/// because this commit is behind it.
pub(super) const RENEW: &str = "update theater.realms set epoch = epoch + 1 where name = $1 and owner = $2 \
     returning epoch, head, position, digest";

/// The fence and the place in one statement.
pub(super) const APPEND: &str = "with fence as (\
     update theater.realms set head = $3, position = $4, digest = $5 \
     where name = $1 and epoch = $2 and head = $3 - 1 returning 1) \
     insert into theater.log (realm, number, segment, format, batch) select $1, $3, $6, $7, $8 from fence";

pub(super) const OWNER: &str = "select epoch, head, owner = $2 from theater.realms where name = $1";

/// The realm is nobody's; `$3` is who shall take it, or nobody in particular.
pub(super) const RELEASE: &str =
    "update theater.realms set owner = null, node = null, heir = $3 where name = $1 and owner = $2";

pub(super) const MOVE: &str =
    "update theater.realms set heir = $2 where name = $1 and owner is not null and node <> $2";

/// The next batches, some megabytes of them, one at least.
pub(super) const TAIL: &str = "select number, segment, format, batch from (\
     select number, segment, format, batch, sum(length(batch)) over (order by number) - length(batch) as before from (\
     select number, segment, format, batch from theater.log where realm = $1 and number > $2 order by number limit 256) next \
     ) sized where before < 8388608 order by number";

pub(super) const BATCH: &str = "select batch from theater.log where realm = $1 and number = $2";

pub(super) const REWRITTEN: &str = "select segment, generation from theater.rewrites where realm = $1 order by segment";

pub(super) const SEGMENT: &str =
    "select number, batch from theater.log where realm = $1 and segment = $2 and number > $3 order by number limit 64";

/// Data is dropped from a batch. A former owner that goes on with this would bring back what another has dropped since: so a
/// takeover waits for it, and it changes nothing after one.
pub(super) const REWRITE: &str = "with fence as (\
     select 1 from theater.realms where name = $1 and owner = $4 for share) \
     update theater.log set batch = $3 from fence where realm = $1 and number = $2";

pub(super) const REWROTE: &str = "insert into theater.rewrites (realm, segment, generation) values ($1, $2, $3) \
     on conflict (realm, segment) do update set generation = greatest(rewrites.generation + 1, excluded.generation)";

pub(super) const PUT_COMPONENT: &str = "with put as (\
     insert into theater.components (digest, bytes) values ($2, $3) on conflict (digest) do nothing) \
     insert into theater.realm_components (realm, digest) values ($1, $2) on conflict do nothing";

pub(super) const COMPONENTS: &str = "select digest from theater.realm_components where realm = $1";

pub(super) const COMPONENT: &str = "select bytes from theater.components where digest = $1";

pub(super) const BEAT: &str = "insert into theater.nodes (realm, node, instance, address, batch) values ($1, $2, $3, $4, $5) \
     on conflict (realm, node) do update set instance = $3, address = $4, batch = $5, beat = nodes.beat + 1, seen = now()";

/// Whether another process is at work under the name of this node.
pub(super) const NAMESAKE: &str = "select beat from theater.nodes \
     where realm = $1 and node = $2 and instance <> $3 and seen > now() - interval '3 seconds'";

pub(super) const GONE: &str = "delete from theater.nodes where realm = $1 and node = $2 and instance = $3";

pub(super) const OWNS: &str = "select (owner = $2)::text, heir from theater.realms where name = $1";

pub(super) const REALMS: &str = "select name, node, epoch, head, position, heir, \
     (extract(epoch from now() - taken) * 1000)::bigint from theater.realms order by name";

pub(super) const NODES: &str = "select realm, node, address, batch, (extract(epoch from now() - seen) * 1000)::bigint \
     from theater.nodes where seen > now() - interval '1 day' order by realm, node";
