use super::*;
use std::os::unix::fs::PermissionsExt;

fn parse(text: &str) -> Result<Profiles, String> {
    Profiles::parse(text.to_owned(), "config.toml".into()).map_err(|failure| failure.message)
}

fn plain(name: &str, url: &str) -> Profile {
    Profile {
        name: name.into(),
        url: Secret::new(url),
        read_only: false,
        password: None,
        options: Vec::new(),
    }
}

#[test]
fn a_profile_with_everything() {
    let text = "use = 'a'\n[profiles.a]\nurl = 'local:/x'\nread_only = true\npassword_env = 'P'\n\
                options = { 'x.y' = 1, z = 'w', t = true }\n[profiles.b]\nurl = 'local:'\n";
    let profiles = parse(text).expect("a good file");
    let a = profiles.in_use().expect("in use");
    assert_eq!((a.name.as_str(), a.read_only), ("a", true));
    assert_eq!(a.password, Some(PasswordFrom::Variable("P".into())));
    let options: Vec<_> = a.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(options, [("x.y", "1"), ("z", "w"), ("t", "true")]);
    assert_eq!(profiles.names(), ["a", "b"]);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, message) in [
        ("x = 1\nuse = ", "config.toml: line 2: "),
        ("usee = 'a'", "there is no key 'usee', did you mean 'use'?"),
        (
            "[profiles.a]\nurl='local:'\nreadonly=true",
            "profile 'a': there is no key 'readonly', did you mean 'read_only'?",
        ),
        ("[profiles.a]\nread_only=true", "profile 'a': 'url' is missing"),
        ("[profiles.a]\nurl=''", "profile 'a': 'url' is empty"),
        ("[profiles.a]\nurl=3", "profile 'a': 'url' is not a text"),
        ("[profiles.a]\nurl='local:'\nread_only='yes'", "'read_only' is neither true nor false"),
        ("[profiles.a]\nurl='local:'\npassword_env='a'\npassword_file='b'", "only one of"),
        ("[profiles.a]\nurl='local:'\noptions={x=[1]}", "option 'x' is neither"),
        ("[profiles.'a b']\nurl='local:'", "'a b' cannot be the name"),
        ("use = 'gone'", "there is no such profile"),
        ("profiles = 3", "'profiles' is not a table"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn an_unknown_profile_names_the_nearest() {
    let profiles = parse("[profiles.prod]\nurl='local:'").expect("a good file");
    let hint = |name| profiles.get(name).expect_err("unknown").hint.unwrap_or_default();
    assert_eq!(hint("prd"), "did you mean 'prod'?");
    assert!(hint("staging").starts_with("there are: prod;"));
    assert!(hint("local").contains("'local:'"));
}

#[test]
fn a_url_in_the_place_of_a_name_is_not_repeated() {
    let profiles = parse("").expect("a good file");
    let refused = profiles.get("amqp://u:secret@h/v").expect_err("no name");
    assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
}

#[test]
fn a_change_keeps_comments_and_is_private() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("evcat");
    std::fs::create_dir(&directory).expect("created");
    let file = directory.join("config.toml");
    std::fs::write(&file, "# mine\n[profiles.a] # the first\nurl = 'local:a' # here\n").expect("written");
    let profiles = Profiles::change(Some(&directory), |profiles| {
        profiles.add(&Profile { options: vec![("k".into(), "v".into())], ..plain("b.c", "local:b") })?;
        profiles.set_in_use(Some("a"))
    })
    .expect("changed");
    assert_eq!(profiles.names(), ["a", "b.c"]);
    assert_eq!(profiles.in_use().map(|p| p.name.as_str()), Some("a"));
    let text = std::fs::read_to_string(&file).expect("read");
    for comment in ["# mine\n", "# the first\n", "# here\n"] {
        assert!(text.contains(comment), "{text}");
    }
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(&directory).expect("read").collect();
    assert_eq!(left.len(), 1, "nothing temporary stays");
    let profiles = Profiles::change(Some(&directory), |profiles| profiles.remove("a")).expect("removed");
    assert_eq!((profiles.names(), profiles.in_use().is_none()), (vec!["b.c"], true));
}

#[test]
fn a_refused_change_leaves_the_file_as_it_was() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("config.toml");
    std::fs::write(&file, "[profiles.a]\nurl = 'local:a'\n").expect("written");
    assert!(Profiles::change(Some(home.path()), |profiles| profiles.add(&plain("a", "local:"))).is_err());
    assert!(Profiles::change(Some(home.path()), |profiles| profiles.remove("x")).is_err());
    assert!(Profiles::change(Some(home.path()), |profiles| profiles.set_in_use(Some("x"))).is_err());
    std::fs::write(&file, "[profiles.a\n").expect("written");
    assert!(Profiles::change(Some(home.path()), |profiles| profiles.set_in_use(None)).is_err());
    assert_eq!(std::fs::read_to_string(&file).expect("read"), "[profiles.a\n");
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let directory = home.path();
            scope.spawn(move || {
                let add = |p: &mut Profiles| p.add(&plain(&format!("p{number}"), "local:"));
                Profiles::change(Some(directory), add).expect("added");
            });
        }
    });
    assert_eq!(Profiles::load(Some(home.path())).expect("loaded").all().len(), 8);
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let home = tempfile::tempdir().expect("a directory");
    let real = home.path().join("dotfiles.toml");
    std::fs::write(&real, "").expect("written");
    let directory = home.path().join("evcat");
    std::fs::create_dir(&directory).expect("created");
    std::os::unix::fs::symlink(&real, directory.join("config.toml")).expect("linked");
    Profiles::change(Some(&directory), |profiles| profiles.add(&plain("a", "local:"))).expect("added");
    assert!(std::fs::read_to_string(&real).expect("read").contains("[profiles.a]"));
}

#[test]
fn passwords_come_from_elsewhere_and_are_not_shown() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("password");
    std::fs::write(&file, "hunter2\nrest\n").expect("written");
    let fetched = PasswordFrom::File(file).fetch("p").expect("there");
    assert_eq!((fetched.expose(), format!("{fetched:?}").as_str()), ("hunter2", "***"));
    let command = |text: &str| PasswordFrom::Command(text.into()).fetch("p");
    assert_eq!(command("printf 'a b\\n'").map(|secret| secret.expose().to_owned()).ok(), Some("a b".into()));
    for wrong in ["exit 3", "true", "printf '\\377'"] {
        assert_eq!(command(wrong).expect_err(wrong).exit, Exit::Denied);
    }
    assert!(PasswordFrom::Variable("EVCAT_TEST_NOT_SET".into()).fetch("p").is_err());
    let shown = format!("{:?}", plain("a", "kafka://u:hunter2@h"));
    assert!(!shown.contains("hunter2"));
}
