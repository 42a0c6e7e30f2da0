//! Sounds that are named and not carried: an asset of the app, or a URL.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::values::{self, Problem};

/// A sound to be played.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SoundSource {
    /// An asset of the app, by its name.
    Asset(Arc<str>),
    /// A file to be fetched.
    Url {
        /// Where it is.
        url: Arc<str>,
        /// The operator's own: it may be anywhere.
        trusted: bool,
    },
}

/// The same as it is written: one of both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundRecord {
    /// An asset's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    /// An http or https URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl SoundRecord {
    /// The sound it names; none where both are left out. `trusted` says
    /// whether a URL is the operator's own.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn to_source(&self, trusted: bool) -> Result<Option<SoundSource>, Problem> {
        let given = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
        match (given(&self.asset), given(&self.url)) {
            (None, None) => Ok(None),
            (Some(name), None) => {
                values::asset_name(&name)?;
                Ok(Some(SoundSource::Asset(Arc::from(name))))
            }
            (None, Some(url)) => {
                values::hook_url(&url)?;
                Ok(Some(SoundSource::Url {
                    url: Arc::from(url),
                    trusted,
                }))
            }
            (Some(_), Some(_)) => Err("has both asset and url; write one of them".to_string()),
        }
    }
}

impl From<&SoundSource> for SoundRecord {
    fn from(source: &SoundSource) -> Self {
        match source {
            SoundSource::Asset(name) => SoundRecord {
                asset: Some(name.to_string()),
                url: None,
            },
            SoundSource::Url { url, .. } => SoundRecord {
                asset: None,
                url: Some(url.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(asset: &str, url: &str) -> Result<Option<SoundSource>, Problem> {
        let record = SoundRecord {
            asset: Some(asset.to_string()),
            url: Some(url.to_string()),
        };
        record.to_source(false)
    }

    #[test]
    fn a_sound_is_an_asset_or_a_url() {
        let asset = SoundSource::Asset(Arc::from("hold.wav"));
        let url = SoundSource::Url {
            url: Arc::from("https://example.com/hold.mp3"),
            trusted: false,
        };
        assert_eq!(read("hold.wav", ""), Ok(Some(asset)));
        assert_eq!(read("", "https://example.com/hold.mp3"), Ok(Some(url)));
        assert_eq!(read("", ""), Ok(None));
        assert!(
            read("a", "https://example.com/")
                .unwrap_err()
                .contains("both")
        );
        assert!(read("../a", "").unwrap_err().contains("is no asset's name"));
        assert!(
            read("", "file:///etc/passwd")
                .unwrap_err()
                .contains("neither")
        );
    }
}
