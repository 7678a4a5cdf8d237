//! Texts as a whole, HTML above all.

use proptest::prelude::*;

use super::*;

fn scan(media_type: &str, charset: Option<&str>, text: &[u8], cut: usize) -> Scanned {
    let mut scan = TextScan::new(media_type, charset);
    text.chunks(cut.max(1)).for_each(|piece| scan.update(piece));
    scan.finish()
}

/// What is seen of it: the same for any cut.
type Seen = (Option<Embedded>, Option<Embedded>, bool, Links);

fn seen(media_type: &str, charset: Option<&str>, text: &[u8], cut: usize) -> Seen {
    let Scanned { first, last, hides_text, links } = scan(media_type, charset, text, cut);
    (first, last, hides_text, links)
}

fn html(text: &str) -> Scanned {
    let all = [1, 7, 1 << 20].map(|cut| seen("text/html", Some("utf-8"), text.as_bytes(), cut));
    assert_eq!(all[0], all[2], "{text}");
    assert_eq!(all[1], all[2], "{text}");
    scan("text/html", Some("utf-8"), text.as_bytes(), 1 << 20)
}

fn kind(text: &str) -> Option<&'static str> {
    html(text).first.map(|first| first.kind)
}

#[test]
fn finds_content_in_urls_however_it_is_escaped() {
    for link in [
        r#"<a href="data:application/pdf;base64,JVBE">x</a>"#,
        r#"<a href="data&#58;application/pdf;base64,JVBE">x</a>"#,
        r#"<a href="dat&#97;:application/octet-stream;base64,TVog">x</a>"#,
        r#"<a href="data&colon;application/octet-stream;base64,TVog">x</a>"#,
        r#"<a href="data:application/octet-stream;base64&#44;TVog">x</a>"#,
        r#"<a href="data:image/png;base64,TVog">x</a>"#,
        r#"<a href="data:image/svg+xml;base64,TVog">x</a>"#,
        "<A HREF=' \u{1}D&Tab;a&NewLine;T\nA:,x'>",
        "<a href=data:,x>",
        "<a\thref\n=\r\n\"\r\n data:,x\">",
        "<area href=data:,x>",
        "<img src=data:image/svg+xml,%3Csvg>",
        "<img src=\"data:image/x.exe;base64,TVog\">",
        "<img src=x srcset=\"a.png 1x, data:image/svg+xml,x 2x\">",
        "<td background='data:text/html,x'>",
        "<p style=\"background:url(data:image/svg+xml,x)\">",
        "<p style=\"background:url(d\\61 ta:text/html,x)\">",
        "<style>@import url(data:text/css,x)</style>",
        "<link rel=stylesheet href=data:text/css,x>",
        "<svg><a xlink:href='data:text/html,x'><text>x</text></a></svg>",
        "<svg><image href='data:image/svg+xml,x'></svg>",
        "<svg><set attributeName=href to='data:text/html,x'></svg>",
        "<svg><rect fill=\"url(data:image/svg+xml,x#a)\"></svg>",
        "<blockquote cite=data:,x>",
        "<!--[if mso]><a href='data:text/html,x'>x</a><![endif]-->",
    ] {
        assert_eq!(kind(&format!("<p>Hello</p>{link}<p>Bye</p>")), Some("data-url"), "{link}");
    }
    let blanks = " ".repeat(20_000);
    assert_eq!(kind(&format!("<a href=\"{blanks}data:,x\">")), Some("data-url"));
    assert_eq!(kind(&format!("<a href=\"d{}ata:,x\">", "\n".repeat(20_000))), Some("data-url"));
    assert_eq!(
        kind(&format!("<p style=\"{blanks}{blanks}x:url(data:text/html,x);{blanks}{blanks}\">")),
        Some("data-url")
    );
    assert_eq!(
        kind(&format!("<style>{}x{{y:url(data:text/html,x)}}</style>", blanks.repeat(9))),
        Some("data-url")
    );
}

#[test]
fn finds_active_content() {
    for (text, expected) in [
        ("<a href='javascript:alert(1)'>", "script-url"),
        ("<a href='java&#10;script&colon;x'>", "script-url"),
        ("<a href=vbscript:x>", "script-url"),
        ("<a href=blob:https://a.example/1>", "blob-url"),
        ("<svg><animate attributeName=href values='javascript:x;y'>", "script-url"),
        ("<script>x</script>", "script"),
        ("<SCRIPT src=//a.example/x.js></SCRIPT>", "script"),
        ("<svg><script href=x></script></svg>", "script"),
        ("<object data=x>", "object"),
        ("<embed src=x>", "object"),
        ("<applet code=x>", "object"),
        ("<iframe src=x></iframe>", "frame"),
        ("<frameset><frame src=x></frameset>", "frame"),
        ("<div srcdoc=x>", "frame"),
        ("<meta http-equiv=Refresh content='0;url=https://a.example'>", "refresh"),
        ("<base href='https://a.example/'>", "base"),
        ("<img src=x onerror=x>", "event-handler"),
        ("<body ONLOAD='x'>", "event-handler"),
        ("<img/src=\"x\"/onload=x>", "event-handler"),
        ("<a download href='https://a.example/x'>", "download"),
        ("<form action='https://a.example/'>", "form"),
        ("<button formaction=x>", "form"),
        ("<!--[if gte mso 9]><object data=x></object><![endif]-->", "object"),
    ] {
        assert_eq!(kind(text), Some(expected), "{text}");
    }
}

#[test]
fn leaves_honest_markup_alone() {
    for text in [
        "",
        "<p>a < b, 1<2 &amp; c</p>",
        "<html><head><meta charset=\"utf-8\"><title>Offer &lt;b&gt;</title></head><body>Hello</body></html>",
        "<html><body><p class=\"x\">Hello</p><p style=\"color:#888\">Legal notice</p></body></html>",
        "<style><!-- p.MsoNormal {margin:0; color:red} --></style>",
        "<style>@font-face{src:url(data:font/woff2;base64,AA)} a>b{background:url('data:image/png;base64,AA')}</style>",
        "<img src=\"data:image/png;base64,AAAA\"><img src='cid:x'>",
        "<img srcset='data:image/gif;base64,AA 1x, a.png 2x'><table background=data:image/jpeg;base64,AA>",
        "<p>Paste data:text/html,&lt;script> or javascript:alert(1) into it.</p>",
        "<img alt=\"data:text/html,x\" title='javascript:x' src=x>",
        "<!--[if !mso]><!--><p>x</p><!--<![endif]-->",
        "<!--[if mso]><xml><o:x/></xml><v:rect href=\"https://a.example\"><v:fill src='x'/></v:rect><![endif]-->",
        "<![if !supportLists]>x<![endif]>",
        "<!doctype html><?xml version='1.0'?><p>x",
        "<base target=_blank><meta http-equiv=content-type content='text/html; charset=utf-8'>",
        "<noscript><img src=x></noscript><!-- a comment -->",
        "<svg><rect width=1 fill=\"url(#a)\"/><![CDATA[x]]></svg>",
        "<p one-two=x online2=x>",
        "<textarea>a <- b</textarea>",
    ] {
        assert_eq!(kind(text), None, "{text}");
    }
}

#[test]
fn finds_markup_hidden_from_one_reader() {
    for text in [
        "<svg><style><a href=\"</style><z x=\"><a href=data:,x>\">",
        "<svg><style><!--</style><p x=\"--><a href=data:,x>\">",
        "<select><title><a x=\"</title><p y=\"><a href=data:,x>\">",
        "<style><!--></style><p x=\"--><a href=data:,x>\">",
        "<svg><![CDATA[><p x=\"]]><a href=data:,x>\">",
        "<noscript><!--</noscript><a href=data:,x>--></noscript>",
        "<noscript><p title=\"</noscript><a href=data:,x>\"></noscript>",
        "<plaintext>x",
        "<title>x",
        "<p>x<!-- y",
        "<p>x<!-- y>",
        "<p>x<a href=\"y",
        "<script>\"<!--<script>\"</script>x",
        "<script>x<p></script x y z>",
    ] {
        let scanned = html(text);
        let kinds = [&scanned.first, &scanned.last].map(|found| found.as_ref().map(|found| found.kind));
        assert!(kinds.contains(&Some("hidden-markup")), "{text}");
        assert_eq!(scanned.last.map(|last| last.range.end), Some(text.len() as u64), "{text}");
        assert!(scanned.links.may_hide_some, "{text}");
    }
}

#[test]
fn tells_where_it_is() {
    let sealed = "<html><body>Hello <form action=x>é</form> you";
    let script = "<script type='application/ld+json'>{\"x\": 1}</script>";
    let text = format!("{script}{sealed}<p>footer</p><iframe src=x></iframe></body>");
    let scanned = html(&text);
    let (first, last) = (scanned.first.expect("found"), scanned.last.expect("found"));
    assert_eq!((first.kind, first.range), ("script", 0..script.len() as u64));
    let start = text.find("<iframe").expect("there") as u64;
    assert_eq!(
        (last.kind, last.range.clone()),
        ("frame", start..start + "<iframe src=x></iframe>".len() as u64)
    );

    let form = "<p>é</p><form>";
    let latin = form.chars().map(|character| character as u32 as u8).collect::<Vec<_>>();
    let found = scan("text/html", Some("iso-8859-1"), &latin, 3).first.expect("a form");
    assert_eq!(found.range, 8..14);
    let wide: Vec<u8> = [0xfeff].into_iter().chain(form.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let found = scan("text/html", Some("utf-16"), &wide, 3).first.expect("a form");
    assert_eq!(found.range, 18..30);
    let jis = scan("text/html", Some("shift_jis"), b"<p>\x83\x5c</p><form><p>", 3).first.expect("a form");
    assert_eq!(jis.range, 0..18);
}

#[test]
fn reads_html_in_its_charset() {
    let link = "<a href=\"data:application/octet-stream;base64,TVog\">x</a>";
    let wide: Vec<u8> = link.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = [b"\xfe\xff".as_slice(), &wide].concat();
    let scanned = scan("text/html", Some("utf-16"), &marked, 5);
    assert_eq!((scanned.first.map(|first| first.kind), scanned.hides_text), (Some("data-url"), false));
    let scanned = scan("text/html", Some("utf-16be"), &wide, 5);
    assert_eq!((scanned.first.map(|first| first.kind), scanned.hides_text), (Some("data-url"), true));
    for meta in
        ["<meta charset=utf-7>", "<meta http-equiv=content-type content='text/html; charset=\"UTF-7\"'>"]
    {
        assert!(html(&format!("{meta}+ADw-script+AD4-")).hides_text, "{meta}");
    }
}

#[test]
fn a_text_of_another_type_is_plain() {
    for media_type in ["text/plain", "text/enriched"] {
        let scanned = scan(media_type, None, b"<script> data:text/html,x https://a.example/x", 9);
        assert_eq!(scanned.first, None);
        assert_eq!(scanned.links.targets.into_iter().collect::<Vec<_>>(), ["https://a.example/x"]);
    }
    let uu = b"<p>\r\nbegin 644 a.exe\r\n#86)C\r\n`\r\nend\r\n";
    assert_eq!(scan("text/html", None, uu, 9).first.map(|first| first.kind), Some("uuencode"));
}

#[test]
fn finds_the_links_of_html() {
    let text = r#"
        <a href="https://A.example/x&amp;y=1">https://shown.example</a> <A HREF=' http://b.example:80 '>
        <area href=//c.example><svg><a xlink:href="https://d.example/"></a></svg>
        <!--[if mso]><v:roundrect href="https://e.example/"><![endif]-->
        <form action="https://f.example/"><iframe src="https://g.example/"></iframe>
        <meta http-equiv=refresh content="5; URL='https://h.example/'">
        <link href="https://no.example/"><img src="https://no.example/"><a href=#top><a href=mailto:a@b.example>
        <button formaction=https://i.example></button><!-- <a href=https://no.example> -->
        <a href="https://b&uuml;cher.example/">"#;
    let targets: Vec<String> = html(text).links.targets.into_iter().collect();
    assert_eq!(
        targets,
        [
            "//c.example/",
            "http://b.example/",
            "https://a.example/x&y=1",
            "https://d.example/",
            "https://e.example/",
            "https://f.example/",
            "https://g.example/",
            "https://h.example/",
            "https://i.example/",
            "https://xn--bcher-kva.example/",
        ]
    );
    let latin = scan("text/html", Some("iso-8859-1"), b"<a href='https://b\xfccher.example/\xfc'>", 9).links;
    assert_eq!(latin.targets.into_iter().collect::<Vec<_>>(), ["https://xn--bcher-kva.example/ü"]);
}

#[test]
fn takes_a_time_linear_in_hostile_text() {
    // Each of them quadratic would be minutes.
    let size = 512 << 10;
    for text in [
        format!("<a href=\"{}", "x".repeat(size)),
        format!("<!--{}", "<!-".repeat(size / 3)),
        format!("<!--[if {}", "<!--[if ".repeat(size / 8)),
        "<".repeat(size),
        "</".repeat(size / 2),
        "<a b=".repeat(size / 5),
        "&#".repeat(size / 2),
        "&am".repeat(size / 3),
        "<style>".repeat(size / 7),
        "<p style=\"data:(data:\\".repeat(size / 22),
        "<form>é".repeat(size / 8),
        "<style>data:</style>".repeat(size / 20),
        "<noscript><p title=<".repeat(size / 20),
    ] {
        scan("text/html", Some("iso-8859-1"), text.as_bytes(), 1 << 16);
    }
    for text in [
        "begin 644 ".repeat(size / 10),
        "begin 644 \n".repeat(size / 11),
        "-----BEGIN PGP ".repeat(size / 15),
        "(This file must be converted with\n".repeat(size / 34),
        "http://".repeat(size / 7),
        "www.a ".repeat(size / 6),
        ":::\n:".repeat(size / 5),
        "begin:vcard".repeat(size / 11),
        "\r".repeat(size),
    ] {
        scan("text/plain", None, text.as_bytes(), 1 << 16);
    }
}

proptest! {
    #[test]
    fn sees_the_same_for_any_cut(
        text in "(<|>|</|<!--|-->|<!|[a-c =\"']|&#|&amp|;|href=|data:|https://a|style|<style>|</style>|<title>|</title>|<script>|</script>|script|url\\(|\r|\n|é|form|<!\\[CDATA\\[|\\]\\]>|on|<!--\\[if|noscript){0,40}",
        cut in 1_usize..30,
        charset in "(utf-8|iso-8859-1|utf-16|shift_jis)",
    ) {
        let (text, charset) = (text.as_bytes(), Some(charset.as_str()));
        prop_assert_eq!(seen("text/html", charset, text, cut), seen("text/html", charset, text, text.len()));
    }

    #[test]
    fn finds_an_escaped_url(which in any::<u64>(), decimal in any::<u64>()) {
        let url = "data:text/html,x";
        let escaped: String = url
            .chars()
            .enumerate()
            .map(|(at, octet)| match (which >> at & 1, decimal >> at & 1) {
                (0, _) => octet.into(),
                (_, 0) => format!("&#x{:x};", u32::from(octet)),
                _ => format!("&#{};", u32::from(octet)),
            })
            .collect();
        prop_assert_eq!(kind(&format!("<a href={escaped}>")), Some("data-url"));
    }

    #[test]
    fn ranges_are_within_the_text(
        text in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'<'), Just(b'>'), Just(b'\n')], 0..200),
        is_html in any::<bool>(),
    ) {
        let scanned = scan(if is_html { "text/html" } else { "text/plain" }, None, &text, 50);
        for found in [scanned.first, scanned.last].into_iter().flatten() {
            prop_assert!(found.range.start < found.range.end && found.range.end <= text.len() as u64);
        }
    }
}
