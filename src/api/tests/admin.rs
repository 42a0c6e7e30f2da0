//! The admin API, from logging in to the number book.

use super::*;

const PASSWORD: &str = "a long enough password";

/// An administrator's browser: its cookie and its CSRF token.
pub(super) struct Browser<'g> {
    gateway: &'g Gateway,
    cookie: String,
    pub(super) csrf: String,
}

impl<'g> Browser<'g> {
    pub(super) fn of(gateway: &'g Gateway) -> Self {
        Browser {
            gateway,
            cookie: String::new(),
            csrf: String::new(),
        }
    }

    /// The first administrator: sets the password with the setup code.
    pub(super) async fn first(gateway: &'g Gateway) -> Self {
        let mut browser = Browser::of(gateway);
        let code = gateway.api.setup_code().unwrap().value;
        let body = json!({ "code": code, "password": PASSWORD });
        let (status, answer) = browser.come_in("/setup", body).await;
        assert_eq!(status, 200, "{answer}");
        browser
    }

    pub(super) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}/admin/api{path}", self.gateway.address);
        let mut request = self.gateway.http.request(method, url);
        if !self.cookie.is_empty() {
            request = request.header("Cookie", &self.cookie);
        }
        request
    }

    async fn sent(request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = soon("an answer", request.send()).await.unwrap();
        let status = response.status().as_u16();
        assert!(
            !response
                .headers()
                .contains_key("access-control-allow-origin"),
            "no other page may read this"
        );
        assert_eq!(response.headers()["x-frame-options"], "DENY");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn come_in(&mut self, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(Method::POST, path).json_body(&body);
        let response = soon("an answer", request.send()).await.unwrap();
        let status = response.status().as_u16();
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            for attribute in ["HttpOnly", "SameSite=Strict", "Path=/admin"] {
                assert!(cookie.contains(attribute), "{cookie}");
            }
            self.cookie = cookie.split(';').next().unwrap().to_string();
        }
        let body = response.bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        if let Some(csrf) = answer["data"]["csrf_token"].as_str() {
            self.csrf = csrf.to_string();
        }
        (status, answer)
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        Self::sent(self.request(Method::GET, path)).await
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self
            .request(method, path)
            .header("X-CSRF-Token", &self.csrf)
            .json_body(&body);
        Self::sent(request).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::POST, path, body).await
    }
}

trait JsonBody {
    fn json_body(self, body: &Value) -> Self;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }
}

pub(super) fn refusal(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap_or("none"))
}

#[tokio::test]
async fn the_first_password_takes_the_setup_code_and_only_once() {
    let gateway = Gateway::start(Vec::new()).await;
    let mut stranger = Browser::of(&gateway);
    let (_, session) = stranger.get("/session").await;
    assert_eq!(
        session["data"],
        json!({"logged_in": false, "setup_needed": true})
    );
    let guess = json!({ "code": "0".repeat(64), "password": PASSWORD });
    let answer = stranger.come_in("/setup", guess.clone()).await;
    assert_eq!(refusal(&answer), (403, "SETUP_CODE_WRONG"));
    let login = json!({ "password": PASSWORD });
    let answer = stranger.come_in("/login", login.clone()).await;
    assert_eq!(refusal(&answer), (409, "PASSWORD_NOT_SET"));
    let code = gateway.api.setup_code().unwrap();
    let short = json!({ "code": code.value, "password": "short" });
    let answer = stranger.come_in("/setup", short).await;
    assert_eq!(refusal(&answer), (400, "BAD_REQUEST"));

    let first = Browser::first(&gateway).await;
    assert_eq!(first.get("/apps").await.0, 200);
    assert!(!code.file.exists(), "the code is used up");
    let again = json!({ "code": code.value, "password": PASSWORD });
    let answer = stranger.come_in("/setup", again).await;
    assert_eq!(refusal(&answer), (409, "PASSWORD_SET"));
    gateway.end().await;
}

#[tokio::test]
async fn what_an_administrator_may_do_needs_a_session_and_its_csrf_token() {
    let gateway = Gateway::start(Vec::new()).await;
    let admin = Browser::first(&gateway).await;
    let stranger = Browser::of(&gateway);
    for path in [
        "/apps", "/numbers", "/calls", "/rooms", "/system", "/events",
    ] {
        let answer = stranger.get(path).await;
        assert_eq!(refusal(&answer), (401, "NOT_LOGGED_IN"), "{path}");
    }
    let app = json!({ "app_id": "new" });
    let answer = stranger.post("/apps", app.clone()).await;
    assert_eq!(refusal(&answer), (401, "NOT_LOGGED_IN"));
    let forged = Browser {
        csrf: "made up".to_string(),
        cookie: admin.cookie.clone(),
        gateway: &gateway,
    };
    let answer = forged.post("/apps", app.clone()).await;
    assert_eq!(refusal(&answer), (403, "CSRF"));
    let elsewhere = admin
        .request(Method::POST, "/apps")
        .header("X-CSRF-Token", &admin.csrf)
        .header("Origin", "http://elsewhere.example")
        .json_body(&app);
    assert_eq!(refusal(&Browser::sent(elsewhere).await), (403, "CSRF"));
    // An app's secret opens nothing here.
    let (status, _) = gateway.get("/admin/api/apps", ROOT).await;
    assert_eq!(status, 401);

    assert_eq!(admin.post("/apps", app).await.0, 201);
    assert_eq!(admin.post("/logout", json!({})).await.0, 200);
    assert_eq!(admin.get("/apps").await.0, 401);
    gateway.end().await;
}

#[tokio::test]
async fn too_many_wrong_passwords_have_to_wait() {
    let gateway = Gateway::start(Vec::new()).await;
    let _first = Browser::first(&gateway).await;
    let mut guesser = Browser::of(&gateway);
    let guess = json!({ "password": "not the password" });
    for _ in 0..5 {
        let answer = guesser.come_in("/login", guess.clone()).await;
        assert_eq!(refusal(&answer), (401, "LOGIN_FAILED"));
    }
    // On a slow machine one more try may have become due meanwhile.
    let response = soon("a refusal for a while", async {
        loop {
            let request = guesser.request(Method::POST, "/login").json_body(&guess);
            let response = request.send().await.unwrap();
            if response.status() != 401 {
                return response;
            }
        }
    })
    .await;
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    gateway.end().await;
}

#[tokio::test]
async fn another_password_ends_the_other_sessions() {
    let gateway = Gateway::start(Vec::new()).await;
    let mut admin = Browser::first(&gateway).await;
    let mut other = Browser::of(&gateway);
    let login = json!({ "password": PASSWORD });
    assert_eq!(other.come_in("/login", login.clone()).await.0, 200);
    let wrong = json!({ "current": "no", "new": "another long password" });
    let answer = admin.post("/password", wrong).await;
    assert_eq!(refusal(&answer), (403, "PASSWORD_WRONG"));
    let url = "/password";
    let change = json!({ "current": PASSWORD, "new": "another long password" });
    let request = admin
        .request(Method::POST, url)
        .header("X-CSRF-Token", &admin.csrf)
        .json_body(&change);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    admin.cookie = cookie.split(';').next().unwrap().to_string();
    assert_eq!(admin.get("/apps").await.0, 200);
    assert_eq!(other.get("/apps").await.0, 401);
    let answer = other.come_in("/login", login).await;
    assert_eq!(refusal(&answer), (401, "LOGIN_FAILED"));
    gateway.end().await;
}

#[tokio::test]
async fn an_app_is_added_rotated_and_removed() {
    let gateway = Gateway::start(Vec::new()).await;
    let admin = Browser::first(&gateway).await;
    let (status, added) = admin.post("/apps", json!({ "app_id": "shop" })).await;
    assert_eq!(status, 201, "{added}");
    let secret = added["data"]["app_secret"].as_str().unwrap().to_string();
    assert_eq!(gateway.get("/calls", &secret).await.0, 200);
    let answer = admin.post("/apps", json!({ "app_id": "shop" })).await;
    assert_eq!(refusal(&answer), (409, "EXISTS"));
    let answer = admin.post("/apps/acme/rotate", json!({})).await;
    assert_eq!(refusal(&answer), (409, "CONFIGURED"));

    let (status, rotated) = admin
        .post("/apps/shop/rotate", json!({ "overlap_s": 3600 }))
        .await;
    assert_eq!(status, 200, "{rotated}");
    let fresh = rotated["data"]["app_secret"].as_str().unwrap();
    assert_eq!(gateway.get("/calls", fresh).await.0, 200);
    assert_eq!(gateway.get("/calls", &secret).await.0, 200, "for an hour");
    admin
        .post("/apps/shop/rotate", json!({ "overlap_s": 0 }))
        .await;
    assert_eq!(gateway.get("/calls", fresh).await.0, 401);

    let (_, listed) = admin.get("/apps").await;
    let listed = listed["data"]["apps"].as_array().unwrap();
    let ids: Vec<_> = listed.iter().map(|app| app["app_id"].clone()).collect();
    assert_eq!(ids, ["acme", "root", "shop"]);
    assert!(!json!(listed).to_string().contains(fresh));
    let (status, _) = admin.send(Method::DELETE, "/apps/shop", json!({})).await;
    assert_eq!(status, 200);
    gateway.end().await;
}

#[tokio::test]
async fn a_number_keeps_its_passwords_through_a_change_and_tells_none() {
    let mut gateway = Gateway::start(vec![number("100", "root")]).await;
    let record = json!({
        "number": "+49 30 7", "subnets": ["10.0.0.0/8"], "answer": "echo",
        "sip_server": "127.0.0.1:5070",
        "auth": { "username": "u", "password": "hush-in" },
        "sip_auth": { "username": "v", "password": "hush-out" },
    });
    {
        let admin = Browser::first(&gateway).await;
        let (status, added) = admin.post("/numbers", record.clone()).await;
        assert_eq!(status, 201, "{added}");
        let answer = admin.post("/numbers", record).await;
        assert_eq!(refusal(&answer), (409, "EXISTS"));
        let answer = admin.post("/numbers", json!({ "number": "100" })).await;
        assert_eq!(refusal(&answer), (409, "CONFIGURED"));
        let answer = admin
            .post("/numbers", json!({ "number": "8", "subnets": ["x"] }))
            .await;
        assert_eq!(refusal(&answer), (400, "BAD_REQUEST"));

        let renamed = json!({
            "number": "+49 30 8", "subnets": [], "sip_server": "127.0.0.1:5070",
            "auth": { "username": "u" }, "sip_auth": { "username": "v", "password": "" },
        });
        let path = "/numbers/%2B49%2030%207";
        let (status, changed) = admin.send(Method::PUT, path, renamed).await;
        assert_eq!(status, 200, "{changed}");
        assert_eq!(changed["data"]["number"]["auth"]["password_set"], true);
        assert_eq!(refusal(&admin.get(path).await), (404, "NOT_FOUND"));
        let (_, found) = admin.get("/numbers?search=4930").await;
        assert_eq!(found["data"]["total"], 1, "{found}");
        let (_, all) = admin.get("/numbers").await;
        assert_eq!(all["data"]["total"], 2);
        assert!(!all.to_string().contains("hush"), "{all}");
    }
    // What an outgoing call leaves out comes from the record.
    let body = json!({
        "from_number": "49308", "to_number": "200",
        "streaming": { "room": "r", "peer": "p" },
    });
    assert_eq!(gateway.post("/call/outgoing", ROOT, body).await.0, 200);
    let dial = gateway.next_dial().await;
    assert_eq!(dial.destination, "127.0.0.1:5070".parse().unwrap());
    assert_eq!(dial.sip_auth, Some(auth("v", "hush-out")));
    gateway.end().await;
}

#[tokio::test]
async fn a_test_tells_whether_a_call_would_be_let_in() {
    let gateway = Gateway::start(Vec::new()).await;
    let admin = Browser::first(&gateway).await;
    let record = json!({ "number": "7", "subnets": ["10.0.0.0/8"], "answer": "echo" });
    assert_eq!(admin.post("/numbers", record).await.0, 201);
    let code = async |source: &str| {
        let body = json!({ "number": "7", "source": source });
        let (_, answer) = admin.post("/numbers/test", body).await;
        let data = &answer["data"];
        (data["accepted"].clone(), data["sip_code"].clone())
    };
    assert_eq!(code("10.1.1.1").await, (json!(true), Value::Null));
    assert_eq!(code("192.0.2.1").await, (json!(false), json!(403)));
    let wrong = json!({ "number": "7", "source": "nowhere" });
    let answer = admin.post("/numbers/test", wrong).await;
    assert_eq!(refusal(&answer), (400, "BAD_REQUEST"));
    gateway.end().await;
}

#[tokio::test]
async fn an_administrator_hangs_up_a_call_of_any_app() {
    let mut gateway = Gateway::start(Vec::new()).await;
    let (call, ..) = gateway.dial(json!({})).await;
    {
        let admin = Browser::first(&gateway).await;
        let path = format!("/calls/{call}");
        let (status, _) = admin.send(Method::DELETE, &path, json!({})).await;
        assert_eq!(status, 200);
        let (_, system) = admin.get("/system").await;
        assert_eq!(system["data"]["shards"].as_array().unwrap().len(), 2);
        assert_eq!(system["data"]["sync"]["enabled"], false);
        let answer = admin.post("/sync", json!({})).await;
        assert_eq!(refusal(&answer), (409, "SYNC_OFF"));
    }
    assert_eq!(gateway.next_action().await, (call, Action::End));
    gateway.end().await;
}

#[tokio::test]
async fn live_events_come_until_the_session_ends() {
    let gateway = Gateway::start(Vec::new()).await;
    let admin = Browser::first(&gateway).await;
    let request = admin.request(Method::GET, "/events");
    let mut events = soon("the stream", request.send()).await.unwrap();
    let mut text = String::new();
    let mut logged_out = false;
    while let Some(part) = soon("an event", events.chunk()).await.unwrap() {
        text.push_str(std::str::from_utf8(&part).unwrap());
        if text.contains("\"calls_version\"") && !logged_out {
            logged_out = true;
            admin.post("/logout", json!({})).await;
        }
    }
    assert!(text.contains("event: snapshot"), "{text}");
    assert!(text.contains("event: logged_out"), "{text}");
    gateway.end().await;
}
