//! Headless Chromium, driven through `driver.js` by one JSON line each way.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{require_program, within};

/// What a browser's microphone hears is a file of this rate (hertz).
const RATE: u32 = 48_000;
/// Its length in seconds; Chromium begins it again at the end. Tones of whole
/// hertz go on without a click.
const SECONDS: u32 = 10;

/// How a browser is to be.
pub struct Settings {
    /// What its microphone hears.
    said: Said,
    mdns: bool,
    microphone: Microphone,
}

/// What is said into a microphone.
enum Said {
    /// A tone of so many hertz, without end.
    Tone(u32),
    /// This WAV file, once each time the microphone is opened.
    File(PathBuf),
}

/// The microphone, as driver.js knows it.
#[derive(Debug, Clone, Copy)]
enum Microphone {
    Tone,
    Denied,
    Missing,
}

impl Microphone {
    fn name(self) -> &'static str {
        match self {
            Microphone::Tone => "tone",
            Microphone::Denied => "denied",
            Microphone::Missing => "missing",
        }
    }
}

impl Settings {
    /// Host candidates are names under `.local`, as for a page that may not
    /// use the microphone.
    pub fn mdns(mut self) -> Self {
        self.mdns = true;
        self
    }

    /// Its user does not allow the microphone.
    pub fn microphone_denied(mut self) -> Self {
        self.microphone = Microphone::Denied;
        self
    }

    /// It has no microphone.
    pub fn microphone_missing(mut self) -> Self {
        self.microphone = Microphone::Missing;
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Browser {
        Browser::launch(self)
    }
}

/// A running browser with one page; ended when the value is dropped.
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    next: u64,
    _directory: TempDir,
}

/// What a page heard in some of its last moments.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// The strongest frequency.
    pub hertz: f64,
    /// The share of the energy within 2 % of it.
    pub purity: f64,
    /// The share of 20 ms frames that were silent.
    pub silent: f64,
}

impl Browser {
    /// One whose microphone hears this tone, and may be used.
    pub fn hearing(hertz: u32) -> Settings {
        Self::with(Said::Tone(hertz))
    }

    /// One whose microphone hears this WAV file, each time that it is opened,
    /// once and from the beginning.
    pub fn saying(file: &Path) -> Settings {
        Self::with(Said::File(file.to_owned()))
    }

    fn with(said: Said) -> Settings {
        Settings {
            said,
            mdns: false,
            microphone: Microphone::Tone,
        }
    }

    #[track_caller]
    fn launch(settings: Settings) -> Self {
        for program in ["node", "chromium"] {
            require_program(program);
        }
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        for package in ["playwright-core", "axe-core"] {
            assert!(
                scripts.join("node_modules").join(package).is_dir(),
                "this test needs {package}: run scripts/install-dependencies test"
            );
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let wav = match settings.said {
            Said::Tone(hertz) => {
                let wav = directory.path().join("microphone.wav");
                std::fs::write(&wav, tone(hertz)).expect("the microphone's file");
                wav.display().to_string()
            }
            Said::File(wav) => format!("{}%noloop", wav.display()),
        };
        let mut child = Command::new("node")
            .arg(scripts.join("driver.js"))
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("its output"));
        let mut browser = Self {
            child,
            to,
            from,
            next: 0,
            _directory: directory,
        };
        browser.ask(json!({
            "do": "launch", "wav": wav, "mdns": settings.mdns, "microphone": settings.microphone.name(),
        }));
        browser
    }

    /// Runs a script in every page that is loaded from now on, before the
    /// page's own.
    #[track_caller]
    pub fn prepare(&mut self, code: &str) {
        self.ask(json!({ "do": "prepare", "code": code }));
    }

    /// Makes the window this large, in CSS pixels.
    #[track_caller]
    pub fn resize(&mut self, width: u32, height: u32) {
        self.ask(json!({ "do": "resize", "width": width, "height": height }));
    }

    /// Loads a page.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        self.ask(json!({ "do": "open", "url": url }));
    }

    /// Loads the page again, as a user does.
    #[track_caller]
    pub fn reload(&mut self) {
        self.ask(json!({ "do": "reload" }));
    }

    /// What this expression (it may be a promise) is on the page.
    #[track_caller]
    pub fn evaluate(&mut self, code: &str) -> Value {
        self.ask(json!({ "do": "evaluate", "code": code }))
    }

    /// Waits until this expression is true on the page, and returns it.
    #[track_caller]
    pub fn until(&mut self, code: &str) -> Value {
        self.ask(json!({ "do": "until", "code": code }))
    }

    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        self.ask(json!({ "do": "click", "selector": selector }));
    }

    #[track_caller]
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.ask(json!({ "do": "fill", "selector": selector, "text": text }));
    }

    /// A key of the keyboard, `Enter` say.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        self.ask(json!({ "do": "press", "key": key }));
    }

    /// Waits until an element says this.
    #[track_caller]
    pub fn wait_for_text(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "document.querySelector({selector}).textContent.includes({text})"
        ));
    }

    /// Waits for this tone in a stream of the page, given as an expression,
    /// then listens for two seconds: it has to be clean and without gaps.
    #[track_caller]
    pub fn assert_hears(&mut self, stream: &str, hertz: u32) {
        self.assert_hears_at_least(stream, hertz, 0.95, 0.02);
    }

    /// The same tone where some of it is lost on the way: with this share of
    /// the energy at least, and less than this share of silence.
    #[track_caller]
    pub fn assert_hears_at_least(&mut self, stream: &str, hertz: u32, clean: f64, gaps: f64) {
        let wanted = json!({ "clean": clean, "gaps": gaps });
        let heard = self.evaluate(&format!("listen({stream}, {hertz}, {wanted})"));
        let figure = |name: &str| heard[name].as_f64().unwrap_or(f64::NAN);
        let heard = Heard {
            hertz: figure("hertz"),
            purity: figure("purity"),
            silent: figure("silent"),
        };
        let wanted = f64::from(hertz);
        let fine = (heard.hertz - wanted).abs() <= wanted * 0.02
            && heard.purity > clean
            && heard.silent < gaps;
        assert!(fine, "{hertz} Hz wanted in the browser, heard {heard:?}");
    }

    /// Presses Tab until the element of this id has the focus, which has to be
    /// seen all the way.
    #[track_caller]
    pub fn tab_to(&mut self, id: &str) {
        for _ in 0..60 {
            self.press("Tab");
            let focus = self.evaluate("focused()");
            assert_eq!(
                focus["visible"],
                json!(true),
                "no focus to be seen: {focus}"
            );
            if focus["id"] == id {
                return;
            }
        }
        panic!("#{id} is not reached by Tab");
    }

    /// Panics with what axe-core finds on the page, in light and in dark.
    #[track_caller]
    pub fn assert_accessible(&mut self, state: &str) {
        let found = self.audit();
        assert!(found.is_empty(), "{state}: {found:#?}");
    }

    /// What axe-core finds, one line each.
    #[track_caller]
    pub fn audit(&mut self) -> Vec<String> {
        let found = self.ask(json!({ "do": "audit" }));
        serde_json::from_value(found).expect("lines")
    }

    /// A picture of the page.
    #[track_caller]
    pub fn screenshot(&mut self, path: &Path) {
        self.ask(json!({ "do": "screenshot", "path": path }));
    }

    #[track_caller]
    fn ask(&mut self, command: Value) -> Value {
        match self.try_ask(command.clone()) {
            Ok(answer) => answer,
            Err(error) => panic!("the browser, asked for {command}: {error}"),
        }
    }

    fn try_ask(&mut self, mut command: Value) -> Result<Value, String> {
        self.next += 1;
        command["id"] = json!(self.next);
        let to = self.to.as_mut().ok_or("it is closed")?;
        writeln!(to, "{command}").map_err(|error| error.to_string())?;
        let mut line = String::new();
        self.from
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        let mut answer: Value =
            serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}"))?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let picture: PathBuf =
                std::env::temp_dir().join(format!("ringwire-browser-{}.png", std::process::id()));
            let said = self.try_ask(json!({ "do": "said" }));
            let shot = self.try_ask(json!({ "do": "screenshot", "path": picture }));
            eprintln!("--- the browser said ---\n{said:#?}\n--- picture: {picture:?} ({shot:?})");
        }
        drop(self.to.take());
        let ended = within(Duration::from_secs(5), || {
            self.child.try_wait().ok().flatten()
        });
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A WAV file, 16 bits, one channel, with a tone.
fn tone(hertz: u32) -> Vec<u8> {
    let count = RATE * SECONDS;
    let bytes = count * 2;
    let mut wav = Vec::with_capacity(44 + bytes as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + bytes).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    wav.extend_from_slice(&[1, 0, 1, 0]);
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&(RATE * 2).to_le_bytes());
    wav.extend_from_slice(&[2, 0, 16, 0]);
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    for n in 0..count {
        let turn = f64::from(n) * f64::from(hertz) / f64::from(RATE);
        let sample = (turn * std::f64::consts::TAU).sin() * 12_000.0;
        wav.extend_from_slice(&(sample as i16).to_le_bytes());
    }
    wav
}
