//! Registrations of numbers (`register = true`): which there have to be, by
//! the number book as it is now, and where their registrars are. The shards
//! keep them; one shard each, by the number.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::book::{Number, comparable};
use crate::call::request::{
    CallReply, CallRequest, Registrars, RegistrationPlan, RegistrationSnapshot,
};

use super::Shared;
use super::dial::{look_up, server};
use super::registry::lock;

/// Registrations at most; the numbers that come first have them.
const MAX_REGISTRATIONS: usize = 10_000;
/// How often names are looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);
/// The first REGISTERs of many numbers are spread so far apart.
const FIRST_APART: Duration = Duration::from_millis(5);

/// The keeper of all registrations.
#[derive(Default)]
pub struct Registrations {
    /// By the number as numbers are compared.
    wanted: Mutex<HashMap<String, Wanted>>,
    registrars: RwLock<Arc<Registrars>>,
    changed: Notify,
}

/// A registration that has to be.
struct Wanted {
    number: Arc<Number>,
    /// What its shard was told; none while its registrar was never found.
    plan: Option<RegistrationPlan>,
    /// Why it cannot be kept, or its registrar not be looked up again.
    problem: Option<String>,
}

impl Registrations {
    /// The number book has changed.
    pub fn book_changed(&self) {
        self.changed.notify_one();
    }

    /// Who may call the numbers that are registered there.
    pub fn registrars(&self) -> Arc<Registrars> {
        let registrars = self.registrars.read();
        registrars.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps them until the gateway ends.
pub async fn run(shared: Arc<Shared>) {
    let mut ending = shared.ending.subscribe();
    loop {
        // The shards have given them up.
        if shared.draining() {
            return;
        }
        let reconciled = async {
            reconcile(&shared).await;
            tokio::select! {
                () = tokio::time::sleep(LOOK_UP_EVERY) => {}
                () = shared.registrations.changed.notified() => {}
            }
        };
        tokio::select! {
            () = reconciled => {}
            () = async { let _ = ending.wait_for(|ending| *ending).await; } => return,
        }
    }
}

/// Tells the shards what has changed since they were last told.
async fn reconcile(shared: &Shared) {
    let book = shared.directory.book();
    let mut numbers: Vec<&Arc<Number>> = book.numbers().filter(|n| n.outgoing.register).collect();
    numbers.sort_by(|a, b| a.number.cmp(&b.number));
    let mut hosts = HashMap::new();
    let mut wanted = HashMap::new();
    for (place, number) in numbers.into_iter().enumerate() {
        let key = comparable(&number.number);
        let found = match place < MAX_REGISTRATIONS {
            true => plan(shared, number, &mut hosts).await,
            false => Err(format!("more than {MAX_REGISTRATIONS} numbers register")),
        };
        let (plan, problem) = match found {
            Ok(plan) => (Some(plan), None),
            // Where its registrar was found before, it may still be.
            Err(problem) => (former(shared, &key, number), Some(problem)),
        };
        let number = number.clone();
        wanted.insert(
            key,
            Wanted {
                number,
                plan,
                problem,
            },
        );
    }
    tell_registrars(shared, &wanted).await;
    let apart = |at: usize| FIRST_APART * u32::try_from(at).unwrap_or(u32::MAX);
    let former: HashMap<String, RegistrationPlan> = {
        let told = lock(&shared.registrations.wanted);
        let plans = told.iter();
        plans
            .filter_map(|(key, wanted)| Some((key.clone(), wanted.plan.clone()?)))
            .collect()
    };
    let mut told = 0;
    for (key, old) in &former {
        let is_gone = wanted.get(key).is_none_or(|new| new.plan.is_none());
        if is_gone {
            let request = CallRequest::Unregister(old.number.clone());
            tell(shared, &old.number, request).await;
        }
    }
    for (key, new) in &mut wanted {
        let old = former.get(key);
        let Some(plan) = new.plan.clone().filter(|plan| old != Some(plan)) else {
            continue;
        };
        if let Some(old) = old
            && old.number != plan.number
        {
            // Written otherwise it is another name for its shard.
            let request = CallRequest::Unregister(old.number.clone());
            tell(shared, &old.number, request).await;
        }
        let mut first = plan.clone();
        first.first = apart(told);
        told += 1;
        let request = CallRequest::Register(Box::new(first));
        if let Some(problem) = tell(shared, &plan.number, request).await {
            new.problem = Some(problem);
            new.plan = None;
        }
    }
    *lock(&shared.registrations.wanted) = wanted;
}

/// What the shard was told before, if the number still says the same.
fn former(shared: &Shared, key: &str, number: &Arc<Number>) -> Option<RegistrationPlan> {
    let wanted = lock(&shared.registrations.wanted);
    let old = wanted.get(key)?;
    (old.number.outgoing == number.outgoing)
        .then(|| old.plan.clone())
        .flatten()
}

/// Each registrar is looked up once, however many numbers it has.
async fn plan(
    shared: &Shared,
    number: &Number,
    hosts: &mut HashMap<String, Result<SocketAddr, String>>,
) -> Result<RegistrationPlan, String> {
    let outgoing = &number.outgoing;
    let text = outgoing.sip_server.as_deref().unwrap_or_default();
    let registrar = server(text, "sip_server").map_err(|error| error.message)?;
    let proxy = match &outgoing.sip_proxy {
        Some(text) => Some(server(text, "sip_proxy").map_err(|error| error.message)?),
        None => None,
    };
    let (hop, field) = match &proxy {
        Some(proxy) => (proxy, "sip_proxy"),
        None => (&registrar, "sip_server"),
    };
    let key = hop.to_string();
    let destination = match hosts.get(&key) {
        Some(known) => known.clone()?,
        None => {
            let found = look_up(shared, hop, field).await;
            let found = found.map_err(|error| error.message);
            hosts.insert(key, found.clone());
            found?
        }
    };
    Ok(RegistrationPlan {
        number: Arc::from(number.number.as_str()),
        destination,
        sip_server: registrar.to_string(),
        sip_proxy: proxy.map(|proxy| format!("sip:{proxy};lr")),
        sip_auth: outgoing.sip_auth.clone(),
        first: Duration::ZERO,
    })
}

async fn tell_registrars(shared: &Shared, wanted: &HashMap<String, Wanted>) {
    let plans = wanted.values().filter_map(|wanted| wanted.plan.as_ref());
    let addresses = plans.map(|plan| (&*plan.number, plan.destination.ip()));
    let registrars = Arc::new(Registrars::new(addresses));
    if *registrars == *shared.registrations.registrars() {
        return;
    }
    let current = &shared.registrations.registrars;
    *current.write().unwrap_or_else(PoisonError::into_inner) = registrars.clone();
    for shard in shared.shards.all() {
        let request = CallRequest::UseRegistrars(registrars.clone());
        if shared.ask(shard, request).await.is_err() {
            tracing::error!(shard = shard.0, "a shard did not take the registrars");
        }
    }
}

/// Why the number's shard did not take it.
async fn tell(shared: &Shared, number: &str, request: CallRequest) -> Option<String> {
    let shard = shared.shards.of_number(&comparable(number));
    match shared.ask(shard, request).await {
        Ok(CallReply::Refused(error)) => Some(error.to_string()),
        Ok(_) => None,
        Err(error) => Some(error.message),
    }
}

impl Shared {
    /// How all registrations stand, by number.
    pub(super) async fn registrations_json(&self) -> Vec<Value> {
        let mut snapshots: HashMap<String, RegistrationSnapshot> = HashMap::new();
        for shard in self.shards.all() {
            if let Ok(CallReply::Registrations(all)) =
                self.ask(shard, CallRequest::Registrations).await
            {
                snapshots.extend(all.into_iter().map(|one| (comparable(&one.number), one)));
            }
        }
        let wanted = lock(&self.registrations.wanted);
        let mut all: Vec<(&String, &Wanted)> = wanted.iter().collect();
        all.sort_by(|(_, a), (_, b)| a.number.number.cmp(&b.number.number));
        let told = all.into_iter().map(|(key, wanted)| {
            let address = wanted.plan.as_ref().map(|plan| plan.destination);
            told(wanted, address, snapshots.get(key))
        });
        told.collect()
    }

    /// Whether calls to this number are allowed from this address because the
    /// number is registered there.
    pub(super) fn is_registered_at(&self, number: &str, source: IpAddr) -> bool {
        self.registrations.registrars().allow(number, source)
    }
}

fn told(
    wanted: &Wanted,
    address: Option<SocketAddr>,
    snapshot: Option<&RegistrationSnapshot>,
) -> Value {
    let state = match (snapshot, &wanted.problem) {
        (Some(snapshot), _) => snapshot.state,
        (None, Some(_)) => "failed",
        (None, None) => "trying",
    };
    let outgoing = &wanted.number.outgoing;
    json!({
        "number": wanted.number.number,
        "app_id": wanted.number.app.as_str(),
        "registrar": outgoing.sip_server,
        "address": address.map(|address| address.to_string()),
        "state": state,
        "last_code": snapshot.and_then(|snapshot| snapshot.last_code),
        "registered_until_ms": snapshot.and_then(|snapshot| snapshot.registered_until_ms),
        "next_attempt_ms": snapshot.and_then(|snapshot| snapshot.next_attempt_ms),
        "problem": wanted.problem,
    })
}
