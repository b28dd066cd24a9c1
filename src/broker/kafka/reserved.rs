//! The library's properties that are not for users, and why.

/// Property, and who decides it instead.
pub const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "the URL names the brokers"),
    ("metadata.broker.list", "the URL names the brokers"),
    (
        "sasl.password",
        "give it as 'password', or with the profile's password_env, password_file or password_command",
    ),
    ("group.id", "the group is named with -g"),
    (
        "transactional.id",
        "evcat derives it from what is moved, so that two operators cannot do the same work",
    ),
    ("enable.auto.commit", "evcat commits what was settled, and looking commits nothing"),
    ("enable.auto.offset.store", "evcat commits what was settled, and looking commits nothing"),
    ("auto.commit.enable", "evcat commits what was settled, and looking commits nothing"),
    ("auto.commit.interval.ms", "evcat commits what was settled, and looking commits nothing"),
    ("auto.offset.reset", "evcat never jumps over what is gone; say where with --from"),
    ("enable.partition.eof", "evcat needs it to know the end"),
    ("delivery.report.only.error", "every event has a receipt"),
    ("produce.offset.report", "every event has a receipt"),
    ("queue.buffering.max.messages", "evcat itself bounds what is not yet acknowledged"),
    ("queue.buffering.max.kbytes", "evcat itself bounds what is not yet acknowledged"),
    ("log.queue", "evcat reads the log itself"),
    ("enabled_events", "evcat asks for the events it needs"),
    ("offset.store.method", "evcat keeps places with the broker"),
    ("offset.store.path", "evcat keeps places with the broker"),
    ("offset.store.sync.interval.ms", "evcat keeps places with the broker"),
    ("consume.callback.max.messages", "evcat takes what there is"),
    ("plugin.library.paths", "evcat loads no code"),
    ("internal.termination.signal", "evcat handles signals itself"),
];
