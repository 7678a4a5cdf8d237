# Mail::Message of Mail::Box, a MIME library of Perl programs that handle whole mailboxes. They lie there with LF line ends.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Loop;
use Mail::Message;

sub leaves {
    my ($part) = @_;
    my @parts = $part->isMultipart ? $part->parts : $part->isNested ? $part->body->nested : ();
    return map { leaves($_) } @parts if @parts;
    my $body = $part->decoded;
    my $attached = ($part->body->disposition // '') =~ /^\s*attachment/i;
    my $name = $part->body->dispositionFilename // '';
    return Loop::file($part->body->mimeType . '', $attached, "$name", $body->string);
}

Loop::run(sub {
    my ($octets) = @_;
    $octets =~ s/\r\n/\n/g;
    leaves(Mail::Message->read($octets, strip_status_fields => 0));
});
