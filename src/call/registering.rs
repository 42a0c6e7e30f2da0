//! Registrations of numbers whose calls come from a registrar: the api says
//! which, this shard keeps them (RFC 3261 section 10).

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::book::{Number, Refusal, SipAuth, comparable};
use crate::call::calls::Calls;
use crate::call::outgoing::{listener_for, parse_proxy, parse_server};
use crate::call::request::{CallError, CallReply};
use crate::ids::RequestId;
use crate::sip::agent::{Credentials, OutgoingRegistration, RegistrationReport};
use crate::sip::registration::Standing;
use crate::sip::uri::Uri;

/// A registration to be kept, checked and with its address looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationPlan {
    /// The number, as the book has it.
    pub number: Arc<str>,
    /// Where REGISTERs are sent: the address of `sip_proxy`, else of
    /// `sip_server`.
    pub destination: SocketAddr,
    /// Host and port of the registrar.
    pub sip_server: String,
    /// The outbound proxy as a SIP URI.
    pub sip_proxy: Option<String>,
    /// Answers a 401 or 407. Its user name is the registered user; without it
    /// the number is.
    pub sip_auth: Option<SipAuth>,
    /// How long to wait before the first REGISTER.
    pub first: Duration,
}

/// How a registration stands. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationSnapshot {
    /// The number, as the book has it.
    pub number: Arc<str>,
    /// `trying`, `registered`, `failed` or `leaving`.
    pub state: &'static str,
    /// Code of the last answer; 408 and 503 also where none came.
    pub last_code: Option<u16>,
    /// Until when the registrar knows us.
    pub registered_until_ms: Option<u64>,
    /// When the next REGISTER is due; none while one is under way.
    pub next_attempt_ms: Option<u64>,
}

/// The addresses that registrations are made to: calls from there are allowed
/// to the number whose registration it is, whatever its subnets say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Registrars {
    by_number: HashMap<String, IpAddr>,
    all: HashSet<IpAddr>,
}

impl Registrars {
    /// Of these numbers.
    pub fn new<'n>(registrars: impl IntoIterator<Item = (&'n str, IpAddr)>) -> Self {
        let mut made = Registrars::default();
        for (number, address) in registrars {
            let address = address.to_canonical();
            made.by_number.insert(comparable(number), address);
            made.all.insert(address);
        }
        made
    }

    /// Whether the number is registered at this address.
    pub fn allow(&self, number: &str, source: IpAddr) -> bool {
        let registrar = self.by_number.get(&comparable(number));
        registrar.is_some_and(|registrar| *registrar == source.to_canonical())
    }

    /// Whether any number is registered at this address.
    pub fn contains(&self, source: IpAddr) -> bool {
        !self.all.is_empty() && self.all.contains(&source.to_canonical())
    }
}

impl Calls {
    /// Keeps a registration, in place of the number's former one.
    pub(super) fn register(&mut self, now: Instant, id: RequestId, plan: &RegistrationPlan) {
        let result = match self.draining {
            true => Err(CallError::Draining),
            false => self.outgoing_registration(plan).and_then(|plan| {
                let kept = self.agent.register(now, plan);
                kept.map_err(|_| CallError::Overloaded)
            }),
        };
        let reply = match result {
            Ok(()) => CallReply::Done,
            Err(error) => CallReply::Refused(error),
        };
        self.reply(id, reply);
    }

    fn outgoing_registration(
        &self,
        plan: &RegistrationPlan,
    ) -> Result<OutgoingRegistration, CallError> {
        let (host, port) = parse_server(&plan.sip_server)?;
        let user = match &plan.sip_auth {
            Some(auth) => auth.username.clone(),
            None => comparable(&plan.number),
        };
        Ok(OutgoingRegistration {
            name: plan.number.clone(),
            listener: listener_for(&self.settings.listeners, plan.destination)?,
            destination: plan.destination,
            // RFC 3261 section 10.2: the domain, without a user.
            registrar: Uri::sip(None, host.clone(), port),
            proxy: parse_proxy(plan.sip_proxy.as_deref())?,
            address_of_record: Uri::sip(Some(&user), host, None),
            contact_user: comparable(&plan.number),
            auth: plan.sip_auth.as_ref().map(|auth| Credentials {
                username: auth.username.clone(),
                password: auth.password.clone(),
            }),
            first: plan.first,
        })
    }

    /// How this shard's registrations stand.
    pub(super) fn query_registrations(&mut self, now: Instant, id: RequestId) {
        let clock = self.settings.clock;
        let snapshot = |report: RegistrationReport| RegistrationSnapshot {
            number: report.name,
            state: report.standing.label(),
            last_code: report.last_code,
            registered_until_ms: report.until.map(|until| clock.unix_ms(until)),
            next_attempt_ms: report.due.map(|due| clock.unix_ms(due)),
        };
        let all = self.agent.registrations(now).map(snapshot).collect();
        self.reply(id, CallReply::Registrations(all));
    }

    /// How many registrations stand how.
    pub fn registrations(&self, now: Instant) -> [(Standing, u64); 4] {
        Standing::ALL.map(|standing| {
            let all = self.agent.registrations(now);
            let count = all.filter(|report| report.standing == standing).count();
            (standing, count as u64)
        })
    }

    /// How many registrations are being given up.
    pub fn registrations_leaving(&self, now: Instant) -> u64 {
        let mut all = self.registrations(now).into_iter();
        let leaving = all.find(|(standing, _)| *standing == Standing::Leaving);
        leaving.map_or(0, |(_, count)| count)
    }

    /// One line for each change.
    pub(super) fn log_registrations(&mut self, now: Instant) {
        while let Some(report) = self.agent.poll_registration() {
            let seconds =
                |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now).as_secs());
            let (number, state) = (&*report.name, report.standing.label());
            let (code, next_s) = (report.last_code, seconds(report.due));
            match report.standing {
                Standing::Failed => warn!(number, state, code, next_s, "registration"),
                Standing::Registered | Standing::Trying | Standing::Leaving => {
                    let expires_s = seconds(report.until);
                    info!(number, state, code, expires_s, next_s, "registration");
                }
            }
        }
    }

    /// The number that this source may call although its subnets do not name
    /// it: one that is registered there.
    pub(super) fn called_by_registrar(
        &self,
        candidates: &[&str],
        source: IpAddr,
        refusal: &Refusal,
    ) -> Option<Arc<Number>> {
        let Refusal::SourceNotAllowed { .. } = refusal else {
            return None;
        };
        let mut found = candidates.iter().filter_map(|text| self.book.number(text));
        let number = found.next()?;
        let allowed = self.registrars.allow(&number.number, source);
        allowed.then(|| number.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrar_may_call_its_own_number_and_no_other() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let registrars = Registrars::new([("+49 30 1", ip("192.0.2.1")), ("7", ip("::1"))]);
        assert!(registrars.allow("49301", ip("::ffff:192.0.2.1")));
        assert!(!registrars.allow("7", ip("192.0.2.1")));
        assert!(!registrars.allow("8", ip("192.0.2.1")));
        assert!(registrars.contains(ip("::1")) && !registrars.contains(ip("192.0.2.2")));
    }
}
