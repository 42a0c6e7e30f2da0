//! `numbers/test`: would a call from this address to this number be let in,
//! and what would happen to it? The same walk as that of an INVITE, told.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Shared;
use crate::api::body::read_json;
use crate::api::directory::View;
use crate::api::error::{ApiError, success};
use crate::book::{Answering, Number, Refusal};
use crate::call::request::{Admission, CallReply, CallRequest};

use super::numbers::{json_of, of_number};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    number: String,
    #[serde(default)]
    source: String,
}

/// What the test takes from outside the book.
struct Circumstances {
    draining: bool,
    failure_code: u16,
    /// The source is where the number is registered.
    registrar: bool,
    /// What each shard says; those that do not answer are left out.
    shards: Vec<Admission>,
}

/// The walk so far.
#[derive(Default)]
struct Walk {
    steps: Vec<Value>,
    refused: Option<u16>,
    /// Refused without an answer.
    dropped: bool,
}

/// `POST /admin/api/numbers/test`
pub async fn test(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body: Body = read_json(request).await?;
    if body.number.is_empty() {
        return Err(ApiError::field(
            "number",
            "is missing; write the called number",
        ));
    }
    let source: IpAddr = body.source.trim().parse().map_err(|_| {
        let problem = "is no IP address; write e.g. \"192.0.2.7\"";
        ApiError::field("source", problem)
    })?;
    let circumstances = Circumstances {
        draining: shared.draining(),
        failure_code: shared.settings().failure_code,
        registrar: shared.is_registered_at(&body.number, source),
        shards: admissions(&shared, &body.number, source).await,
    };
    let view = shared.directory.view();
    Ok(success(tested(&view, &body.number, source, &circumstances)))
}

/// Asks all shards: which one a call comes to hangs on its Call-ID.
async fn admissions(shared: &Shared, number: &str, source: IpAddr) -> Vec<Admission> {
    let ask = |shard| {
        let number = number.to_string();
        shared.ask(shard, CallRequest::Admission { source, number })
    };
    let replies = futures_util::future::join_all(shared.shards.all().map(ask)).await;
    let admission = |reply| match reply {
        Ok(CallReply::Admission(admission)) => Some(admission),
        Ok(_) | Err(_) => None,
    };
    replies.into_iter().filter_map(admission).collect()
}

fn tested(view: &View, number: &str, source: IpAddr, circumstances: &Circumstances) -> Value {
    let mut walk = Walk::default();
    let conclusion = walk.walk(view, number, source, circumstances);
    let records = of_number(&view.numbers, number);
    json!({
        "accepted": walk.refused.is_none() && !walk.dropped,
        "sip_code": walk.refused,
        "conclusion": conclusion,
        "steps": walk.steps,
        "number": records.first().map(|record| json_of(record)),
    })
}

impl Walk {
    fn walk(
        &mut self,
        view: &View,
        text: &str,
        source: IpAddr,
        circumstances: &Circumstances,
    ) -> String {
        if circumstances.shards.iter().any(|shard| shard.banned) {
            let problem = "the source is banned as a scanner ([scanners]): what it sends is dropped unread, and it gets no answer";
            return self.drop("ban", problem.to_string());
        }
        let not_banned = "the source is not banned as a scanner".to_string();
        self.step("ban", Some(true), not_banned);
        // As the gateway does: before the number is looked up.
        let closed = |label| {
            let shards = &circumstances.shards;
            let closed = shards.iter().filter(|shard| shard.closed == Some(label));
            closed.count()
        };
        let all = circumstances.shards.len();
        if circumstances.draining || closed("draining") > 0 {
            let problem = "the gateway is ending and takes no new calls".to_string();
            return self.refuse("load", 503, problem);
        }
        match closed("overloaded") {
            _ if all == 0 => {
                let problem = "no shard answers: the gateway is overloaded".to_string();
                return self.refuse("load", 503, problem);
            }
            0 => self.step("load", Some(true), "the gateway keeps up".to_string()),
            late if late == all => {
                let problem = "the gateway is overloaded (limits.max_lag_ms): new calls are refused until it keeps up".to_string();
                return self.refuse("load", 503, problem);
            }
            late => {
                let text = format!(
                    "{late} of {all} shards are overloaded: some calls are refused with 503"
                );
                self.step("load", None, text);
            }
        }
        let records = of_number(&view.numbers, text);
        let Some(first) = records.first() else {
            let problem = format!("no origin has number {text:?}");
            return self.refuse("number", 404, problem);
        };
        let origins: Vec<&str> = records.iter().map(|record| record.origin.name()).collect();
        let known = format!("number {text:?} is known from: {}", origins.join(", "));
        self.step("number", Some(true), known);
        if let Some(reason) = &first.ignored {
            return self.refuse(
                "record",
                404,
                format!("its record does not count: {reason}"),
            );
        }
        let number = &*first.record;
        let counts = format!("the {} record counts", first.origin.name());
        self.step("record", Some(true), counts);
        let app = format!("the number belongs to app {:?}", number.app.as_str());
        self.step("app", Some(true), app);
        match view.book.admit(&[text], source) {
            Ok(_) => {
                let source = source.to_canonical();
                let net = number.subnets.iter().find(|net| net.contains(&source));
                let net = net.map_or(String::new(), |net| format!(": {net}"));
                let inside = format!("{source} is in a subnet that may call{net}");
                self.step("source", Some(true), inside);
            }
            Err(Refusal::SourceNotAllowed { .. }) if circumstances.registrar => {
                let text = format!("{source} is where the number is registered");
                self.step("source", Some(true), text);
            }
            Err(refusal) => return self.refuse("source", refusal.sip_code(), told(&refusal)),
        }
        match &number.auth {
            Some(auth) => {
                let challenge = format!(
                    "the caller is challenged (401), and has to prove to be {:?}",
                    auth.credentials.username
                );
                self.step("authentication", None, challenge);
            }
            None => {
                let open = "the caller is not challenged".to_string();
                self.step("authentication", Some(true), open);
            }
        }
        let mut exceeded = circumstances.shards.iter();
        if let Some(exceeded) = exceeded.find_map(|shard| shard.exceeded.as_ref()) {
            return self.refuse("limits", exceeded.sip_code(), exceeded.to_string());
        }
        let room = "neither the number, nor its app, nor the gateway is at a limit".to_string();
        self.step("limits", Some(true), room);
        self.handling(number, circumstances)
    }

    fn handling(&mut self, number: &Number, circumstances: &Circumstances) -> String {
        let handling = match (&number.answering, &number.hook, &number.client_id) {
            (Answering::Echo, ..) => "answered at once; the caller hears himself".to_string(),
            (Answering::Room { room, peer }, ..) => {
                format!("answered at once into room {room:?} as {peer:?}")
            }
            (Answering::Ask, Some(_), Some(client)) => {
                format!("the hook is asked, and client {client:?} told on notify_ws")
            }
            (Answering::Ask, Some(_), None) => "the hook is asked what to do".to_string(),
            (Answering::Ask, None, Some(client)) => format!(
                "client {client:?} is told on notify_ws; while nobody is connected there, calls are refused with {}",
                circumstances.failure_code
            ),
            (Answering::Ask, None, None) => {
                let problem = "nobody is asked: the number has neither hook, client_id nor answer"
                    .to_string();
                return self.refuse("handling", circumstances.failure_code, problem);
            }
        };
        self.step("handling", Some(true), handling.clone());
        format!("the call is let in: {handling}")
    }

    fn step(&mut self, step: &str, ok: Option<bool>, text: String) {
        self.steps
            .push(json!({ "step": step, "ok": ok, "text": text }));
    }

    /// Nobody is told anything.
    fn drop(&mut self, step: &str, problem: String) -> String {
        self.dropped = true;
        let conclusion = format!("the call is dropped: {problem}");
        self.step(step, Some(false), problem);
        conclusion
    }

    fn refuse(&mut self, step: &str, code: u16, problem: String) -> String {
        self.refused = Some(code);
        let conclusion = format!("the call is refused with {code}: {problem}");
        self.step(step, Some(false), problem);
        conclusion
    }
}

fn told(refusal: &Refusal) -> String {
    match refusal {
        Refusal::SourceNotAllowed { subnets, .. } if subnets.is_empty() => {
            "the number has no subnets, so nobody may call it".to_string()
        }
        refusal => refusal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::directory::{Listed, Origin};
    use crate::book::{App, Book, CallLimits, NumberRecord};
    use crate::call::request::{LimitExceeded, LimitKind, LimitScope};
    use crate::ids::AppId;

    const IDLE: Admission = Admission {
        banned: false,
        closed: None,
        exceeded: None,
    };

    fn of_shards(shards: &[Admission]) -> Circumstances {
        Circumstances {
            draining: false,
            failure_code: 480,
            registrar: false,
            shards: shards.to_vec(),
        }
    }

    fn view(record: Value, ignored: Option<&str>) -> View {
        let record: NumberRecord = serde_json::from_value(record).unwrap();
        let number = Arc::new(record.to_number().unwrap());
        let app = App {
            id: AppId::new(AppId::ROOT),
            secret: "s".to_string(),
            limits: CallLimits::default(),
        };
        let counting = ignored.is_none().then(|| (*number).clone());
        View {
            book: Arc::new(Book::new([app], counting).unwrap()),
            apps: Vec::new(),
            numbers: vec![Listed {
                record: number,
                origin: Origin::Admin,
                ignored: ignored.map(str::to_string),
            }],
        }
    }

    /// Whether it is accepted, the code, and the step that decided.
    fn outcome(view: &View, number: &str, source: &str) -> (bool, Value, Value) {
        outcome_with(view, number, source, &of_shards(&[IDLE]))
    }

    fn outcome_with(
        view: &View,
        number: &str,
        source: &str,
        circumstances: &Circumstances,
    ) -> (bool, Value, Value) {
        let told = tested(view, number, source.parse().unwrap(), circumstances);
        let last = told["steps"].as_array().unwrap().last().unwrap().clone();
        (
            told["accepted"].as_bool().unwrap(),
            told["sip_code"].clone(),
            last["step"].clone(),
        )
    }

    #[test]
    fn the_step_that_refuses_is_the_last_one() {
        let open = json!({"number": "100", "subnets": ["10.0.0.0/8"], "answer": "echo"});
        let known = view(open.clone(), None);
        let accepted = (true, Value::Null, json!("handling"));
        assert_eq!(outcome(&known, "1-00", "10.1.1.1"), accepted);
        let unknown = (false, json!(404), json!("number"));
        assert_eq!(outcome(&known, "200", "10.1.1.1"), unknown);
        let foreign = (false, json!(403), json!("source"));
        assert_eq!(outcome(&known, "100", "192.0.2.1"), foreign);
        let ignored = view(open, Some("there is no app \"x\""));
        let not_counting = (false, json!(404), json!("record"));
        assert_eq!(outcome(&ignored, "100", "10.1.1.1"), not_counting);
        let silent = view(json!({"number": "100", "subnets": ["0.0.0.0/0"]}), None);
        let nobody = (false, json!(480), json!("handling"));
        assert_eq!(outcome(&silent, "100", "10.1.1.1"), nobody);
    }

    #[test]
    fn bans_load_and_limits_refuse_as_they_would_a_call() {
        let record = json!({"number": "100", "subnets": ["10.0.0.0/8"], "answer": "echo"});
        let known = view(record, None);
        let outcome =
            |shards: &[Admission]| outcome_with(&known, "100", "10.1.1.1", &of_shards(shards));
        let banned = Admission {
            banned: true,
            ..IDLE
        };
        assert_eq!(outcome(&[banned]), (false, Value::Null, json!("ban")));
        let late = Admission {
            closed: Some("overloaded"),
            ..IDLE
        };
        let all_late = outcome(&[late.clone(), late.clone()]);
        assert_eq!(all_late, (false, json!(503), json!("load")));
        let accepted = (true, Value::Null, json!("handling"));
        assert_eq!(outcome(&[late, IDLE]), accepted);
        let draining = Admission {
            closed: Some("draining"),
            ..IDLE
        };
        assert_eq!(outcome(&[draining]), (false, json!(503), json!("load")));
        assert_eq!(outcome(&[]), (false, json!(503), json!("load")));
        let at_limit = |scope, kind| Admission {
            exceeded: Some(LimitExceeded {
                scope,
                kind,
                limit: 3,
            }),
            ..IDLE
        };
        let busy = at_limit(LimitScope::Number("100".to_string()), LimitKind::Calls);
        assert_eq!(outcome(&[busy]), (false, json!(486), json!("limits")));
        let full = at_limit(LimitScope::App(AppId::new("a")), LimitKind::CallRate);
        assert_eq!(outcome(&[full]), (false, json!(503), json!("limits")));
    }

    #[test]
    fn no_password_is_told() {
        let auth = json!({"username": "u", "password": "hush"});
        let record = json!({"number": "100", "auth": auth, "sip_auth": auth});
        let told = tested(
            &view(record, None),
            "100",
            "10.0.0.1".parse().unwrap(),
            &of_shards(&[IDLE]),
        );
        assert!(!told.to_string().contains("hush"), "{told}");
        assert_eq!(told["number"]["auth"]["password_set"], json!(true));
        assert_eq!(told["number"]["sip_auth"]["password_set"], json!(true));
    }
}
