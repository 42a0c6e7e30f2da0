//! Call records: a row for each call, written when it begins, so that a crash
//! leaves it, and completed when it ends.
//!
//! All changes of a row may come in any order: whichever is first makes it.

use rusqlite::{Connection, Row, ToSql, params};

use crate::book::{Hook, HookContentType, comparable};

use super::documents;

mod search;

pub use search::{Cursor, CursorError, Filter, Page, one, search};

/// The document whose time says until when the gateway is known to have lived.
const ALIVE: &str = "alive";
/// Why a call is [`CallResult::Lost`].
pub const RESTARTED: &str = "the gateway was restarted";

/// How a call went, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// It lives.
    Open,
    /// It was answered, however it ended then.
    Answered,
    /// Nobody answered in time.
    NoAnswer,
    /// The callee of an outgoing call was busy.
    Busy,
    /// The calling side gave up before an answer.
    Cancelled,
    /// The called side did not want it.
    Rejected,
    /// Anything else that kept it from being answered.
    Failed,
    /// The gateway did not live to see its end.
    Lost,
}

impl CallResult {
    /// All of them.
    pub const ALL: [CallResult; 8] = [
        CallResult::Open,
        CallResult::Answered,
        CallResult::NoAnswer,
        CallResult::Busy,
        CallResult::Cancelled,
        CallResult::Rejected,
        CallResult::Failed,
        CallResult::Lost,
    ];

    /// The word of API and database.
    pub fn name(self) -> &'static str {
        match self {
            CallResult::Open => "open",
            CallResult::Answered => "answered",
            CallResult::NoAnswer => "no_answer",
            CallResult::Busy => "busy",
            CallResult::Cancelled => "cancelled",
            CallResult::Rejected => "rejected",
            CallResult::Failed => "failed",
            CallResult::Lost => "lost",
        }
    }

    /// The result of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        CallResult::ALL
            .into_iter()
            .find(|result| result.name() == name)
    }
}

/// Which call a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The gateway's id of the call.
    pub call_id: String,
    /// Whose call it is.
    pub app_id: String,
    /// The peer called us; else we called the peer.
    pub incoming: bool,
}

impl Key {
    /// `incoming` or `outgoing`.
    pub fn direction(&self) -> &'static str {
        direction(self.incoming)
    }
}

/// A call's record. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Which call.
    pub key: Key,
    /// How it went.
    pub result: CallResult,
    /// Calling number.
    pub from: String,
    /// Called number.
    pub to: String,
    /// The number of the number book that counted for the call.
    pub number: Option<String>,
    /// The SIP Call-ID: from the beginning, or for an outgoing call into a room
    /// on a media server, whose INVITE waits for that, once it has ended.
    pub sip_call_id: Option<String>,
    /// The peer's signalling address.
    pub peer_address: Option<String>,
    /// Room and the call's name in it.
    pub place: Option<(String, String)>,
    /// When it began.
    pub created_ms: u64,
    /// When it first rang.
    pub ringing_ms: Option<u64>,
    /// When early media began.
    pub early_ms: Option<u64>,
    /// When it was answered.
    pub answered_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Last SIP status of the INVITE.
    pub sip_code: Option<u16>,
    /// What ended it, in a word.
    pub end_reason: Option<String>,
    /// Which side ended it: `local` (the application), `remote` (the peer) or
    /// `gateway`.
    pub hung_up_by: Option<String>,
    /// The last thing that went wrong, in words.
    pub error: Option<String>,
    /// How the media was protected: `none`, `sdes` or `dtls`.
    pub security: Option<String>,
    /// The SRTP suite, where the description names it.
    pub srtp_suite: Option<String>,
    /// What the media did, if there was any.
    pub media: Option<Media>,
}

/// What a call's media did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Media {
    /// First audio codec in common.
    pub codec: String,
    /// RTP packets from the peer.
    pub packets_received: u64,
    /// Bytes of RTP payload from the peer.
    pub bytes_received: u64,
    /// Lost on the way from the peer.
    pub packets_lost: i64,
    /// Interarrival jitter of what came from the peer, milliseconds.
    pub jitter_ms: f64,
    /// RTP packets to the peer.
    pub packets_sent: u64,
    /// Bytes of RTP payload to the peer.
    pub bytes_sent: u64,
    /// Lost on the way to the peer, as it reports.
    pub remote_packets_lost: Option<i64>,
    /// Interarrival jitter at the peer, as it reports, milliseconds.
    pub remote_jitter_ms: Option<f64>,
    /// To the peer and back, milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Mean opinion score of what came from the peer, over the call.
    pub mos_average: Option<f64>,
    /// The same at its worst.
    pub mos_min: Option<f64>,
    /// Of what went to the peer, as it reports, over the call.
    pub remote_mos_average: Option<f64>,
    /// The same at its worst.
    pub remote_mos_min: Option<f64>,
}

impl Record {
    /// A call that has begun and of which nothing else is known yet.
    pub fn open(key: Key, created_ms: u64) -> Self {
        Record {
            key,
            result: CallResult::Open,
            from: String::new(),
            to: String::new(),
            number: None,
            sip_call_id: None,
            peer_address: None,
            place: None,
            created_ms,
            ringing_ms: None,
            early_ms: None,
            answered_ms: None,
            ended_ms: None,
            sip_code: None,
            end_reason: None,
            hung_up_by: None,
            error: None,
            security: None,
            srtp_suite: None,
            media: None,
        }
    }
}

/// A call whose end the gateway did not live to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which call.
    pub key: Key,
    /// Until when it is known to have lived.
    pub ended_ms: u64,
    /// Where its events go.
    pub hook: Option<Hook>,
}

/// How many rows there are, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Rows, the open ones too.
    pub rows: u64,
    /// When the oldest of them began.
    pub oldest_ms: Option<u64>,
}

/// Columns, in the order of [`values`] and [`read`].
const COLUMNS: &str = "call_id, app_id, direction, result, from_number, to_number, number, \
    sip_call_id, peer_address, room, peer, created_ms, ringing_ms, early_ms, answered_ms, \
    ended_ms, sip_code, end_reason, hung_up_by, error, security, srtp_suite, codec, \
    packets_received, bytes_received, packets_lost, jitter_ms, packets_sent, bytes_sent, \
    remote_packets_lost, remote_jitter_ms, round_trip_ms, mos_average, mos_min, \
    remote_mos_average, remote_mos_min";

/// A call has begun. What is known of its later life already stays.
///
/// # Errors
/// What SQLite says.
pub fn open(connection: &Connection, record: &Record, hook: Option<&Hook>) -> rusqlite::Result<()> {
    let known = "from_number = excluded.from_number, to_number = excluded.to_number, \
        from_key = excluded.from_key, to_key = excluded.to_key, number = excluded.number, \
        sip_call_id = coalesce(excluded.sip_call_id, sip_call_id), \
        peer_address = excluded.peer_address, room = excluded.room, peer = excluded.peer, \
        created_ms = excluded.created_ms, hook = excluded.hook, \
        hook_content_type = excluded.hook_content_type, hook_trusted = excluded.hook_trusted";
    insert(
        connection,
        record,
        hook,
        &format!("{known} WHERE result = 'open'"),
    )
}

/// A call was answered, into this room where that was not known before.
///
/// # Errors
/// What SQLite says.
pub fn answered(
    connection: &Connection,
    key: &Key,
    at_ms: u64,
    place: Option<(String, String)>,
) -> rusqlite::Result<()> {
    let record = Record {
        answered_ms: Some(at_ms),
        place,
        ..Record::open(key.clone(), at_ms)
    };
    let set = "answered_ms = excluded.answered_ms, room = coalesce(excluded.room, room), \
        peer = coalesce(excluded.peer, peer) WHERE result = 'open'";
    insert(connection, &record, None, set)
}

/// Something went wrong with a call.
///
/// # Errors
/// What SQLite says.
pub fn went_wrong(
    connection: &Connection,
    key: &Key,
    at_ms: u64,
    problem: &str,
) -> rusqlite::Result<()> {
    let record = Record {
        error: Some(problem.to_owned()),
        ..Record::open(key.clone(), at_ms)
    };
    insert(connection, &record, None, "error = excluded.error")
}

/// A call is over, and this is all there is to know. Its number, and what went
/// wrong, stay where the record names none.
///
/// # Errors
/// What SQLite says.
pub fn close(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let set = "result = excluded.result, from_number = excluded.from_number, \
        to_number = excluded.to_number, from_key = excluded.from_key, \
        to_key = excluded.to_key, number = coalesce(excluded.number, number), \
        sip_call_id = excluded.sip_call_id, peer_address = excluded.peer_address, \
        room = excluded.room, peer = excluded.peer, created_ms = excluded.created_ms, \
        ringing_ms = excluded.ringing_ms, early_ms = excluded.early_ms, \
        answered_ms = excluded.answered_ms, ended_ms = excluded.ended_ms, \
        sip_code = excluded.sip_code, end_reason = excluded.end_reason, \
        hung_up_by = excluded.hung_up_by, error = coalesce(excluded.error, error), \
        security = excluded.security, srtp_suite = excluded.srtp_suite, \
        codec = excluded.codec, packets_received = excluded.packets_received, \
        bytes_received = excluded.bytes_received, packets_lost = excluded.packets_lost, \
        jitter_ms = excluded.jitter_ms, packets_sent = excluded.packets_sent, \
        bytes_sent = excluded.bytes_sent, \
        remote_packets_lost = excluded.remote_packets_lost, \
        remote_jitter_ms = excluded.remote_jitter_ms, \
        round_trip_ms = excluded.round_trip_ms, mos_average = excluded.mos_average, \
        mos_min = excluded.mos_min, remote_mos_average = excluded.remote_mos_average, \
        remote_mos_min = excluded.remote_mos_min, hook = NULL, hook_content_type = NULL";
    insert(connection, record, None, set)
}

fn insert(
    connection: &Connection,
    record: &Record,
    hook: Option<&Hook>,
    otherwise: &str,
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO records ({COLUMNS}, from_key, to_key, hook, hook_content_type, hook_trusted) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, \
         ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, \
         ?35, ?36, ?37, ?38, ?39, ?40, ?41) ON CONFLICT (call_id) DO UPDATE SET {otherwise}"
    );
    let Record {
        key, place, media, ..
    } = record;
    let time = |at: Option<u64>| at.map(|at| at as i64);
    let count = |of: fn(&Media) -> u64| media.as_ref().map(|media| of(media) as i64);
    let (from_key, to_key) = (comparable(&record.from), comparable(&record.to));
    let values: [&dyn ToSql; 41] = [
        &key.call_id,
        &key.app_id,
        &key.direction(),
        &record.result.name(),
        &record.from,
        &record.to,
        &record.number,
        &record.sip_call_id,
        &record.peer_address,
        &place.as_ref().map(|(room, _)| room),
        &place.as_ref().map(|(_, peer)| peer),
        &(record.created_ms as i64),
        &time(record.ringing_ms),
        &time(record.early_ms),
        &time(record.answered_ms),
        &time(record.ended_ms),
        &record.sip_code,
        &record.end_reason,
        &record.hung_up_by,
        &record.error,
        &record.security,
        &record.srtp_suite,
        &media.as_ref().map(|media| &media.codec),
        &count(|media| media.packets_received),
        &count(|media| media.bytes_received),
        &media.as_ref().map(|media| media.packets_lost),
        &media.as_ref().map(|media| media.jitter_ms),
        &count(|media| media.packets_sent),
        &count(|media| media.bytes_sent),
        &media.as_ref().and_then(|media| media.remote_packets_lost),
        &media.as_ref().and_then(|media| media.remote_jitter_ms),
        &media.as_ref().and_then(|media| media.round_trip_ms),
        &media.as_ref().and_then(|media| media.mos_average),
        &media.as_ref().and_then(|media| media.mos_min),
        &media.as_ref().and_then(|media| media.remote_mos_average),
        &media.as_ref().and_then(|media| media.remote_mos_min),
        &from_key,
        &to_key,
        &hook.map(|hook| &*hook.url),
        &hook.map(|hook| hook.content_type.name()),
        &hook.map(|hook| hook.trusted),
    ];
    connection
        .prepare_cached(&sql)?
        .execute(values.as_slice())
        .map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let time =
        |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(|at| at as u64));
    let count = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)? as u64);
    let room: Option<String> = row.get(9)?;
    let codec: Option<String> = row.get(22)?;
    let result: String = row.get(3)?;
    Ok(Record {
        key: read_key(row)?,
        // A word that is not ours cannot have been written by us.
        result: CallResult::from_name(&result).unwrap_or(CallResult::Failed),
        from: row.get(4)?,
        to: row.get(5)?,
        number: row.get(6)?,
        sip_call_id: row.get(7)?,
        peer_address: row.get(8)?,
        place: room.zip(row.get(10)?),
        created_ms: row.get::<_, i64>(11)? as u64,
        ringing_ms: time(12)?,
        early_ms: time(13)?,
        answered_ms: time(14)?,
        ended_ms: time(15)?,
        sip_code: row.get(16)?,
        end_reason: row.get(17)?,
        hung_up_by: row.get(18)?,
        error: row.get(19)?,
        security: row.get(20)?,
        srtp_suite: row.get(21)?,
        media: match codec {
            None => None,
            Some(codec) => Some(Media {
                codec,
                packets_received: count(23)?,
                bytes_received: count(24)?,
                packets_lost: row.get(25)?,
                jitter_ms: row.get(26)?,
                packets_sent: count(27)?,
                bytes_sent: count(28)?,
                remote_packets_lost: row.get(29)?,
                remote_jitter_ms: row.get(30)?,
                round_trip_ms: row.get(31)?,
                mos_average: row.get(32)?,
                mos_min: row.get(33)?,
                remote_mos_average: row.get(34)?,
                remote_mos_min: row.get(35)?,
            }),
        },
    })
}

/// The key of a row that begins with it.
fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        call_id: row.get(0)?,
        app_id: row.get(1)?,
        incoming: row.get::<_, String>(2)? == direction(true),
    })
}

fn direction(incoming: bool) -> &'static str {
    match incoming {
        true => "incoming",
        false => "outgoing",
    }
}

/// The gateway lives, and calls may be in progress.
///
/// # Errors
/// What SQLite says.
pub fn alive(connection: &Connection, now_ms: u64) -> rusqlite::Result<()> {
    documents::put(connection, ALIVE, "", now_ms)
}

/// The calls that an earlier life of the gateway left open. They ended at the
/// last time it is known to have lived.
///
/// # Errors
/// What SQLite says.
pub fn lost(connection: &Connection) -> rusqlite::Result<Vec<Lost>> {
    let alive_ms = last_alive(connection)?;
    connection
        .prepare(
            "SELECT call_id, app_id, direction, max(created_ms, coalesce(answered_ms, 0), ?), \
             hook, hook_content_type, hook_trusted FROM records WHERE result = 'open' \
             ORDER BY created_ms",
        )?
        .query_map([alive_ms], |row| {
            let content_type: Option<String> = row.get(5)?;
            let content_type = content_type.as_deref().and_then(HookContentType::from_name);
            let url: Option<String> = row.get(4)?;
            let trusted: Option<bool> = row.get(6)?;
            Ok(Lost {
                key: read_key(row)?,
                ended_ms: row.get::<_, i64>(3)? as u64,
                hook: url.map(|url| Hook {
                    url: url.into(),
                    content_type: content_type.unwrap_or_default(),
                    trusted: trusted.unwrap_or(false),
                }),
            })
        })?
        .collect()
}

/// Closes them; how many there were.
///
/// # Errors
/// What SQLite says.
pub fn close_lost(connection: &Connection) -> rusqlite::Result<usize> {
    let alive_ms = last_alive(connection)?;
    connection.execute(
        "UPDATE records SET result = 'lost', end_reason = 'lost', error = ?2, \
         ended_ms = max(created_ms, coalesce(answered_ms, 0), ?1), \
         hook = NULL, hook_content_type = NULL WHERE result = 'open'",
        params![alive_ms, RESTARTED],
    )
}

fn last_alive(connection: &Connection) -> rusqlite::Result<i64> {
    Ok(documents::get(connection, ALIVE)?.map_or(0, |(_, at)| at as i64))
}

/// Removes the oldest rows of ended calls that began before this time, at most
/// `batch` of them; how many there were.
///
/// # Errors
/// What SQLite says.
pub fn prune(connection: &Connection, before_ms: u64, batch: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM records WHERE rowid IN (SELECT rowid FROM records \
             INDEXED BY records_by_time WHERE created_ms < ? AND result <> 'open' \
             ORDER BY created_ms, call_id LIMIT ?)",
        )?
        .execute(params![before_ms as i64, batch as i64])
}

/// How many rows there are, and since when.
///
/// # Errors
/// What SQLite says.
pub fn extent(connection: &Connection) -> rusqlite::Result<Extent> {
    let rows: i64 = connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
    let oldest: Option<i64> =
        connection.query_row("SELECT min(created_ms) FROM records", [], |row| row.get(0))?;
    Ok(Extent {
        rows: rows as u64,
        oldest_ms: oldest.map(|at| at as u64),
    })
}

#[cfg(test)]
mod tests;
