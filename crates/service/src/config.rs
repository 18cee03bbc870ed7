//! Configuration: defaults in code, then the TOML file that `MALL_CONFIG` names, then the environment.

use std::fmt;

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Provider, Source};
use serde::Serialize;
use serde::de::DeserializeOwned;

const PREFIX: &str = "MALL_";
/// The variable that names the file.
const FILE_VARIABLE: &str = "MALL_CONFIG";
/// In a table of this name any key is allowed, and every value is text.
const FREE_TABLE: &str = "properties";

/// Checks of a configuration beyond the types of its fields.
pub trait Validate {
    /// The key of each setting that is wrong, with the reason.
    fn problems(&self) -> Vec<(&'static str, String)>;
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct Invalid(Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the configuration cannot be used:")?;
        self.0.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
    }
}

impl std::error::Error for Invalid {}

/// Loads the configuration of this process.
///
/// # Errors
/// All unknown keys, wrong types and impossible values at once, each with its source.
pub fn load<C>() -> Result<C, Invalid>
where
    C: Default + Serialize + DeserializeOwned + Validate,
{
    let defaults = Figment::from(Serialized::defaults(C::default()));
    let given = given(&defaults);
    let tree: Dict = given
        .extract()
        .map_err(|error| Invalid(error.into_iter().map(|e| e.to_string()).collect()))?;
    let mut settings = Vec::new();
    flatten("", tree, &mut settings);

    // Each setting alone on top of the defaults, so that all wrong ones are found and not only the first.
    let problems: Vec<String> = settings
        .into_iter()
        .filter_map(|(key, value)| {
            let source = source(&given, &key);
            if !defaults.contains(&key) {
                return Some(format!("{source}: unknown setting{}", suggestion(&defaults, &key)));
            }
            let error = defaults.clone().merge((&key, value)).extract::<C>().err()?;
            Some(format!("{source}: {}", error.kind))
        })
        .collect();
    if !problems.is_empty() {
        return Err(Invalid(problems));
    }
    let config: C = defaults
        .merge(&given)
        .extract()
        .map_err(|error| Invalid(vec![error.to_string()]))?;
    let problems = config.problems();
    if problems.is_empty() {
        return Ok(config);
    }
    Err(Invalid(
        problems
            .into_iter()
            .map(|(key, problem)| format!("{}: {problem}", source(&given, key)))
            .collect(),
    ))
}

/// The settings of the user: the file, then the environment.
fn given(defaults: &Figment) -> Figment {
    let mut given = Figment::new();
    if let Some(path) = Env::var(FILE_VARIABLE) {
        given = given.merge(Toml::file_exact(path));
    }
    let is_text = |key: &str| {
        let default = defaults.find_value(key).ok();
        key.contains(&format!(".{FREE_TABLE}.")) || default.is_some_and(|value| value.as_str().is_some())
    };
    let environment = Env::prefixed(PREFIX).ignore(&["config"]).split("__");
    // Figment reads `007` as a number: settings that are text by default are merged again, as text.
    let texts = environment.iter().filter(|(key, _)| is_text(key.as_str()));
    texts.fold(given.merge(&environment), |given, (key, text)| {
        given.merge((key.as_str(), Value::from(text)))
    })
}

/// Lists the settings in a tree, by their dotted keys. A free table is one setting.
fn flatten(prefix: &str, tree: Dict, settings: &mut Vec<(String, Value)>) {
    for (name, value) in tree {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Dict(_, tree) if name != FREE_TABLE => flatten(&key, tree, settings),
            value => settings.push((key, value)),
        }
    }
}

/// The place of a setting: a key of the file, or a variable.
fn source(given: &Figment, key: &str) -> String {
    match given.find_metadata(key).and_then(|metadata| metadata.source.as_ref()) {
        Some(Source::File(path)) => format!("{key} in {}", path.display()),
        _ => format!("{PREFIX}{}", key.to_uppercase().replace('.', "__")),
    }
}

/// Names the settings of the table of a key that is unknown.
fn suggestion(defaults: &Figment, key: &str) -> String {
    let table = key.rsplit_once('.').map_or("", |(table, _)| table);
    let known = if table.is_empty() {
        defaults.data().ok().and_then(|data| data.into_values().next())
    } else {
        defaults.find_value(table).ok().and_then(Value::into_dict)
    };
    let names: Vec<String> = known.unwrap_or_default().into_keys().collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(", expected one of {}", names.join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::result_large_err, reason = "the type of figment's Jail")]
mod tests {
    use std::collections::BTreeMap;

    use figment::Jail;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        replicas: u16,
        ordinal: Option<u16>,
        kafka: Kafka,
    }

    #[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Kafka {
        servers: String,
        properties: BTreeMap<String, String>,
    }

    impl Default for Config {
        fn default() -> Self {
            Self {
                replicas: 3,
                ordinal: None,
                kafka: Kafka::default(),
            }
        }
    }

    impl Validate for Config {
        fn problems(&self) -> Vec<(&'static str, String)> {
            if self.replicas > 0 {
                Vec::new()
            } else {
                vec![("replicas", "expected at least 1, found 0".to_owned())]
            }
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        Jail::expect_with(|jail| {
            jail.create_file(
                "mall.toml",
                "replicas = 5\n[kafka]\nservers = \"a:1\"\nproperties.\"sasl.password\" = \"x\"",
            )?;
            jail.set_env("MALL_CONFIG", "mall.toml");
            jail.set_env("MALL_KAFKA__SERVERS", "123");
            jail.set_env("MALL_ORDINAL", "1");
            jail.set_env("MALL_KAFKA__PROPERTIES__SASL_USERNAME", "007");
            let config: Config = load().expect("a valid configuration");
            assert_eq!(
                (config.replicas, config.ordinal, config.kafka.servers.as_str()),
                (5, Some(1), "123")
            );
            let properties: Vec<_> = config.kafka.properties.into_iter().collect();
            let expected = [("sasl.password", "x"), ("sasl_username", "007")];
            assert_eq!(
                properties,
                expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
            );
            Ok(())
        });
    }

    #[test]
    fn reports_all_wrong_settings_at_once_with_their_sources() {
        Jail::expect_with(|jail| {
            jail.create_file("mall.toml", "replicas = \"many\"\n[kafka]\nserver = \"a:1\"")?;
            jail.set_env("MALL_CONFIG", "mall.toml");
            jail.set_env("MALL_ORDINAL", "x");
            jail.set_env("MALL_REPLICA", "1");
            let error = load::<Config>().expect_err("invalid").to_string();
            for expected in [
                "replicas in ",
                "mall.toml: invalid type: found string \"many\", expected u16",
                "kafka.server in ",
                "unknown setting, expected one of properties, servers",
                "MALL_ORDINAL: invalid type: found string \"x\", expected u16",
                "MALL_REPLICA: unknown setting, expected one of kafka, ordinal, replicas",
            ] {
                assert!(error.contains(expected), "{expected} is not in {error}");
            }
            Ok(())
        });
    }

    #[test]
    fn impossible_values_and_missing_files_are_errors() {
        Jail::expect_with(|jail| {
            jail.set_env("MALL_REPLICAS", "0");
            let error = load::<Config>().expect_err("invalid").to_string();
            assert!(error.contains("MALL_REPLICAS: expected at least 1, found 0"), "{error}");
            jail.set_env("MALL_CONFIG", "missing.toml");
            let error = load::<Config>().expect_err("no file").to_string();
            assert!(error.contains("missing.toml"), "{error}");
            Ok(())
        });
    }
}
