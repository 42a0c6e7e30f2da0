//! The command line.

/// What to do.
#[derive(Clone, Copy, PartialEq)]
pub enum Task {
    Generate,
    ForwardUring,
    ForwardEpoll,
    Reflect,
    Pass,
}

/// The command line, read.
pub struct Arguments {
    pub task: Task,
    /// Where packets go out and come in.
    pub interface: String,
    /// Hardware address that packets are sent to.
    pub to: [u8; 6],
    /// The streams' file, see [`crate::streams`].
    pub streams: String,
    /// The core to run on; any, where none is named.
    pub core: Option<usize>,
    /// Packets come back to the leg that sent them.
    pub reflected: bool,
    /// The kernel thread that receives for the device.
    pub device_thread: Option<u32>,
    /// The core that the device runs on.
    pub device_core: usize,
}

impl Arguments {
    pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut words = words.peekable();
        let mut next = |what: &str| words.next().ok_or(format!("{what} is missing"));
        let task = match next("generate, forward, reflect or pass")?.as_str() {
            "generate" => Task::Generate,
            "reflect" => Task::Reflect,
            "pass" => Task::Pass,
            "forward" => match next("uring or epoll")?.as_str() {
                "uring" => Task::ForwardUring,
                "epoll" => Task::ForwardEpoll,
                other => return Err(format!("forward {other:?}: uring or epoll is known")),
            },
            other => {
                return Err(format!(
                    "{other:?}: generate, forward, reflect or pass is known"
                ));
            }
        };
        let mut arguments = Arguments {
            task,
            interface: String::new(),
            to: [0xff; 6],
            streams: String::new(),
            core: None,
            reflected: false,
            device_thread: None,
            device_core: 0,
        };
        while let Ok(name) = next("") {
            let mut value = || next(&format!("the value of {name}"));
            match name.as_str() {
                "--interface" => arguments.interface = value()?,
                "--to" => arguments.to = hardware_address(&value()?)?,
                "--streams" => arguments.streams = value()?,
                "--core" => arguments.core = Some(number(&name, &value()?)?),
                "--reflected" => arguments.reflected = true,
                "--device-thread" => arguments.device_thread = Some(number(&name, &value()?)?),
                "--device-core" => arguments.device_core = number(&name, &value()?)?,
                _ => return Err(format!("{name:?} is not known")),
            }
        }
        Ok(arguments)
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{name} {text:?}: a number is wanted"))
}

fn hardware_address(text: &str) -> Result<[u8; 6], String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(format!("--to {text:?}: an address like 02:00:00:00:00:01"))
}
