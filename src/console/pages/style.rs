//! The style sheet and the icon: all that a page loads. Each is at a path with its hash, so that a browser may keep it for good.

use std::sync::LazyLock;

/// The style sheet.
pub const SHEET: &str = include_str!("style.css");

/// The icon, as SVG.
pub const ICON: &str = include_str!("icon.svg");

/// Where the style sheet is: `/style-0123456789abcdef.css`.
pub fn path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed("style", SHEET, "css"));
    &PATH
}

/// Where the icon is: `/icon-0123456789abcdef.svg`.
pub fn icon_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed("icon", ICON, "svg"));
    &PATH
}

fn hashed(name: &str, content: &str, ending: &str) -> String {
    let hash = blake3::hash(content.as_bytes()).to_hex();
    format!("/{name}-{}.{ending}", &hash[..16])
}
