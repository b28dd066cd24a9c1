//! `--edit`: one letter in the editor.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::commands::dlq::heap::Dead;
use crate::event::{Event, line, own};
use crate::outcome::Failure;
use crate::session::Session;

/// Opens the editor on key, headers and payload. `None`: nothing was changed.
pub async fn edit(session: &Session, dead: &Dead, run: &str) -> anyhow::Result<Option<Event>> {
    let Some(editor) = &session.environment().editor else {
        return Err(Failure::usage("--edit: neither VISUAL nor EDITOR is set")
            .hint("for this once: EDITOR=nano evcat dlq replay … --edit")
            .into());
    };
    let before = editable(&dead.event)?;
    let path = std::env::temp_dir().join(format!("evcat-{run}-{}.json", std::process::id()));
    write(&path, &before)?;
    // A signal is the editor's.
    session.stop.begin();
    let status = tokio::process::Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(&path)
        .status()
        .await
        .with_context(|| format!("--edit: {editor}"))?;
    if !status.success() {
        let _ = std::fs::remove_file(&path);
        return Err(
            Failure::failed(format!("--edit: {editor} ended with {status}; nothing was changed")).into()
        );
    }
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let kept = |why: String| {
        Failure::failed(format!("--edit: not an event any more: {why}"))
            .hint(format!("what you wrote is kept in {}", path.display()))
    };
    let after: Value = serde_json::from_slice(&text).map_err(|error| kept(error.to_string()))?;
    if after == before {
        let _ = std::fs::remove_file(&path);
        return Ok(None);
    }
    let parsed = line::parse(after.to_string().as_bytes()).map_err(|error| kept(error.to_string()))?;
    let same = |name: &str| before.get(name) == after.get(name);
    // A payload that was not touched keeps its bytes, white space included.
    let payload = match same("payload") && same("encoding") {
        true => dead.event.payload().map(<[u8]>::to_vec),
        false => parsed.payload,
    };
    let _ = std::fs::remove_file(&path);
    let mut headers = parsed.headers;
    for (name, value) in dead.event.headers().iter().filter(|(name, _)| is_ours(name)) {
        headers.push(name, value);
    }
    let edited = Event::new(
        dead.event.topic(),
        parsed.key.as_deref(),
        headers.as_headers(),
        payload.as_deref(),
        dead.event.timestamp(),
        dead.event.position().clone(),
    );
    Ok(Some(edited.with_extra_of(&dead.event)))
}

fn is_ours(name: &[u8]) -> bool {
    name.starts_with(own::PREFIX.as_bytes())
}

/// What may be edited: the rest says where it lies and why it died.
fn editable(event: &Event) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    line::write(&mut text, event);
    let mut value: Value = serde_json::from_slice(&text)?;
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| matches!(name.as_str(), "key" | "headers" | "encoding" | "payload"));
        if let Some(headers) = object.get_mut("headers").and_then(Value::as_array_mut) {
            headers.retain(|pair| !pair[0].as_str().is_some_and(|name| is_ours(name.as_bytes())));
        }
    }
    Ok(value)
}

/// For us alone: an event may hold what others must not read.
fn write(path: &PathBuf, value: &Value) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let name = |path: &Path| path.display().to_string();
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| name(path))?;
    let text = serde_json::to_string_pretty(value)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).with_context(|| name(path))
}
