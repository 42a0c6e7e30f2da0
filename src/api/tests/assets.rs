use super::*;

/// A WAV file of 16 bit PCM, mono, with so many samples of this value.
pub fn wav(rate: u32, samples: usize, value: i16) -> Vec<u8> {
    let data = samples as u32 * 2;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    file.extend(value.to_le_bytes().repeat(samples));
    file
}

impl Gateway {
    pub async fn upload(
        &self,
        name: &str,
        token: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> (u16, Value) {
        let request = self
            .http
            .post(format!("http://{}/assets/{name}", self.address))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", media_type)
            .body(bytes);
        let response = soon("an answer", request.send()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    assert_eq!(answer.1["status"], json!(false), "{answer:?}");
    (answer.0, answer.1["error"].as_str().unwrap())
}

fn names(listed: &(u16, Value)) -> Vec<&str> {
    let assets = listed.1["data"]["assets"].as_array().unwrap();
    assets.iter().map(|a| a["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_sound_is_uploaded_described_listed_given_back_and_deleted() {
    let gateway = Gateway::start(Vec::new()).await;
    let file = wav(8000, 4000, 100);
    let answer = gateway
        .upload("hold.wav", ACME, "audio/wav", file.clone())
        .await;
    assert_eq!(answer.0, 201, "{answer:?}");
    let asset = answer.1["data"].clone();
    let described = json!({
        "name": "hold.wav", "format": "wav", "media_type": "audio/wav",
        "size": 8044, "duration_ms": 500, "sample_rate": 8000, "channels": 1,
    });
    for (field, value) in described.as_object().unwrap() {
        assert_eq!(asset[field], *value, "{field}");
    }
    assert_eq!(gateway.get("/assets/hold.wav", ACME).await.1["data"], asset);
    let listed = gateway.get("/assets", ACME).await;
    assert_eq!(listed.1["data"], json!({ "assets": [asset] }));
    let request = gateway
        .http
        .get(format!("http://{}/assets/hold.wav/audio", gateway.address))
        .bearer_auth(ACME);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "audio/wav");
    assert_eq!(response.headers()["content-length"], "8044");
    let etag = format!("\"{}\"", asset["sha256"].as_str().unwrap());
    assert_eq!(response.headers()["etag"], etag);
    assert_eq!(response.bytes().await.unwrap(), file);

    assert_eq!(gateway.delete("/assets/hold.wav", ACME).await.0, 200);
    for path in ["/assets/hold.wav", "/assets/hold.wav/audio"] {
        let answer = gateway.get(path, ACME).await;
        assert_eq!(code(&answer), (404, "ASSET_NOT_FOUND"), "{path}");
    }
    let answer = gateway.delete("/assets/hold.wav", ACME).await;
    assert_eq!(code(&answer), (404, "ASSET_NOT_FOUND"));
    let directory = gateway.data.path().join("assets/acme");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
    gateway.end().await;
}

#[tokio::test]
async fn another_upload_of_the_name_takes_the_place_of_the_former() {
    let gateway = Gateway::start(Vec::new()).await;
    let first = gateway
        .upload("a", ACME, "audio/wav", wav(8000, 800, 1))
        .await;
    let second = gateway
        .upload("a", ACME, "audio/wav", wav(16000, 800, 1))
        .await;
    assert_eq!((first.0, second.0), (201, 200));
    assert_ne!(first.1["data"]["sha256"], second.1["data"]["sha256"]);
    let now = gateway.get("/assets/a", ACME).await;
    assert_eq!(now.1["data"]["sample_rate"], 16000);
    assert_eq!(names(&gateway.get("/assets", ACME).await), ["a"]);
    gateway.end().await;
}

#[tokio::test]
async fn an_app_finds_its_own_sounds_only_and_a_token_none() {
    let gateway = Gateway::start(Vec::new()).await;
    gateway
        .upload("a", ACME, "audio/wav", wav(8000, 800, 1))
        .await;
    for path in ["/assets/a", "/assets/a/audio"] {
        assert_eq!(
            code(&gateway.get(path, ROOT).await),
            (404, "ASSET_NOT_FOUND"),
            "{path}"
        );
    }
    assert_eq!(
        code(&gateway.delete("/assets/a", ROOT).await),
        (404, "ASSET_NOT_FOUND")
    );
    assert_eq!(names(&gateway.get("/assets", ROOT).await), [""; 0]);
    // The same name is another sound in another app.
    let mine = gateway
        .upload("a", ROOT, "audio/wav", wav(8000, 80, 1))
        .await;
    assert_eq!(mine.0, 201);
    assert_eq!(
        gateway.get("/assets/a", ACME).await.1["data"]["duration_ms"],
        100
    );
    let (_, token, _) = gateway.dial(json!({})).await;
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let answer = gateway.request(method, "/assets/a", &token, None).await;
        assert_eq!(code(&answer), (403, "FORBIDDEN"));
    }
    assert_eq!(
        code(&gateway.get("/assets", "wrong").await),
        (401, "UNAUTHORIZED")
    );
    gateway.end().await;
}

#[tokio::test]
async fn what_is_no_sound_is_refused_with_the_reason() {
    let gateway = Gateway::start(Vec::new()).await;
    let binary = "application/octet-stream";
    let cases = [
        (
            "audio/wav",
            b"<html>".to_vec(),
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            "this is no WAV, Ogg Opus or MP3 file",
        ),
        (
            "application/json",
            wav(8000, 80, 1),
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            "send the file itself",
        ),
        (
            "audio/ogg",
            wav(8000, 80, 1)[..30].to_vec(),
            (422, "CLIP_INVALID"),
            "the wav file is damaged",
        ),
        (
            binary,
            wav(44099, 80, 1),
            (422, "CLIP_INVALID"),
            "a sampling rate of 44099 Hz is not read",
        ),
        (
            binary,
            wav(8000, 80_001, 1),
            (422, "CLIP_TOO_LONG"),
            "the sound is longer than 10 seconds",
        ),
        (
            binary,
            vec![0; 1024 * 1024 + 1],
            (413, "PAYLOAD_TOO_LARGE"),
            "the body is longer than 1048576 bytes",
        ),
    ];
    for (media_type, bytes, wanted, words) in cases {
        let answer = gateway.upload("a", ACME, media_type, bytes).await;
        assert_eq!(code(&answer), wanted);
        let message = answer.1["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(names(&gateway.get("/assets", ACME).await), [""; 0]);
    gateway.end().await;
}

#[tokio::test]
async fn a_name_leads_nowhere_but_into_the_apps_own_directory() {
    let gateway = Gateway::start(Vec::new()).await;
    let file = wav(8000, 80, 1);
    for name in ["..%2F..%2Fx", ".x", "a%20b", "a%00", &"x".repeat(129)] {
        let answer = gateway.upload(name, ACME, "audio/wav", file.clone()).await;
        assert_eq!(code(&answer), (400, "BAD_REQUEST"), "{name}");
    }
    for name in ["..%2Froot%2Fx", "..%2F..%2Fringwire.db"] {
        for path in [format!("/assets/{name}"), format!("/assets/{name}/audio")] {
            let answer = gateway.get(&path, ACME).await;
            assert_eq!(code(&answer), (404, "ASSET_NOT_FOUND"), "{path}");
        }
        let answer = gateway.delete(&format!("/assets/{name}"), ACME).await;
        assert_eq!(code(&answer), (404, "ASSET_NOT_FOUND"));
    }
    gateway.end().await;
}

#[tokio::test]
async fn an_app_may_have_so_many_files_and_bytes_and_no_more() {
    let gateway = Gateway::start(Vec::new()).await;
    // A million bytes each, of two times 1,048,576.
    for name in ["a", "b"] {
        let answer = gateway
            .upload(name, ACME, "audio/wav", wav(192_000, 499_978, 1))
            .await;
        assert_eq!(answer.0, 201, "{answer:?}");
    }
    let more = wav(48_000, 60_000, 1);
    let answer = gateway.upload("c", ACME, "audio/wav", more.clone()).await;
    assert_eq!(code(&answer), (409, "ASSETS_FULL"));
    // In the place of one that is there it is less.
    assert_eq!(gateway.upload("b", ACME, "audio/wav", more).await.0, 200);
    for name in ["c", "d", "e"] {
        let answer = gateway
            .upload(name, ACME, "audio/wav", wav(8000, 80, 1))
            .await;
        assert_eq!(answer.0, 201, "{answer:?}");
    }
    let answer = gateway
        .upload("f", ACME, "audio/wav", wav(8000, 80, 1))
        .await;
    assert_eq!(code(&answer), (409, "ASSETS_FULL"));
    // Another app has room of its own.
    let answer = gateway
        .upload("f", ROOT, "audio/wav", wav(8000, 80, 1))
        .await;
    assert_eq!(answer.0, 201);
    gateway.end().await;
}

#[tokio::test]
async fn sounds_outlive_a_restart() {
    let gateway = Gateway::start(Vec::new()).await;
    gateway
        .upload("a", ACME, "audio/wav", wav(8000, 800, 1))
        .await;
    let data = gateway.end().await;
    let gateway = Gateway::in_directory(data, settings(), Vec::new(), |_| None).await;
    assert_eq!(names(&gateway.get("/assets", ACME).await), ["a"]);
    gateway.end().await;
}
