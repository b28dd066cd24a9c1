//! Which broker is meant: `-b`, else `EVCAT_BROKER`, else the profile in use, else `local:`.

use std::sync::Arc;

use super::Endpoint;
use super::read_only::ReadOnly;
use crate::broker::{self, Broker, Location, Surroundings};
use crate::outcome::Failure;
use crate::output::words;
use crate::settings::endpoint::{self, Address};
use crate::settings::profiles::{PasswordFrom, Profile, Profiles};
use crate::settings::{Environment, Secret};

/// A broker that was chosen and is not opened yet.
#[derive(Debug)]
pub struct Choice {
    /// Its names.
    pub endpoint: Endpoint,
    /// Its URL.
    pub address: Address,
    /// Options of its profile.
    pub options: Vec<(String, String)>,
    /// Where its profile keeps the password.
    pub password: Option<PasswordFrom>,
    /// Nobody chose it: it is the default.
    pub by_default: bool,
}

impl Choice {
    /// What `-b` says, if anything, decides first.
    pub fn make(flag: Option<&str>, environment: &Environment) -> Result<Choice, Failure> {
        if let Some(given) = flag {
            let mut choice = Choice::of(given, environment)?;
            choice.endpoint.flag = broker_flag(given);
            return Ok(choice);
        }
        match environment.broker.as_deref() {
            Some("") => Err(Failure::usage("EVCAT_BROKER is set and empty")
                .hint("unset it, or: export EVCAT_BROKER=local:")),
            Some(given) => Choice::of(given, environment),
            None => Choice::default(environment),
        }
    }

    /// A URL or the name of a profile. A URL needs no profiles, so they are not read.
    pub fn of(given: &str, environment: &Environment) -> Result<Choice, Failure> {
        if given.is_empty() {
            return Err(Failure::usage("-b: is empty").hint("is a variable of the script unset? -b local:"));
        }
        if given.contains('/') && !endpoint::is_url(given) {
            let message = format!("'{given}' is neither a URL nor the name of a profile");
            return Err(Failure::usage(message)
                .hint(format!("a file: -b {}", words::shell_quoted(&format!("local:{given}")))));
        }
        match endpoint::is_url(given) {
            true => Choice::url(given, environment),
            false => {
                Choice::profile(Profiles::load(environment.config_dir.as_deref())?.get(given)?, environment)
            }
        }
    }

    /// `local:` only while there are no profiles: who has a production broker must not publish to a file unawares.
    fn default(environment: &Environment) -> Result<Choice, Failure> {
        let profiles = Profiles::load(environment.config_dir.as_deref())?;
        if let Some(profile) = profiles.in_use() {
            return Choice::profile(profile, environment);
        }
        if profiles.all().is_empty() {
            return Ok(Choice { by_default: true, ..Choice::url("local:", environment)? });
        }
        let names = profiles.names();
        Err(Failure::usage("no broker was chosen, and there are profiles to choose from").hint(format!(
            "-b {}; or for good: evcat profiles use {}",
            [&names[..], &["local:"]].concat().join(", -b "),
            names[0]
        )))
    }

    fn url(given: &str, environment: &Environment) -> Result<Choice, Failure> {
        let address = endpoint::parse(given, environment.home.as_deref())?;
        let name = address.shown.strip_suffix(':').unwrap_or(&address.shown).to_owned();
        let given = Secret::new(given);
        let place = place(&address, environment);
        let backend = address.backend.name;
        let endpoint = Endpoint { name, backend, flag: String::new(), read_only: false, place, given };
        Ok(Choice { endpoint, address, options: Vec::new(), password: None, by_default: false })
    }

    /// The broker of a profile.
    pub fn profile(profile: &Profile, environment: &Environment) -> Result<Choice, Failure> {
        let Profile { name, url, read_only, password, options } = profile;
        let named = |failure: Failure| Failure { message: format!("profile '{name}': {failure}"), ..failure };
        let address = endpoint::parse(url.expose(), environment.home.as_deref()).map_err(named)?;
        let backend = address.backend.name;
        if password.is_some() && !address.backend.options.iter().any(|(key, _)| *key == "password") {
            return Err(named(Failure::usage(format!("{backend} takes no password"))));
        }
        let given = Secret::new(name.clone());
        let place = place(&address, environment);
        let (name, flag) = (name.clone(), String::new());
        let endpoint = Endpoint { name, backend, flag, read_only: *read_only, place, given };
        let (options, password) = (options.clone(), password.clone());
        Ok(Choice { endpoint, address, options, password, by_default: false })
    }

    /// Makes the broker, without I/O on it; a password command is run here and nowhere earlier.
    pub fn open(
        &self,
        mut surroundings: Surroundings,
        environment: &Environment,
    ) -> anyhow::Result<Arc<dyn Broker>> {
        let Choice { endpoint, address, password, .. } = self;
        let location = &address.location;
        if location.scheme == "local" && location.rest.is_empty() && environment.data_dir.is_none() {
            let message = "local: has no place for its file: neither XDG_DATA_HOME nor HOME is set";
            return Err(Failure::usage(message).hint("name a file: -b local:PATH").into());
        }
        let password = match password {
            Some(from) => Some(from.fetch(&endpoint.name)?),
            None => address.password.clone(),
        };
        let password = password.as_ref().map(Secret::expose);
        surroundings.options.extend(password.map(|password| ("password".to_owned(), password.to_owned())));
        let broker = broker::open(location, surroundings)?;
        match endpoint.read_only {
            true => Ok(Arc::new(ReadOnly { broker, profile: endpoint.name.clone() })),
            false => Ok(broker),
        }
    }
}

/// ` -b prod`, as a command that is to be pasted repeats it; secrets are masked.
pub fn broker_flag(given: &str) -> String {
    format!(" -b {}", words::shell_quoted(&endpoint::mask(given)))
}

/// Where it is: the file of `local:`, else the URL without its user.
fn place(address: &Address, environment: &Environment) -> String {
    let Location { scheme, rest } = &address.location;
    let place = rest.strip_prefix("//").unwrap_or(rest);
    match (&**scheme, place, &environment.data_dir) {
        ("local", "", Some(data)) => data.join("local.db").to_string_lossy().into_owned(),
        ("local", path, _) => path.to_owned(),
        (_, place, _) => place.rsplit_once('@').map_or(place, |(_, host)| host).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A home with these profiles.
    fn home(config: &str) -> (tempfile::TempDir, Environment) {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("config.toml"), config).expect("written");
        let config_dir = Some(home.path().to_owned());
        let environment = Environment { config_dir, data_dir: Some("/d".into()), ..Environment::default() };
        (home, environment)
    }

    fn name(flag: Option<&str>, environment: &Environment) -> Result<String, String> {
        Choice::make(flag, environment).map(|choice| choice.endpoint.name).map_err(|failure| failure.message)
    }

    const TWO: &str = "[profiles.a]\nurl = 'local:/a'\n[profiles.b]\nurl = 'local:/b'\nread_only = true\n";

    #[test]
    fn the_flag_then_the_variable_then_the_profile_in_use_then_local() {
        let (_home, mut environment) = home("");
        let choice = Choice::make(None, &environment).expect("the default");
        assert!(choice.by_default && choice.endpoint.name == "local");
        let (_home, used) = home(&format!("use = 'b'\n{TWO}"));
        environment = used;
        assert_eq!(name(None, &environment), Ok("b".into()));
        environment.broker = Some("a".into());
        assert_eq!(name(None, &environment), Ok("a".into()));
        assert_eq!(name(Some("local:/x"), &environment), Ok("local:/x".into()));
        environment.broker = Some("".into());
        assert!(name(None, &environment).is_err(), "empty is not the default");
    }

    #[test]
    fn with_profiles_and_none_in_use_somebody_must_choose() {
        let (_home, environment) = home(TWO);
        let failure = Choice::make(None, &environment).expect_err("no choice");
        assert_eq!(failure.exit, crate::outcome::Exit::Usage);
        assert_eq!(failure.hint.as_deref(), Some("-b a, -b b, -b local:; or for good: evcat profiles use a"));
    }

    #[test]
    fn a_broken_file_does_not_stop_who_names_a_url() {
        let (_home, environment) = home("broken");
        assert_eq!(name(Some("local:"), &environment), Ok("local".into()));
        assert!(name(Some("a"), &environment).is_err());
        assert!(name(None, &environment).is_err());
    }

    #[test]
    fn a_pasted_command_repeats_the_flag_and_no_secret() {
        let (_home, environment) = home(TWO);
        let flag = |given| Choice::make(Some(given), &environment).map(|c| c.endpoint.flag).expect("good");
        assert_eq!(flag("a"), " -b a");
        assert_eq!(flag("local:/tmp/a b"), " -b 'local:/tmp/a b'");
    }

    #[test]
    fn a_password_for_a_broker_without_one_is_refused() {
        let (_home, environment) =
            home("[profiles.a]\nurl = 'local:'\npassword_command = 'touch /dev/null'\n");
        assert_eq!(name(Some("a"), &environment), Err("profile 'a': local takes no password".into()));
    }

    #[test]
    fn one_broker_by_two_names_is_the_same() {
        let (home, mut environment) = home(TWO);
        environment.data_dir = Some(home.path().to_owned());
        let endpoint =
            |given: &str| Choice::of(given, &environment).map(|choice| choice.endpoint).expect("good");
        let data = home.path().display();
        std::fs::write(home.path().join("local.db"), "").expect("written");
        assert!(endpoint("local:").is_same(&endpoint(&format!("local:{data}/local.db"))));
        assert!(endpoint("local:").is_same(&endpoint(&format!("local:{data}/./local.db"))));
        assert!(
            endpoint("a").is_same(&endpoint("local:/a")),
            "a profile and its URL, before there is a file"
        );
        assert!(!endpoint("a").is_same(&endpoint("b")));
    }
}
