//! An administrator: the admin API with a session.

use serde_json::{Value, json};

use super::Gateway;
use super::http::{Api, Reply};

const PASSWORD: &str = "a long enough password";

/// Logged in.
pub struct Admin {
    api: Api,
    cookie: String,
    csrf: String,
}

impl Admin {
    /// Sets the first password with the setup code.
    #[track_caller]
    pub fn first(gateway: &Gateway) -> Self {
        let code = std::fs::read_to_string(gateway.data_dir().join("admin-setup-code"))
            .expect("the setup code");
        let body = json!({ "code": code.trim(), "password": PASSWORD });
        Self::come_in(gateway, "setup", &body)
    }

    /// Logs in with the password that [`Admin::first`] has set.
    #[track_caller]
    pub fn again(gateway: &Gateway) -> Self {
        Self::come_in(gateway, "login", &json!({ "password": PASSWORD }))
    }

    #[track_caller]
    fn come_in(gateway: &Gateway, how: &str, body: &Value) -> Self {
        let api = gateway.api().anonymous();
        let reply = api.post(&format!("/admin/api/{how}"), body);
        let cookie = reply.headers["set-cookie"].to_str().expect("a cookie");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let data = reply.data();
        let csrf = data["csrf_token"].as_str().expect("a token").to_owned();
        Self { api, cookie, csrf }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.send("GET", path, None).data()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, Some(body)).data()
    }

    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Value {
        self.send("PUT", path, Some(body)).data()
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Value {
        self.send("DELETE", path, None).data()
    }

    #[track_caller]
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let path = format!("/admin/api/{path}");
        let headers = [("Cookie", &*self.cookie), ("X-CSRF-Token", &*self.csrf)];
        let body = body.map(|body| (String::from("application/json"), body.to_string()));
        self.api
            .send_with(method, &path, &headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }
}
