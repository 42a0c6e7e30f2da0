//! Call records: a row for each call that lives, so that a crash leaves it, and
//! another one, which can be searched for, for each that has ended.

use rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;
use rusqlite::{Connection, ErrorCode, Row, ToSql, params};

use crate::book::{Hook, comparable};

use super::documents;

mod draft;
mod live;
mod search;

pub use draft::Draft;
pub use live::{answered, begin, close_lost, lost, went_wrong};
pub use search::{CursorError, Filter, Page, one, search};

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

/// Of [`RowId`]: what tells calls of one millisecond apart.
const TIE_BITS: u32 = 20;

/// The place of a row among all: by when its call began, so that new rows are
/// appended, and every index ends with this order by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId(i64);

impl RowId {
    /// Of a call that began then, milliseconds since the Unix epoch; of `tie`
    /// the lowest 20 bits count.
    pub fn new(created_ms: u64, tie: u32) -> RowId {
        let at_ms = created_ms.min((1 << (63 - TIE_BITS)) - 1) as i64;
        RowId(at_ms << TIE_BITS | i64::from(tie & ((1 << TIE_BITS) - 1)))
    }

    /// When its call began, milliseconds since the Unix epoch.
    pub fn created_ms(self) -> u64 {
        (self.0 >> TIE_BITS) as u64
    }

    /// What tells it from others of its millisecond.
    pub fn tie(self) -> u32 {
        (self.0 & ((1 << TIE_BITS) - 1)) as u32
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

/// Columns of a call that has ended, in the order of [`append`] and [`read`].
macro_rules! columns {
    () => {
        "id, call_id, app_id, direction, result, from_number, to_number, number, sip_call_id, \
         peer_address, room, peer, ringing_ms, early_ms, answered_ms, ended_ms, sip_code, \
         end_reason, hung_up_by, error, security, srtp_suite, codec, packets_received, \
         bytes_received, packets_lost, jitter_ms, packets_sent, bytes_sent, \
         remote_packets_lost, remote_jitter_ms, round_trip_ms, mos_average, mos_min, \
         remote_mos_average, remote_mos_min"
    };
}
use columns;

/// Calls of one millisecond whose ties are the same: each tries the next one.
const MOST_TIES: u32 = 64;

/// A call is over, and this is all there is to know of it. `live` is its row
/// among the calls that live, if it has one. Where the place of `tie` is taken,
/// the call has the next one.
///
/// # Errors
/// What SQLite says; nothing has changed then.
pub fn close(
    connection: &Connection,
    record: &Record,
    tie: u32,
    live: Option<RowId>,
) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        let id = RowId::new(record.created_ms, tie.wrapping_add(tries));
        match append(connection, id, record) {
            Err(error)
                if tries < MOST_TIES && is_constraint(&error, SQLITE_CONSTRAINT_PRIMARYKEY) =>
            {
                tries += 1;
            }
            result => break result?,
        }
    }
    live.map_or(Ok(()), |live| live::remove(connection, live))
}

/// Whether a change failed because another row has what has to be unique.
fn is_constraint(error: &rusqlite::Error, which: i32) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::ConstraintViolation && error.extended_code == which
    })
}

/// Something went wrong with a call that has ended.
///
/// # Errors
/// What SQLite says.
pub fn went_wrong_after_the_end(
    connection: &Connection,
    call_id: &str,
    problem: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE records SET error = ? WHERE call_id = ?")?
        .execute([problem, call_id])
        .map(drop)
}

const APPEND: &str = concat!(
    "INSERT INTO records (",
    columns!(),
    ", from_key, to_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
     ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, \
     ?33, ?34, ?35, ?36, ?37, ?38)"
);

fn append(connection: &Connection, id: RowId, record: &Record) -> rusqlite::Result<()> {
    let Record {
        key, place, media, ..
    } = record;
    let time = |at: Option<u64>| at.map(|at| at as i64);
    let count = |of: fn(&Media) -> u64| media.as_ref().map(|media| of(media) as i64);
    let (from_key, to_key) = (comparable(&record.from), comparable(&record.to));
    let values: [&dyn ToSql; 38] = [
        &id.0,
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
    ];
    connection
        .prepare_cached(APPEND)?
        .execute(values.as_slice())
        .map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let time =
        |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(|at| at as u64));
    let count = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)? as u64);
    let id = RowId(row.get(0)?);
    let room: Option<String> = row.get(10)?;
    let codec: Option<String> = row.get(22)?;
    let result: String = row.get(4)?;
    Ok(Record {
        key: read_key(row)?,
        // A word that is not ours cannot have been written by us.
        result: CallResult::from_name(&result).unwrap_or(CallResult::Failed),
        from: row.get(5)?,
        to: row.get(6)?,
        number: row.get(7)?,
        sip_call_id: row.get(8)?,
        peer_address: row.get(9)?,
        place: room.zip(row.get(11)?),
        created_ms: id.created_ms(),
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

/// The key of a row, which stands behind its id.
fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        call_id: row.get(1)?,
        app_id: row.get(2)?,
        incoming: row.get::<_, String>(3)? == direction(true),
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

fn last_alive(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(documents::get(connection, ALIVE)?.map_or(0, |(_, at)| at))
}

/// Removes the oldest rows of ended calls that began before this time, at most
/// `batch` of them; how many there were.
///
/// # Errors
/// What SQLite says.
pub fn prune(connection: &Connection, before_ms: u64, batch: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM records WHERE id IN \
             (SELECT id FROM records WHERE id < ? ORDER BY id LIMIT ?)",
        )?
        .execute(params![RowId::new(before_ms, 0).0, batch as i64])
}

/// How many rows there are, and since when.
///
/// # Errors
/// What SQLite says.
pub fn extent(connection: &Connection) -> rusqlite::Result<Extent> {
    let rows: i64 = connection.query_row(
        "SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM live_calls)",
        [],
        |row| row.get(0),
    )?;
    let oldest: Option<i64> = connection.query_row(
        "SELECT min(at) FROM (SELECT min(id) AS at FROM records \
         UNION ALL SELECT min(id) FROM live_calls)",
        [],
        |row| row.get(0),
    )?;
    Ok(Extent {
        rows: rows as u64,
        oldest_ms: oldest.map(|id| RowId(id).created_ms()),
    })
}

#[cfg(test)]
mod tests;
