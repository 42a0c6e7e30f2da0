//! `numbers`: the number book's records, of all origins.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Shared;
use crate::api::body::read_json;
use crate::api::directory::{Listed, Origin};
use crate::api::error::{ApiError, done, success};
use crate::book::{Number, NumberRecord, comparable};

use super::{Paging, query};

const PAGING: Paging = Paging {
    default: 50,
    most: 500,
};

type Record = Listed<Arc<Number>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    search: String,
    app: String,
    origin: String,
    ignored: Option<bool>,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// `GET /admin/api/numbers`
pub async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, ApiError> {
    let filter: Filter = query(&uri)?;
    let view = shared.directory.view();
    let mut found: Vec<&Record> = view
        .numbers
        .iter()
        .filter(|record| filter.takes(record))
        .collect();
    found.sort_by(|a, b| (&a.record.number, a.origin).cmp(&(&b.record.number, b.origin)));
    let total = found.len();
    let (numbers, offset, limit) = PAGING.part(&found, filter.offset, filter.limit, |record| {
        json_of(record)
    });
    Ok(success(json!({
        "numbers": numbers,
        "total": total,
        "offset": offset,
        "limit": limit,
    })))
}

impl Filter {
    fn takes(&self, listed: &Record) -> bool {
        let number = &*listed.record;
        (self.app.is_empty() || number.app.as_str() == self.app)
            && (self.origin.is_empty() || listed.origin.name() == self.origin)
            && self
                .ignored
                .is_none_or(|ignored| listed.ignored.is_some() == ignored)
            && (self.search.is_empty() || self.finds(number))
    }

    fn finds(&self, number: &Number) -> bool {
        let wanted = self.search.to_lowercase();
        let hook = number.hook.as_ref().map(|hook| &*hook.url);
        let texts = [
            Some(number.number.as_str()),
            Some(number.app.as_str()),
            number.client_id.as_deref(),
            hook,
            number.outgoing.sip_server.as_deref(),
        ];
        let mut texts = texts.into_iter().flatten();
        let digits = comparable(&self.search);
        texts.any(|text| text.to_lowercase().contains(&wanted))
            || !digits.is_empty() && comparable(&number.number).contains(&digits)
    }
}

/// `GET /admin/api/numbers/{number}`
pub async fn one(
    State(shared): State<Arc<Shared>>,
    Path(number): Path<String>,
) -> Result<Response, ApiError> {
    let view = shared.directory.view();
    let mut records = of_number(&view.numbers, &number);
    if records.is_empty() {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            format!("number {number:?} is not in the number book"),
        ));
    }
    let first = records.remove(0);
    let others: Vec<Value> = records.into_iter().map(json_of).collect();
    Ok(success(
        json!({ "number": json_of(first), "others": others }),
    ))
}

/// `POST /admin/api/numbers`
pub async fn add(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let record: NumberRecord = read_json(request).await?;
    let number = shared.directory.add_number(record).await?;
    tracing::info!(number = number.number, app = %number.app, "an administrator added a number");
    let data = json!({ "number": added(&shared, &number) });
    Ok((StatusCode::CREATED, success(data)).into_response())
}

/// `PUT /admin/api/numbers/{number}`
pub async fn change(
    State(shared): State<Arc<Shared>>,
    Path(number): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut record: NumberRecord = read_json(request).await?;
    if record.number.is_empty() {
        record.number.clone_from(&number);
    }
    let changed = shared.directory.change_number(&number, record).await?;
    tracing::info!(number = changed.number, app = %changed.app, "an administrator changed a number");
    Ok(success(json!({ "number": added(&shared, &changed) })))
}

/// `DELETE /admin/api/numbers/{number}`
pub async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(number): Path<String>,
) -> Result<Response, ApiError> {
    shared.directory.remove_number(&number).await?;
    tracing::info!(number, "an administrator removed a number");
    Ok(done())
}

/// All records of a number: the one that counts first, then by origin.
pub(super) fn of_number<'v>(all: &'v [Record], number: &str) -> Vec<&'v Record> {
    let key = comparable(number);
    let mut records: Vec<&Record> = all
        .iter()
        .filter(|record| comparable(&record.record.number) == key)
        .collect();
    records.sort_by_key(|record| (record.ignored.is_some(), record.origin));
    records
}

/// What an administrator has just put there, as it is listed.
fn added(shared: &Shared, number: &Arc<Number>) -> Value {
    let view = shared.directory.view();
    let mut records = of_number(&view.numbers, &number.number);
    records.retain(|record| record.origin == Origin::Admin);
    match records.first() {
        Some(record) => json_of(record),
        // Somebody else has removed it meanwhile.
        None => json_of(&Listed {
            record: number.clone(),
            origin: Origin::Admin,
            ignored: None,
        }),
    }
}

/// A record as it is told: whether there is a password, never which.
pub(super) fn json_of(listed: &Record) -> Value {
    let record = NumberRecord::from(&*listed.record);
    let mut json = serde_json::to_value(record).unwrap_or_default();
    for field in ["auth", "sip_auth"] {
        if let Some(auth) = json.get_mut(field).and_then(Value::as_object_mut) {
            auth.remove("password");
            auth.insert("password_set".to_string(), Value::Bool(true));
        }
    }
    if let Some(fields) = json.as_object_mut() {
        fields.entry("answer").or_insert_with(|| json!("ask"));
        fields.insert("origin".to_string(), json!(listed.origin.name()));
        fields.insert("ignored".to_string(), json!(listed.ignored));
        let editable = listed.origin == Origin::Admin;
        fields.insert("editable".to_string(), json!(editable));
    }
    json
}
