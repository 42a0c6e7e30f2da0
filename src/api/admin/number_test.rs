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
}

/// The walk so far.
#[derive(Default)]
struct Walk {
    steps: Vec<Value>,
    refused: Option<u16>,
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
    };
    let view = shared.directory.view();
    Ok(success(tested(&view, &body.number, source, &circumstances)))
}

fn tested(view: &View, number: &str, source: IpAddr, circumstances: &Circumstances) -> Value {
    let mut walk = Walk::default();
    let conclusion = walk.walk(view, number, source, circumstances);
    let records = of_number(&view.numbers, number);
    json!({
        "accepted": walk.refused.is_none(),
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
        if circumstances.draining {
            let problem = "the gateway is ending and takes no new calls".to_string();
            return self.refuse("limits", 503, problem);
        }
        self.step(
            "limits",
            Some(true),
            "new calls are taken as long as there is room (calls.max_calls, rtp.ports)".to_string(),
        );
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
    use crate::ids::AppId;

    const QUIET: Circumstances = Circumstances {
        draining: false,
        failure_code: 480,
    };

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
        let told = tested(view, number, source.parse().unwrap(), &QUIET);
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
    fn no_password_is_told() {
        let auth = json!({"username": "u", "password": "hush"});
        let record = json!({"number": "100", "auth": auth, "sip_auth": auth});
        let told = tested(
            &view(record, None),
            "100",
            "10.0.0.1".parse().unwrap(),
            &QUIET,
        );
        assert!(!told.to_string().contains("hush"), "{told}");
        assert_eq!(told["number"]["auth"]["password_set"], json!(true));
        assert_eq!(told["number"]["sip_auth"]["password_set"], json!(true));
    }
}
