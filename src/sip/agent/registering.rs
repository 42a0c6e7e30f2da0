//! Registrations that we keep (RFC 3261 section 10.2): the REGISTERs, their
//! digests and their answers. When one is due, and what an answer means, says
//! [`Registration`].

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use slab::Slab;

use super::Agent;
use super::auth::Auth;
use super::caller::is_challenge;
use super::stack::{Owner, Role, Stack};
use super::types::{AgentError, Credentials};
use crate::ids::{ListenerId, SessionId};
use crate::sip::header::HeaderName;
use crate::sip::headers::{CSeq, Headers};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::outbox::Path;
use crate::sip::registration::{Answer, Registration, Standing};
use crate::sip::status::StatusCode;
use crate::sip::transaction::TransactionId;
use crate::sip::uri::Uri;
use crate::timers::Timers;

/// What to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRegistration {
    /// Tells it from the others; logs and API know it by this.
    pub name: Arc<str>,
    /// The socket to register.
    pub listener: ListenerId,
    /// The next hop, resolved: the proxy if there is one, else the registrar.
    pub destination: SocketAddr,
    /// The registrar: a URI without a user.
    pub registrar: Uri,
    /// The proxy, which becomes a preloaded Route with `lr` (RFC 3261
    /// section 8.1.2).
    pub proxy: Option<Uri>,
    /// What is registered: the address of record.
    pub address_of_record: Uri,
    /// User part of our Contact.
    pub contact_user: String,
    /// What a 401 or 407 is answered with.
    pub auth: Option<Credentials>,
    /// How long to wait before the first REGISTER.
    pub first: Duration,
}

impl OutgoingRegistration {
    /// Whether the registrar would take both for one binding.
    fn is_same_binding(&self, other: &OutgoingRegistration) -> bool {
        let key = |this: &OutgoingRegistration| {
            let Self {
                listener,
                registrar,
                address_of_record,
                contact_user,
                ..
            } = this;
            (
                *listener,
                registrar.clone(),
                address_of_record.clone(),
                contact_user.clone(),
            )
        };
        key(self) == key(other)
    }
}

/// How a registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationReport {
    /// Which.
    pub name: Arc<str>,
    /// How it stands.
    pub standing: Standing,
    /// Until when the registrar knows us.
    pub until: Option<Instant>,
    /// Code of the last answer; 408 and 503 also where none came.
    pub last_code: Option<u16>,
    /// When the next REGISTER is due; none while one is under way.
    pub due: Option<Instant>,
}

/// All registrations of an agent.
#[derive(Default)]
pub(super) struct Registrations {
    bindings: Slab<Binding>,
    /// Those that are not given up.
    by_name: HashMap<Arc<str>, usize>,
    pub timers: Timers<u32>,
    changes: VecDeque<RegistrationReport>,
}

struct Binding {
    plan: OutgoingRegistration,
    registration: Registration,
    auth: Option<Auth>,
    /// The same for all REGISTERs to one registrar (RFC 3261 section 10.2).
    call_id: String,
    cseq: u32,
    tag: String,
    /// The REGISTER that is under way, and for how long it asks.
    asked: Option<(TransactionId, u32)>,
    /// What was last told of it.
    told: Option<(Standing, Option<u16>)>,
}

impl Binding {
    fn report(&self, now: Instant) -> RegistrationReport {
        RegistrationReport {
            name: self.plan.name.clone(),
            standing: self.registration.standing(now),
            until: self.registration.until(),
            last_code: self.registration.last_code(),
            due: self.registration.due(),
        }
    }
}

impl Agent {
    /// Keeps a registration, in place of one of the same name. One that a new
    /// one does not overwrite at its registrar is given up there.
    pub fn register(&mut self, now: Instant, plan: OutgoingRegistration) -> Result<(), AgentError> {
        if self.stack.advertised(plan.listener).is_none() {
            return Err(AgentError::NoListener);
        }
        let known = self.registrations.by_name.get(&plan.name).copied();
        if let Some(slot) = known
            && let Some(binding) = self.registrations.bindings.get(slot)
        {
            if binding.plan == plan {
                return Ok(());
            }
            if !binding.plan.is_same_binding(&plan) {
                let name = plan.name.clone();
                self.unregister(now, &name);
            }
        }
        // One that is about to be given up must not take the new one with it.
        let bindings = &mut self.registrations.bindings;
        let mut same = bindings.iter_mut();
        let same = same.find(|(_, binding)| binding.plan.is_same_binding(&plan));
        let auth = plan.auth.clone().map(Auth::new);
        let name = plan.name.clone();
        let slot = match same {
            Some((slot, binding)) => {
                binding.registration = Registration::new(now);
                binding.auth = auth;
                binding.asked = None;
                binding.told = None;
                binding.plan = plan;
                slot
            }
            None => {
                let registration = Registration::new(now + plan.first);
                let mut random = || self.stack.random.next_u64();
                let call_id = format!("{:016x}{:016x}", random(), random());
                let tag = random();
                bindings.insert(Binding {
                    plan,
                    registration,
                    auth,
                    call_id,
                    cseq: 0,
                    tag: self.stack.tag(tag),
                    asked: None,
                    told: None,
                })
            }
        };
        self.registrations.by_name.insert(name, slot);
        self.schedule(slot);
        Ok(())
    }

    /// Gives a registration up; false where there is none of this name.
    pub fn unregister(&mut self, now: Instant, name: &str) -> bool {
        let Some(slot) = self.registrations.by_name.remove(name) else {
            return false;
        };
        let Some(binding) = self.registrations.bindings.get_mut(slot) else {
            return false;
        };
        if binding.registration.leave(now) {
            self.schedule(slot);
            self.tell(now, slot);
        } else {
            self.forget_binding(slot);
        }
        true
    }

    /// Gives all of them up.
    pub fn unregister_all(&mut self, now: Instant) {
        let names: Vec<Arc<str>> = self.registrations.by_name.keys().cloned().collect();
        for name in names {
            self.unregister(now, &name);
        }
    }

    /// How all of them stand, those that are being given up too.
    pub fn registrations(&self, now: Instant) -> impl Iterator<Item = RegistrationReport> {
        let bindings = self.registrations.bindings.iter();
        bindings.map(move |(_, binding)| binding.report(now))
    }

    /// The next registration that stands otherwise than was last told.
    pub fn poll_registration(&mut self) -> Option<RegistrationReport> {
        self.registrations.changes.pop_front()
    }

    /// Sends the REGISTERs that are due.
    pub(super) fn refresh_registrations(&mut self, now: Instant) {
        while let Some(slot) = self.registrations.timers.pop(now) {
            let slot = slot as usize;
            let Some(binding) = self.registrations.bindings.get_mut(slot) else {
                continue;
            };
            let asks = binding.registration.sent();
            if let Some(auth) = &mut binding.auth {
                auth.start_request();
            }
            let request = register(&self.stack, binding, asks);
            self.send_register(now, slot, request, asks);
        }
    }

    fn send_register(&mut self, now: Instant, slot: usize, mut request: Request, asks: u32) {
        let Some(binding) = self.registrations.bindings.get_mut(slot) else {
            return;
        };
        if let Some(auth) = &mut binding.auth {
            auth.sign(&mut request, self.stack.random.next_u64());
        }
        if let Ok(cseq) = request.headers.cseq() {
            binding.cseq = cseq.number;
        }
        let path = Path {
            peer: binding.plan.destination,
            listener: binding.plan.listener,
        };
        let owner = Owner {
            session: SessionId {
                index: slot as u32,
                generation: 0,
            },
            role: Role::Register,
        };
        match self.stack.start(now, path, owner, request) {
            Ok(transaction) => binding.asked = Some((transaction, asks)),
            // Without room it is as if the network had refused it.
            Err(_) => {
                let failed = without_answer(StatusCode::SERVICE_UNAVAILABLE);
                self.register_answered(now, slot, asks, failed);
            }
        }
    }

    pub(super) fn register_response(
        &mut self,
        now: Instant,
        owner: SessionId,
        transaction: TransactionId,
        response: &Response,
    ) {
        if response.status.is_provisional() {
            return;
        }
        let slot = owner.index as usize;
        let Some(asks) = self.take_asked(slot, transaction) else {
            return;
        };
        let Some(binding) = self.registrations.bindings.get_mut(slot) else {
            return;
        };
        if let Some(auth) = &mut binding.auth
            && is_challenge(response)
            && auth.learn(&response.headers)
        {
            let request = register(&self.stack, binding, asks);
            return self.send_register(now, slot, request, asks);
        }
        let contact = Uri::parse(&contact(&self.stack, &binding.plan)).ok();
        let answer = Answer {
            code: response.status.code(),
            expires: granted(&response.headers, contact.as_ref()),
            min_expires: response.headers.min_expires(),
            retry_after: response.headers.retry_after(),
        };
        self.register_answered(now, slot, asks, answer);
    }

    pub(super) fn register_failed(
        &mut self,
        now: Instant,
        owner: SessionId,
        transaction: TransactionId,
        status: StatusCode,
    ) {
        let slot = owner.index as usize;
        if let Some(asks) = self.take_asked(slot, transaction) {
            self.register_answered(now, slot, asks, without_answer(status));
        }
    }

    /// For how long the transaction asked, if the registration still waits
    /// for it.
    fn take_asked(&mut self, slot: usize, transaction: TransactionId) -> Option<u32> {
        let binding = self.registrations.bindings.get_mut(slot)?;
        let (_, asks) = binding.asked.take_if(|(id, _)| *id == transaction)?;
        Some(asks)
    }

    fn register_answered(&mut self, now: Instant, slot: usize, asks: u32, answer: Answer) {
        let random = self.stack.random.random_range(0.0..1.0);
        let Some(binding) = self.registrations.bindings.get_mut(slot) else {
            return;
        };
        if !binding.registration.answered(now, asks, answer, random) {
            self.forget_binding(slot);
            return;
        }
        self.schedule(slot);
        self.tell(now, slot);
    }

    fn schedule(&mut self, slot: usize) {
        let Some(binding) = self.registrations.bindings.get(slot) else {
            return;
        };
        let timers = &mut self.registrations.timers;
        match binding.registration.due() {
            Some(at) => timers.set(slot as u32, at),
            None => drop(timers.stop(&(slot as u32))),
        }
    }

    fn tell(&mut self, now: Instant, slot: usize) {
        let Some(binding) = self.registrations.bindings.get_mut(slot) else {
            return;
        };
        let report = binding.report(now);
        // A refresh that went well is no news.
        let news = (report.standing, report.last_code);
        if binding.told != Some(news) {
            binding.told = Some(news);
            self.registrations.changes.push_back(report);
        }
    }

    fn forget_binding(&mut self, slot: usize) {
        self.registrations.timers.stop(&(slot as u32));
        if let Some(binding) = self.registrations.bindings.try_remove(slot)
            && self.registrations.by_name.get(&binding.plan.name) == Some(&slot)
        {
            self.registrations.by_name.remove(&binding.plan.name);
        }
    }
}

/// The URI that calls are to come to.
fn contact(stack: &Stack, plan: &OutgoingRegistration) -> String {
    match stack.advertised(plan.listener) {
        Some(address) => Uri::of_address(Some(&plan.contact_user), address).to_string(),
        None => String::new(),
    }
}

/// The next REGISTER of this binding (RFC 3261 section 10.2), unsigned.
fn register(stack: &Stack, binding: &Binding, asks: u32) -> Request {
    let plan = &binding.plan;
    let mut request = Request::new(Method::Register, plan.registrar.clone());
    let headers = &mut request.headers;
    headers.push(HeaderName::MaxForwards, "70");
    if let Some(mut proxy) = plan.proxy.clone() {
        if let Some(sip) = proxy.as_sip_mut() {
            sip.params.set("lr", None);
        }
        headers.push(HeaderName::Route, NameAddr::new(proxy).to_string());
    }
    let mut from = NameAddr::new(plan.address_of_record.clone());
    headers.push(HeaderName::To, from.to_string());
    from.set_tag(&binding.tag);
    headers.push(HeaderName::From, from.to_string());
    headers.push(HeaderName::CallId, binding.call_id.as_str());
    let cseq = CSeq {
        number: binding.cseq + 1,
        method: Method::Register,
    };
    headers.push(HeaderName::CSeq, cseq.to_string());
    headers.push(HeaderName::Contact, format!("<{}>", contact(stack, plan)));
    headers.push(HeaderName::Expires, asks.to_string());
    request
}

/// What the registrar grants our Contact (RFC 3261 section 10.2.4). One that
/// lists other Contacts only has not kept ours.
fn granted(headers: &Headers, ours: Option<&Uri>) -> Option<u32> {
    let contacts = headers.contacts().unwrap_or_default();
    let mut all = contacts.iter();
    let found = all.find(|contact| ours.is_some_and(|ours| contact.uri.equivalent(ours)));
    match found {
        Some(contact) => {
            let own = contact.params.get("expires");
            own.and_then(|own| own.parse().ok())
                .or_else(|| headers.expires())
        }
        None if contacts.is_empty() => headers.expires(),
        None => Some(0),
    }
}

fn without_answer(status: StatusCode) -> Answer {
    Answer {
        code: status.code(),
        expires: None,
        min_expires: None,
        retry_after: None,
    }
}
