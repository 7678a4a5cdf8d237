<?php
// The extension mailparse, which webmail and help desks in PHP use.

// One leaf: "text" is what a reader shows as the message itself, "file" is what it offers to save.
function leaf($type, $attached, $name, $octets) {
    $text = preg_match('#^text/(plain|html)\b#i', $type) && !$attached && $name === '';
    $octets = rtrim(str_replace("\r\n", "\n", $octets), "\r\n");
    return [$text ? 'text' : 'file', $name, hash('sha256', $octets), strlen($octets), base64_encode(substr($octets, 0, 65536))];
}

ini_set('display_errors', 'stderr');
while (($path = fgets(STDIN)) !== false) {
    $octets = file_get_contents(rtrim($path, "\n"));
    $mail = mailparse_msg_create();
    mailparse_msg_parse($mail, $octets);
    $files = [];
    foreach (mailparse_msg_get_structure($mail) as $number) {
        $part = mailparse_msg_get_part($mail, $number);
        $data = mailparse_msg_get_part_data($part);
        $type = $data['content-type'] ?? 'text/plain';
        if (preg_match('#^(multipart/|message/rfc822)#i', $type)) {
            continue;
        }
        ob_start();
        mailparse_msg_extract_part($part, $octets);
        $content = ob_get_clean();
        $name = $data['disposition-filename'] ?? $data['content-name'] ?? '';
        $name = @iconv_mime_decode($name, ICONV_MIME_DECODE_CONTINUE_ON_ERROR, 'UTF-8') ?: $name;
        $files[] = leaf($type, strtolower($data['content-disposition'] ?? '') === 'attachment', $name, $content);
    }
    mailparse_msg_free($mail);
    echo json_encode($files, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}
