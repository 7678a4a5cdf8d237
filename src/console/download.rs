//! A held message as a file: an attachment that no browser shows, and that could do nothing if one did.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::info;

use super::Console;
use super::deeds::row_of;
use super::looks::problem;
use super::pages::view::{Action, ProblemKind};
use super::session::Visitor;
use crate::blocking::blocking;
use crate::phrase::with_causes;
use crate::store::{HeldId, Quarantine, Role, StoreError};

/// How long a download waits for others.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets that go out at a time.
const PIECE: usize = 64 << 10;

/// `GET /held/ID/download`.
pub(super) async fn download(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Response<Body> {
    let row = row_of(Action::Download);
    let who = match visitor.somebody(row.role.unwrap_or(Role::Admin), &console) {
        Ok(who) => who,
        Err(answer) => return *answer,
    };
    let quarantine = console.running.load().quarantine.clone();
    let (Ok(id), Some(quarantine)) = (id.parse::<HeldId>(), quarantine) else {
        return problem(&console, &visitor, 404, ProblemKind::NotFound, None);
    };
    let turn = timeout(PATIENCE, Arc::clone(&console.downloads).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        let detail = Some("too many messages are downloaded at the moment".to_owned());
        return problem(&console, &visitor, 503, ProblemKind::TooMany, detail);
    };
    let folder = console.running.load().setup.config.state.folder.clone();
    let name = id.to_string();
    let copied = blocking(move || copy(&*quarantine, &id, &folder)).await;
    let (file, size) = match copied {
        Ok(copied) => copied,
        Err(StoreError::UnknownId(_)) => {
            return problem(&console, &visitor, 404, ProblemKind::NotFound, None);
        }
        Err(error) => {
            let detail = Some(with_causes(&error));
            return problem(&console, &visitor, 503, ProblemKind::Unavailable, detail);
        }
    };
    info!(account = %who.account.name, held = name, "a held message was downloaded at the console");
    let mut response = Response::new(body(file, turn));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    // An id has nothing that a header field or a file system could take amiss.
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.eml\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    visitor.answer(response)
}

/// An unnamed copy: whoever reads slowly holds no database up.
fn copy(
    quarantine: &dyn Quarantine,
    id: &HeldId,
    folder: &std::path::Path,
) -> Result<(File, u64), StoreError> {
    let failed = |source| StoreError::Io { path: id.to_string().into(), source };
    let mut message = quarantine.open_message(id)?;
    let mut file = tempfile::tempfile_in(folder).map_err(failed)?;
    let size = io::copy(&mut message, &mut file).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok((file, size))
}

fn body(file: File, turn: OwnedSemaphorePermit) -> Body {
    let file = tokio::fs::File::from_std(file);
    Body::from_stream(stream::try_unfold((file, turn), async |(mut file, turn)| {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(piece), (file, turn))))
    }))
}
