//! A client of the REST API.

use serde_json::Value;

use super::RUNTIME;

/// The API of one gateway as seen with one credential.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: Option<String>,
    accept: Option<String>,
    client: reqwest::Client,
}

/// What the gateway answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON; a text that is none as a JSON string.
    pub body: Value,
}

/// A file that the gateway answered with.
#[allow(dead_code)] // As what makes it.
#[derive(Debug)]
pub struct Download {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Api {
    pub fn new(base: &str, token: Option<&str>) -> Self {
        // Never spoken, but the client asks for one. An error says that there
        // is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()
            .expect("an HTTP client");
        Self {
            base: base.to_owned(),
            token: token.map(str::to_owned),
            accept: None,
            client,
        }
    }

    /// The same gateway, another credential.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same, asking for this content type.
    pub fn accepting(&self, content_type: &str) -> Self {
        Self {
            accept: Some(content_type.to_owned()),
            ..self.clone()
        }
    }

    /// The same gateway, no credential.
    pub fn anonymous(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, None)
            .unwrap_or_else(|error| panic!("DELETE {path}: {error}"))
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        let body = (String::from("application/json"), body.to_string());
        self.send("POST", path, Some(body))
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Any request; the error is that no answer came.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(String, String)>,
    ) -> Result<Reply, String> {
        self.send_with(method, path, &[], body)
    }

    /// The same with further headers.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(String, String)>,
    ) -> Result<Reply, String> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("an HTTP method");
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(accept) = &self.accept {
            request = request.header("Accept", accept);
        }
        if let Some((content_type, text)) = body {
            request = request.header("Content-Type", content_type).body(text);
        }
        answer(request)
    }

    /// Fetches what is no text, with further headers.
    #[allow(dead_code)] // `tests/peers` asks for it, not every program does.
    #[track_caller]
    pub fn download(&self, path: &str, headers: &[(&str, &str)]) -> Download {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let fetched = RUNTIME.block_on(async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let bytes = response.bytes().await?.to_vec();
            Ok::<_, reqwest::Error>(Download {
                status,
                headers,
                bytes,
            })
        });
        fetched.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Posts a file.
    #[track_caller]
    pub fn upload(&self, path: &str, content_type: &str, file: Vec<u8>) -> Reply {
        let mut request = self.client.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let request = request.header("Content-Type", content_type).body(file);
        answer(request).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }
}

fn answer(request: reqwest::RequestBuilder) -> Result<Reply, String> {
    RUNTIME.block_on(async {
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.map_err(|error| error.to_string())?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Reply {
            status,
            headers,
            body,
        })
    })
}

impl Reply {
    /// The `data` of a success; panics on anything else.
    #[track_caller]
    pub fn data(self) -> Value {
        assert!(
            (200..300).contains(&self.status) && self.body["status"] == true,
            "expected success, got {} {}",
            self.status,
            self.body
        );
        self.body["data"].clone()
    }

    /// Asserts a refusal with this HTTP status and error code in the envelope.
    #[track_caller]
    pub fn refused(&self, status: u16, error: &str) {
        assert_eq!(
            (
                self.status,
                self.body["status"].as_bool(),
                self.body["error"].as_str()
            ),
            (status, Some(false), Some(error)),
            "{}",
            self.body
        );
        let message = self.body["message"].as_str().unwrap_or_default();
        assert!(
            !message.is_empty(),
            "a refusal says what to do: {}",
            self.body
        );
    }
}
